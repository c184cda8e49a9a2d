"""Where a training stands."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass
class Progress:
    """Where training stands; part of every checkpoint.

    Attributes:
        epoch: Epoch under way, from 0.
        step: Steps done in it.
        sums: The loss, the objective's figures, images and seconds summed over those steps.
        best_score: Validation score of the epoch kept, higher is better.
        best_epoch: That epoch, from 1; 0 before any.
        history: Figures of each finished epoch.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_score: float = -math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def line(self, epochs: int, selection: str) -> str:
        """Return the last finished epoch in a line for a person.

        Args:
            epochs: How many there will be.
            selection: The validation figure to show.
        """
        figures = self.history[-1]
        return (
            f"epoch {self.epoch}/{epochs}  loss {figures['train/loss']:.3f}  "
            f"validation {selection} {figures[f'validation/{selection}']:.3f}"
            f"{' (best)' if self.best_epoch == self.epoch else ''}  {figures['train/images_per_second']:.0f} images/s"
        )


LAST, BEST = "last.ckpt", "best.ckpt"
"""The state after the latest step that was saved, and the network that is kept."""


def write(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; a reader sees the old or the new one, never a part."""
    partial = path.with_name(f"{path.name}.partial")
    torch.save(content, partial)
    partial.replace(path)


def all_finite(content: Any) -> bool:
    """Check that no floating-point tensor of a nested checkpoint holds an infinity or NaN.

    Args:
        content: Tensors in dicts, lists and tuples; other values are passed over.
    """
    flags = [tensor.isfinite().all() for tensor in _tensors(content) if tensor.is_floating_point()]
    # One answer for each device, so that a GPU is waited for once and not for every tensor.
    by_device: dict[torch.device, list[Tensor]] = {}
    for flag in flags:
        by_device.setdefault(flag.device, []).append(flag)
    return all(bool(torch.stack(some).all()) for some in by_device.values())


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _tensors(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _tensors(value)


def rng_state() -> list[Tensor]:
    """Return the states of this process's random numbers: the CPU's and, where there is one, its GPU's."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def set_rng_state(states: list[Tensor]) -> None:
    """Take over what `rng_state` returned."""
    torch.set_rng_state(states[0].cpu())
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1].cpu())
