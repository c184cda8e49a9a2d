"""What a running training keeps: the sums of the epoch under way, and checkpoints as time goes by."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from fer.training import Recorder
from fer.training.checkpoints import BEST, LAST, TrainingState
from fer.utils.processes import rank


class EpochSums:
    """The loss, figures, images and seconds of the epoch under way, summed by this process."""

    def __init__(self, earlier: Mapping[str, float]) -> None:
        """Begin, or go on where a stopped training was.

        Args:
            earlier: The sums of the epoch's steps before, as `read` returned them.
        """
        self._earlier = earlier
        self._started = time.perf_counter()
        self._images = 0
        # Kept on the device: reading a value every step would make a GPU wait.
        self._tensors: dict[str, Tensor] = {}

    @property
    def loss(self) -> Tensor:
        """Return the sum of the losses, on the device."""
        return self._tensors["loss"]

    def add(self, figures: Mapping[str, Tensor], images: int) -> None:
        """Add what one step gave.

        Args:
            figures: Its loss and the objective's figures.
            images: How many images it took, in all processes together.
        """
        for key, value in figures.items():
            if key not in self._tensors:
                earlier = self._earlier.get(key, 0.0)
                self._tensors[key] = torch.tensor(earlier, dtype=torch.float64, device=value.device)
            self._tensors[key] += value
        self._images += images

    def read(self) -> dict[str, float]:
        """Return the sums since the epoch's start, bit for bit as they are: a resumed epoch adds to them."""
        sums = {key: float(tensor) for key, tensor in self._tensors.items()}
        sums["seconds"] = self._earlier.get("seconds", 0.0) + time.perf_counter() - self._started
        sums["images"] = self._earlier.get("images", 0.0) + self._images
        # Resumed after the epoch's last step there is nothing to add.
        return {**self._earlier, **sums}


class CheckpointWriter:
    """Writes a training's checkpoints, tells the recorder of them, and knows when the next one is due.

    All processes call `write` and `write_stopped` alike.
    """

    def __init__(self, state: TrainingState, folder: Path, recorder: Recorder, minutes: float) -> None:
        """Prepare to write.

        Args:
            state: What is written.
            folder: Where, as `last.ckpt` and `best.ckpt`.
            recorder: Is told of every `last.ckpt`.
            minutes: After how many a checkpoint is due within an epoch; 0 for never.
        """
        self._state = state
        self._folder = folder
        self._recorder = recorder
        # Clocks differ, and all processes must write after the same step: only the first one's says when.
        self._seconds = 60 * minutes if rank() == 0 else 0.0
        self._written = time.monotonic()
        # At once: a folder that cannot be written must not be found out after hours.
        folder.mkdir(parents=True, exist_ok=True)

    def due(self) -> bool:
        """Return whether so many minutes have passed since the last `last.ckpt`; never in processes but the first."""
        return 0 < self._seconds <= time.monotonic() - self._written

    def write(self, is_best: bool = False) -> None:
        """Write `last.ckpt`, from which a training goes on; the caller has found the state finite.

        Args:
            is_best: Whether `best.ckpt` is to hold this network too.
        """
        # In this order: a training that is killed in between computes the epoch, and its best network, again.
        if is_best:
            self._state.save(self._folder / BEST)
        self._state.save(self._folder / LAST)
        self._written = time.monotonic()
        if rank() == 0:
            progress = self._state.progress
            self._recorder.checkpoint(self._folder, progress.epoch, progress.step)

    def write_stopped(self) -> None:
        """Write `last.ckpt` at a signal; if the state is no longer finite, the checkpoint before it stays."""
        if not self._state.diverged():
            self.write()
        elif rank() == 0:
            tqdm.write(f"loss or weights are not finite, so {LAST} was not written again")
