"""A small training, and batches in which things happen to it."""

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fer.data.augment import Augmentation
from fer.data.batches import Batch, TrainingBatches
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.expressions import EXPRESSIONS
from fer.objectives.classification import Classification
from fer.training.optimization import OptimizationSettings

COUNT = 42
EXTRA = {"spec": {"arch": "tiny"}, "config": {"seed": 0}}


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(24, 7))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images / 255))


class Recorded:
    """Keeps the figures of every step, and how often it was told of checkpoints."""

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []
        self.checkpoints = 0

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.points.append((step, dict(values)))

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        self.checkpoints += 1


class SignalledBatches:
    """Batches during one of which a signal arrives."""

    def __init__(self, inner: TrainingBatches, epoch: int, step: int, number: int = signal.SIGTERM) -> None:
        self.inner, self.at, self.number = inner, (epoch, step), number

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(self.inner.epoch(epoch, start), start=start):
            if (epoch, step) == self.at:
                os.kill(os.getpid(), self.number)
            yield batch


def noise() -> PackedImages:
    """Random pixels with every expression in turn."""
    generator = np.random.default_rng(0)
    names = [EXPRESSIONS[n % 7] for n in range(COUNT)]
    rows = tuple(ImageRow(f"{n}.png", name, "train", "", "", "", "", 0, 16, 16, "", "") for n, name in enumerate(names))
    pixels = generator.integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8)
    return PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))


def training_batches(
    images: PackedImages,
    indices: torch.Tensor | None = None,
    *,
    batch_size: int = 8,
    seed: int = 3,
    augmentation: Augmentation = Augmentation(),  # noqa: B008
    rank: int = 0,
    world_size: int = 1,
) -> TrainingBatches:
    return TrainingBatches(
        images=images, indices=images.indices("train") if indices is None else indices, image_size=16,
        batch_size=batch_size, seed=seed, augmentation=augmentation, rank=rank, world_size=world_size,
    )  # fmt: skip


def objective(seed: int = 0) -> Classification:
    torch.manual_seed(seed)
    return Classification(Tiny())


def flat(network: nn.Module) -> float:
    """A validation figure that depends on the weights."""
    return float(sum(tensor.double().sum() for tensor in network.state_dict().values()))


def validate(network: nn.Module, epoch: int) -> dict[str, float]:
    assert not network.training
    return {"validation/accuracy": math.sin(flat(network) * 100), "validation/loss": float(epoch)}


def settings(**changes: object) -> OptimizationSettings:
    plain = OptimizationSettings(
        epochs=3, lr=0.01, optimizer="adamw", weight_decay=0.05, momentum=0.9, warmup_epochs=1.0, ema=0.0, patience=0,
        selection="accuracy", device="cpu", bf16=False, seed=0,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def weights(path: os.PathLike[str]) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def finite(path: os.PathLike[str]) -> bool:
    content = torch.load(path, weights_only=True)
    return all(bool(tensor.isfinite().all()) for tensor in content["objective"].values())
