from dataclasses import asdict

import pytest

from fer.config.commands import fields_of
from fer.config.options import Scope
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.pipeline.fingerprints import settings
from fer.pipeline.options import TrainingConfig, default_name, known_options, resolved_options, starting_weights

MEANT: list[tuple[TrainingConfig, dict[str, object]]] = [
    (
        FinetuneConfig(device="cpu"),
        {"init": "scratch", "clip_grad_norm": 0.0, "registered_name": "fer-demo"},
    ),
    (
        FinetuneConfig(dataset="raf", device="cpu", arch="vit_b_16", registered_name="none"),
        {"init": "supervised-imagenet", "clip_grad_norm": 1.0, "registered_name": "none"},
    ),
    (
        FinetuneConfig(dataset="raf", device="cpu", init="runs:/0123", clip_grad_norm=2.0),
        {"init": "runs:/0123", "clip_grad_norm": 2.0, "registered_name": "fer"},
    ),
    (
        PretrainConfig(device="cpu"),
        {"lr": 0.3, "optimizer": "lars", "proj_dim": 128, "clip_grad_norm": 0.0},
    ),
    (
        PretrainConfig(device="cpu", method="simsiam", lr=0.2, proj_dim=64),
        {"lr": 0.2, "optimizer": "sgd", "proj_dim": 64, "clip_grad_norm": 0.0},
    ),
]


@pytest.mark.parametrize(("config", "meant"), MEANT, ids=lambda value: "")
def test_options_mean_what_the_training_does(config: TrainingConfig, meant: dict[str, object]) -> None:
    assert resolved_options(config) == {"device": "cpu", **meant}
    known = known_options(config, starting_weights(config))
    assert known == {"device": "cpu", "precision": "", **open_ended(config), **meant}


def open_ended(config: TrainingConfig) -> dict[str, object]:
    return {"evaluate_on": ""} if isinstance(config, FinetuneConfig) else {"init": config.init}


@pytest.mark.parametrize(("config", "meant"), MEANT, ids=lambda value: "")
def test_what_a_fingerprint_is_made_of_is_every_option_but_the_machines_and_the_tests(
    config: TrainingConfig, meant: dict[str, object]
) -> None:
    options = asdict(config) | meant
    without_effect = fields_of(Scope.MACHINE, Scope.TESTED)
    expected = {key: value for key, value in options.items() if key not in without_effect}
    # Equal for equal runs of earlier commits too: precision and tests stay as they were given.
    assert settings(config, resolved_options(config)) == expected
    assert expected["precision"] == "auto"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (FinetuneConfig(), "resnet50 · drawn · scratch · seed 0"),
        (
            FinetuneConfig(dataset="raf+kdef", arch="resnet18", seed=3),
            "resnet18 · raf+kdef · supervised-imagenet · seed 3",
        ),
        (FinetuneConfig(freeze="backbone"), "resnet50 · drawn · scratch · linear probe · seed 0"),
        (FinetuneConfig(init="/home/me/w.ckpt"), "resnet50 · drawn · w.ckpt · seed 0"),
        (PretrainConfig(dataset="raf"), "simclr · resnet50 · raf · seed 0"),
        (PretrainConfig(init="swav-imagenet"), "simclr · resnet50 · drawn · swav-imagenet · seed 0"),
    ],
)
def test_a_run_is_named_after_what_it_trains(config: TrainingConfig, name: str) -> None:
    assert default_name(config, starting_weights(config)) == name
