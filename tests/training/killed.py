"""Small trainings that are killed within an epoch and continued; as a program, by each of two processes together."""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.data.augment import Augmentation
from fer.data.batches import ViewBatches, ViewSpec
from fer.objectives.swav import SwAV
from fer.training import saving
from fer.training.checkpoints import BEST, LAST
from fer.training.loop import train
from fer.utils.processes import rank, world_size
from tests.training.small import EXTRA, Recorded, noise, objective, settings, training_batches, validate

TRAININGS = ("finetune", "swav")
EVERY_STEP = 1e-9
"""Minutes, so few that a checkpoint is written after each step."""


class Killed(BaseException):
    """Ends a process at once, as nothing in the loop hears of it."""


class KilledBatches:
    """Batches before one of which the process is killed."""

    def __init__(self, inner: Any, epoch: int, step: int) -> None:
        self.inner, self.at = inner, (epoch, step)

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        for step, batch in enumerate(self.inner.epoch(epoch, start), start=start):
            if (epoch, step) == self.at:
                raise Killed
            yield batch


class Encoder(nn.Module):
    """A network with batch norm and dropout, whose state and random draws a checkpoint must hold too."""

    features = 16

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.body((images - 128) / 64)


def made(name: str, seed: int = 0) -> tuple[nn.Module, Any, dict[str, object]]:
    """An objective, its batches and its own settings: a classifier with an average, or SwAV with a queue."""
    augmentation = Augmentation(flip=0.5, crop_min=0.6, jitter=0.2)
    share = {"rank": rank(), "world_size": world_size()}
    if name == "finetune":
        return objective(seed), training_batches(noise(), augmentation=augmentation, **share), {"ema": 0.9}
    images = noise()
    views = (ViewSpec(2, 16, augmentation), ViewSpec(2, 12, augmentation))
    batches = ViewBatches(
        images=images, indices=images.indices("train"), specs=views, batch_size=8, seed=3, **share
    )  # fmt: skip
    config = PretrainConfig(proj_hidden_dim=8, num_prototypes=4, queue_size=16, queue_from_epoch=1)
    torch.manual_seed(seed)
    own = {"optimizer": "sgd", "lr": 0.1, "choose": False}
    return SwAV(Encoder(), config, proj_dim=5, steps_per_epoch=len(batches)), batches, own  # type: ignore[arg-type]


def whole(name: str, folder: Path) -> Recorded:
    """Train without a break, with checkpoints at the ends of epochs only, as no epoch lasts ten minutes."""
    recorder = Recorded()
    model, batches, own = made(name)
    train(model, batches, validate, settings(**own, checkpoint_minutes=10.0), recorder, folder, EXTRA)
    return recorder


def killed(name: str, folder: Path, at: tuple[int, int]) -> None:
    """Train with a checkpoint after each step, until the process is killed before the step `at`."""
    model, batches, own = made(name)
    often = settings(**own, checkpoint_minutes=EVERY_STEP)
    try:
        train(model, KilledBatches(batches, *at), validate, often, Recorded(), folder, EXTRA)
    except Killed:
        return
    raise AssertionError("it was not killed")


def continued(name: str, folder: Path) -> Recorded:
    """Go on from the folder's checkpoint with a network that began with other weights."""
    recorder = Recorded()
    model, batches, own = made(name, seed=9)
    often = settings(**own, checkpoint_minutes=EVERY_STEP)
    train(model, batches, validate, often, recorder, folder, EXTRA, folder / LAST)
    return recorder


def differences(one: Any, other: Any, name: str = "") -> list[str]:
    """The names of all parts of two contents that differ in any bit; speed and its sums may."""
    if name.endswith(("images_per_second", "seconds")):
        return []
    if isinstance(one, Tensor):
        return [] if torch.equal(one, other) else [name]
    if isinstance(one, dict) and isinstance(other, dict):
        differing = [f"{name}/{key}" for key in one.keys() ^ other.keys()]
        for key in one.keys() & other.keys():
            differing += differences(one[key], other[key], f"{name}/{key}")
        return differing
    if isinstance(one, list | tuple) and len(one) == len(other):
        differing = []
        for number, (mine, yours) in enumerate(zip(one, other, strict=True)):
            differing += differences(mine, yours, f"{name}/{number}")
        return differing
    return [] if one == other or (one != one and other != other) else [name]


def compared(one: Path, other: Path) -> list[str]:
    """The names of all parts of two folders' checkpoints that differ in any bit."""
    differing = []
    for file in (LAST, BEST):
        contents = [torch.load(folder / file, weights_only=True) for folder in (one, other)]
        differing += differences(*contents, name=file)
    return differing


def keep_time(hours: float) -> None:
    """Give this process's writer of checkpoints a clock that goes on by so many hours whenever it is looked at."""
    looks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 3600 * hours * next(looks), perf_counter=time.perf_counter)
    saving.time = clock  # type: ignore[attr-defined]


def main(folder: Path) -> None:
    """Be one of two processes, of which the second's clock is wrong: first it runs away, then it stands."""
    for name in TRAININGS:
        if rank() > 0:
            keep_time(hours=1)
        recorder = whole(name, folder / name / "whole")
        if rank() > 0:
            keep_time(hours=0)
        killed(name, folder / name / "killed", at=(1, 3))
        found = {"checkpoints": recorder.checkpoints}
        if rank() == 0:
            found |= torch.load(folder / name / "killed" / LAST, weights_only=True)["progress"]
        found["points"] = continued(name, folder / name / "killed").points
        torch.save(found, folder / f"{name}-{rank()}.found")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
