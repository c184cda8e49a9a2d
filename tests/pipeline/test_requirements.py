from dataclasses import replace
from pathlib import Path

import pytest

from fer.config.training import FinetuneConfig
from fer.errors import ConfigError
from fer.pipeline.requirements import check_training

PLAIN = FinetuneConfig(arch="mobilenet_v2", image_size=32, epochs=3, device="cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": "backbone", "head_lr": 10.0},
        {"freeze": "backbone", "init": "scratch"},
        {"freeze_epochs": 2, "layer_decay": 0.5},
        {"freeze_epochs": 2, "arch": "vgg11"},
        {"arch": "vgg11", "head_lr": 2.0},
    ],
    ids=str,
)
def test_how_much_is_trained_may_be_chosen(changes: dict[str, object], tmp_path: Path) -> None:
    check_training(replace(PLAIN, data_root=str(tmp_path), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"freeze": "backbone", "layer_decay": 0.75},
            "layer_decay=0.75 sets rates of the backbone, which does not learn with freeze=backbone: give one of them",
        ),
        (
            {"freeze": "backbone", "freeze_epochs": 1},
            "freeze_epochs=1 lets the backbone learn later, and freeze=backbone never: give one of them",
        ),
        (
            {"freeze_epochs": 3},
            "freeze_epochs=3 leaves the backbone none of epochs=3 to learn: "
            "give fewer, or freeze=backbone for a linear probe",
        ),
        (
            {"layer_decay": 0.9, "arch": "alexnet"},
            "layer_decay=0.9 is known for the layers of resnet, resnext, wide_resnet, convnext, swin, vit, mobilenet, "
            "efficientnet, not for those of alexnet: leave layer_decay out, or choose such an arch",
        ),
        (
            {"class_weights": (0.0,) * 7},
            "class_weights are all 0, so nothing would be learnt: give a weight above 0",
        ),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused_before_a_run_begins(
    changes: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_training(replace(PLAIN, data_root=str(tmp_path), **changes))  # type: ignore[arg-type]
    assert str(refusal.value) == sentence
