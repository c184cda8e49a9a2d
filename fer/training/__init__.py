"""Train a network; knows neither MLflow nor commands, only what it asks of the objects it is given."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

Validate = Callable[[nn.Module, int], dict[str, float]]
"""Maps (network in evaluation mode, epoch from 1) to figures such as `validation/accuracy`."""
AfterStep = Callable[[int, int], None]
"""Called as `after_step(step, total_steps)` after each step of the optimizer, with the steps done so far, from 1.

An objective may define it, for instance to let a momentum teacher follow its student. What must survive a resume
belongs into the objective's parameters or buffers.
"""


class Recorder(Protocol):
    """Where a run's figures and checkpoints go; training knows nothing else of tracking."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record figures of one step."""

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        """Take note that `last.ckpt` (and `best.ckpt`) in a folder were written anew.

        Args:
            folder: The folder.
            epoch: Finished epochs in it.
            step: Steps of the next epoch in it.
        """


class TrainingBatch(Protocol):
    """A batch as the loop needs it."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Return what the objective is called with."""

    def __len__(self) -> int:
        """Return the number of images."""


class Batches(Protocol):
    """Batches that can be drawn again from any epoch and step; of several processes each draws its part."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[TrainingBatch]:
        """Yield an epoch's batches from step `start` on."""
