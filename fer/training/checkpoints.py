"""Checkpoints of a training: how far it got, its random state, and reading and writing them."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.wrappers import _FabricOptimizer as FabricOptimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from fer.errors import LONGEST_QUOTE, ModelError, shortened
from fer.models.weight_files import read_file
from fer.training.progress import Progress, read_progress
from fer.utils.atomic import atomic_path
from fer.utils.disk import naming_full_disk
from fer.utils.distributed import Peers
from fer.utils.paths import printable
from fer.utils.processes import rank, world_size

LAST = "last.ckpt"
"""The state after the latest step that was saved, from which a training goes on."""
BEST = "best.ckpt"
"""The network that is kept; it lacks what a training needs to go on."""
CHECKPOINT_FORMAT = 1
"""Raised whenever checkpoints hold something else than before."""


@dataclass
class TrainingState:
    """All that changes while a training runs, and its way into checkpoints and back.

    Attributes:
        objective: The objective itself: Fabric's wrapper would add a prefix to the tensors' names.
        network: Its part that is validated and stored.
        average: The average of the network's weights, or None.
        optimizer: Updates the objective.
        scheduler: Sets its rates.
        peers: The other processes; each method is called by all alike.
        extra: Stored in every checkpoint as it is.
        progress: How far the training got.
    """

    objective: nn.Module
    network: nn.Module
    average: AveragedModel | None
    optimizer: FabricOptimizer
    scheduler: LRScheduler
    peers: Peers
    extra: Mapping[str, Any]
    progress: Progress = field(default_factory=Progress)

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated and stored: the average where there is one."""
        return self.average.module if self.average is not None else self.network

    def diverged(self) -> bool:
        """Return whether anything that training goes on from is not finite in any process; all get the same answer."""
        loss = torch.tensor(self.progress.sums.get("loss", 0.0))
        return self.peers.any(not all_finite([loss, self._resumable()]))

    def save(self, path: Path) -> None:
        """Write a checkpoint, `LAST` or `BEST`; of several processes the first does.

        A reader sees the old file or the new one, never a part. The caller has found the state finite.
        """
        content = {
            "format": CHECKPOINT_FORMAT,
            **self.extra,
            "progress": vars(self.progress),
            "model": self.kept_network.state_dict(),
        }
        # What a training needs to go on takes several times the space of the network alone.
        if path.name == LAST:
            content |= self._resumable()
            content["rng_state"] = self.peers.gather(rng_state())
            # Each process goes on from its own sums, so that no rounding parts a resumed epoch from an undisturbed one.
            content["sums"] = self.peers.gather(self.progress.sums)
            content["progress"] = {**vars(self.progress), "sums": self.peers.mean(self.progress.sums)}
        if rank() == 0:
            cure = "give another folder with `output`; the checkpoint before this one stays"
            needed = sum(tensor.nbytes for tensor in _tensors(content))
            with naming_full_disk(path.parent, cure, needed), atomic_path(path) as partial:
                torch.save(content, partial)
                # The old file goes at once, and a loss of power must not find the new one's content still on its way.
                with partial.open("r+b") as written:
                    os.fsync(written.fileno())

    def _resumable(self) -> dict[str, Any]:
        average = self.average.state_dict() if self.average is not None else None
        return {
            "objective": self.objective.state_dict(),
            "average": average,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }

    def load(self, path: Path) -> None:
        """Restore what `save` wrote as `LAST`.

        Raises:
            ModelError: The file cannot be read, holds no training state or that of another network, or has another
                format.
        """
        content = read_checkpoint(path)
        try:
            self._restore(content)
        except Exception as error:  # torch raises many kinds for what does not fit
            reason = shortened(printable(f"{type(error).__name__}: {error}"), 2 * LONGEST_QUOTE)
            raise ModelError(f"{path} does not fit this training ({reason}): continue from another {LAST}") from None

    def _restore(self, content: Mapping[str, Any]) -> None:
        # The network is a part of the objective, so that its own state need not be loaded again.
        self.objective.load_state_dict(content["objective"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        self.progress = read_progress(content["progress"])
        # Other processes than before have the mean of the earlier ones.
        sums = content.get("sums", ())
        if len(sums) == world_size():
            self.progress.sums = sums[rank()]
        # With more processes than before the new ones keep the state they were seeded with.
        if rank() < len(content["rng_state"]):
            set_rng_state(content["rng_state"][rank()])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a `last.ckpt` onto the CPU, never running code from it.

    Raises:
        ModelError: It cannot be read, holds no training state, or has another format; or it is damaged.
    """
    content = read_file(path)
    # A `best.ckpt` or a foreign file.
    if "optimizer" not in content:
        raise ModelError(f"{path} holds no training state: continue from {LAST}")
    if content.get("format") != CHECKPOINT_FORMAT:
        raise ModelError(f"{path} was written by another version of fer: train again, or resume with that version")
    try:
        read_progress(content.get("progress"))
    except (TypeError, ValueError, AttributeError):
        raise ModelError(f"{path} is damaged: it does not say how far its training got") from None
    return content


def place_best(checkpoint: Path, folder: Path) -> None:
    """Put the best epoch so far into a continuation's folder, since no later one may be better.

    Args:
        checkpoint: The `last.ckpt` that was found; its `best.ckpt` lies beside it.
        folder: Of the continuation.

    Raises:
        ModelError: It is gone or damaged.
    """
    # Stopped within the first epoch: there is none yet.
    if not read_checkpoint(checkpoint)["progress"]["best_epoch"]:
        return
    best = checkpoint.with_name(BEST)
    if not best.is_file():
        raise ModelError(f"{best} is missing: put the stopped run's {BEST} beside its {LAST}")
    # Or the training's end would be the first to find it damaged.
    try:
        read_file(best)
    except ModelError:
        cure = f"put a good copy of the stopped run's {BEST} in its place"
        raise ModelError(f"{best} is damaged or cannot be read: {cure}") from None
    if best.parent.resolve() != folder.resolve():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(best, folder / BEST)


def all_finite(content: Any) -> bool:
    """Check that no floating-point tensor of a nested checkpoint holds an infinity or NaN.

    Args:
        content: Tensors in dicts, lists and tuples; other values are passed over.
    """
    flags_by_device: dict[torch.device, list[Tensor]] = {}
    for tensor in _tensors(content):
        if tensor.is_floating_point():
            flags_by_device.setdefault(tensor.device, []).append(tensor.isfinite().all())
    # One value is read for each device, so that a GPU is waited for once and not for every tensor.
    return all(bool(torch.stack(flags).all()) for flags in flags_by_device.values())


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        yield from _tensors(list(content.values()))
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _tensors(value)


def rng_state() -> list[Tensor]:
    """Return the states of this process's random generators: the CPU's and, where there is one, its GPU's."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    return states


def set_rng_state(states: list[Tensor]) -> None:
    """Restore what `rng_state` returned."""
    torch.set_rng_state(states[0])
    # A training may go on where there is no GPU, or begin where there was none.
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])
