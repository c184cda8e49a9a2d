from dataclasses import fields, replace

import pytest
from torch import nn

from fer.config import options
from fer.config.commands import TRACKED_COMMANDS, EvaluateConfig
from fer.config.data import PrepareConfig
from fer.config.options import Shown, shown_options, without_folders
from fer.config.training import FinetuneConfig
from fer.data.datasets.registry import DATASETS
from fer.data.splits import TEST_FRACTION, VALIDATION_FRACTION
from fer.models.export import ENDINGS
from fer.objectives.registry import METHODS
from fer.training.optimization import make_optimizer
from tests.training.test_optimization import PLAIN


def test_the_sets_of_the_help_are_those_of_the_registry() -> None:
    assert tuple(name for name, dataset in DATASETS.items() if not dataset.drawn) == options.DATASETS


def test_the_help_of_prepare_tells_the_parts_that_are_held_out() -> None:
    (split,) = [item for item in fields(PrepareConfig) if item.name == "split"]
    parts = f"else {100 * TEST_FRACTION:.0f} % test, {100 * VALIDATION_FRACTION:.0f} % of the rest validation"
    assert parts in split.metadata["help"]


def test_the_methods_are_those_of_the_registry() -> None:
    assert set(options.METHODS) == set(METHODS)
    assert {method.optimizer for method in METHODS.values()} <= set(options.OPTIMIZERS)


def test_the_formats_are_those_that_can_be_written() -> None:
    assert set(options.EXPORT_FORMATS) == set(ENDINGS)


@pytest.mark.parametrize("name", options.OPTIMIZERS)
def test_an_optimizer_is_the_one_that_is_named(name: str) -> None:
    made = make_optimizer(nn.Linear(2, 2), replace(PLAIN, optimizer=name))
    assert type(made).__name__.lower() == name


def test_a_classifier_is_trained_with_one_of_the_optimizers() -> None:
    assert set(options.SUPERVISED_OPTIMIZERS) <= set(options.OPTIMIZERS)


def test_a_run_shows_what_options_meant_and_neither_blanks_nor_folders() -> None:
    config = FinetuneConfig(data_root="/home/me/data", output="/home/me/out", config="/home/me/some.yaml")
    shown = shown_options(config, {"init": "scratch", "clip_grad_norm": 0.0, "evaluate_on": "", "images": 7})
    assert not {"data_root", "output", "resume", "class_weights", "evaluate_on"} & shown.keys()
    assert (shown["init"], shown["clip_grad_norm"], shown["config"], shown["images"]) == (
        "scratch",
        0.0,
        "some.yaml",
        7,
    )
    assert shown["augment"] is True
    assert (shown["epochs"], shown["warmup_epochs"], shown["seed"], shown["ema"]) == (30, 1.0, 0, 0.0)


def test_addresses_and_names_of_weights_stay_whole() -> None:
    for name in ("models:/fer@champion", "runs:/0123/encoder", "supervised-imagenet"):
        assert without_folders(name) == name
    assert without_folders("/home/me/encoder/") == "encoder"


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("/home/me/some model.ckpt", "some model.ckpt"),
        ("~/models/mine/", "mine"),
        ("models:/fer/3", "models:/fer/3"),
        ("runs:/0123/model", "runs:/0123/model"),
    ],
)
def test_of_a_path_a_run_shows_the_name(model: str, shown: str) -> None:
    assert shown_options(EvaluateConfig(model=model), {})["model"] == shown


def test_what_may_be_a_path_is_declared_as_such() -> None:
    kinds = {}
    for cls in TRACKED_COMMANDS.values():
        for item in fields(cls):
            kinds[item.name] = item.metadata["shown"]
    folders = {"data_root", "output", "resume"}
    keeping = {"checkpoint_minutes", "checkpoint_upload_gb", "tracking_patience", "offline"}
    assert {name for name, kind in kinds.items() if kind == Shown.NOTHING} == folders | keeping
    paths = {name for name, kind in kinds.items() if kind == Shown.FILE_NAME}
    assert paths == {"config", "source", "image", "model", "init", "name"}
    assert shown_options(PrepareConfig(source="/mnt/raf/basic.zip"), {})["source"] == "basic.zip"
