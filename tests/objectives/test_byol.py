"""A method with a momentum teacher is one file and one entry: `byol.py` trains in the product's own loop."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.data.augment import Augmentation
from fer.data.batches import ViewBatches, Views, ViewSpec
from fer.data.datasets.drawn import write_raf
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.errors import Interrupted
from fer.expressions import EXPRESSIONS
from fer.objectives.features import feature_std
from fer.objectives.registry import METHODS
from fer.training.checkpoints import LAST
from fer.training.loop import train
from fer.training.optimization import OptimizationSettings
from fer.training.progress import Progress
from tests.objectives.byol import BYOL, METHOD, target_momentum
from tests.objectives.test_learning import Small

SIDE, PER_CLASS, BATCH = 32, 16, 28
CONFIG = PretrainConfig(method="byol", proj_hidden_dim=64, proj_dim=32, batch_size=BATCH)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> PackedImages:
    """Drawn faces, small."""
    folder = tmp_path_factory.mktemp("drawn")
    write_raf(folder, {"train": dict.fromkeys(EXPRESSIONS, PER_CLASS), "test": {}}, seed=1)
    paths = sorted((folder / "Image" / "aligned").iterdir())
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE))) for path in paths])
    rows = tuple(ImageRow(path.name, "fear", "train", "", "", "", "", 0, SIDE, SIDE, "", "") for path in paths)
    return PackedImages([(Manifest("drawn", rows), pixels)], torch.device("cpu"))


@pytest.fixture
def batches(faces) -> ViewBatches:
    augmentation = Augmentation(flip=0.5, crop_min=0.4, jitter=0.4, jitter_probability=0.8, grey=0.2)
    specs = (ViewSpec(2, SIDE, augmentation),)
    return ViewBatches(images=faces, indices=faces.indices("train"), specs=specs, batch_size=BATCH, seed=0)


@pytest.fixture(autouse=True)
def registered(monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "byol", METHOD)


class Recorded:
    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.epochs.append(dict(values))

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        pass


class Stopped(ViewBatches):
    """Batches in the second of which of the second epoch a signal arrives."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Views]:
        for step, batch in enumerate(super().epoch(epoch, start), start=start):
            if (epoch, step) == (1, 1):
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch


def settings(epochs: int) -> OptimizationSettings:
    return OptimizationSettings(
        epochs=epochs, lr=2e-3, optimizer="adamw", weight_decay=1e-4, momentum=0.9, warmup_epochs=1.0, ema=0.0,
        patience=0, selection="feature_std", device="cpu", bf16=False, seed=0, choose=False,
    )  # fmt: skip


def byol(batches: ViewBatches, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return METHODS["byol"].build(Small(), CONFIG, len(batches))


def go(objective: nn.Module, batches: ViewBatches, folder: Path, epochs: int = 2, resume: Path | None = None):
    recorder = Recorded()
    images = torch.cat([batch.inputs[0][0] for batch in batches.epoch(0)])

    def validate(network: nn.Module, epoch: int) -> dict[str, float]:
        with torch.inference_mode():
            return {"validation/feature_std": float(feature_std(centred(network(images))))}

    progress: Progress = train(objective, batches, validate, settings(epochs), recorder, folder, {}, resume)
    return progress, recorder.epochs


def centred(features: Tensor) -> Tensor:
    return features - features.mean(0)


def state(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)["objective"]


def test_its_momentum_rises_to_one_along_half_a_cosine():
    momenta = [target_momentum(step, 100) for step in range(101)]
    assert (momenta[0], momenta[50], momenta[100]) == (0.99, pytest.approx(0.995), 1.0)
    assert momenta == sorted(momenta)


def test_the_target_follows_the_online_network_by_the_formula_after_every_step(batches, tmp_path, monkeypatch):
    steps = []
    after_step = BYOL.after_step

    def checked(self: BYOL, step: int, total_steps: int) -> None:
        before = [parameter.clone() for parameter in self.target.parameters()]
        after_step(self, step, total_steps)
        momentum = target_momentum(step, total_steps)
        online = list(self.online().parameters())
        for old, now, followed in zip(before, self.target.parameters(), online, strict=True):
            torch.testing.assert_close(now, momentum * old + (1 - momentum) * followed)
        assert any(not torch.equal(old, now) for old, now in zip(before, online, strict=True)), (
            "it has something to follow"
        )
        steps.append((step, total_steps))

    monkeypatch.setattr(BYOL, "after_step", checked)
    objective = byol(batches)
    go(objective, batches, tmp_path)
    total = 2 * len(batches)
    assert steps == [(step, total) for step in range(1, total + 1)]
    assert all(parameter.grad is None for parameter in objective.target.parameters())


def test_a_resumed_training_restores_the_target_and_ends_where_an_unbroken_one_does(batches, tmp_path):
    go(byol(batches), batches, tmp_path / "whole")
    stopped = Stopped(**{name: getattr(batches, name) for name in ("images", "indices", "specs", "batch_size", "seed")})
    with pytest.raises(Interrupted):
        go(byol(batches), stopped, tmp_path / "stopped")
    # Other initial weights: everything must come from the checkpoint.
    go(byol(batches, seed=9), batches, tmp_path / "resumed", resume=tmp_path / "stopped" / LAST)
    whole, resumed = state(tmp_path / "whole" / LAST), state(tmp_path / "resumed" / LAST)
    assert any(name.startswith("target.") for name in whole)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_it_comes_to_predict_its_target_without_collapse(batches, tmp_path):
    progress, epochs = go(byol(batches), batches, tmp_path, epochs=12)
    assert progress.epoch == 12
    assert epochs[-1]["train/loss"] < epochs[0]["train/loss"] - 0.2
    assert epochs[-1]["train/target_std"] > 0.5
    assert epochs[-1]["validation/feature_std"] > 0.5
