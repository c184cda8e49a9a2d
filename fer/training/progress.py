"""How far a training got: its position, the figures of its epochs, and which of these is kept."""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """How far a training got; part of every checkpoint.

    Attributes:
        epoch: Epoch under way, from 0.
        step: Steps done in it.
        sums: The loss, the objective's figures, images and seconds summed over those steps by this process.
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

    def training_figures(self) -> dict[str, float]:
        """Return this process's means of the epoch under way, as `train/<figure>`, and the images per second."""
        figures = {f"train/{key}": total / self.step for key, total in self.sums.items()}
        # Sums of the whole epoch, of which only the quotient is a figure.
        del figures["train/seconds"], figures["train/images"]
        figures["train/images_per_second"] = self.sums["images"] / self.sums["seconds"]
        return figures

    def end_epoch(self, figures: dict[str, float], selection: str, choose: bool) -> bool:
        """Close the epoch under way, and return whether it is the one to keep.

        Args:
            figures: All its figures.
            selection: The validation figure that chooses; of `loss` the lowest wins.
            choose: Whether the best epoch is kept; else the latest is.
        """
        score = figures[f"validation/{selection}"]
        if selection == "loss":
            score = -score
        self.history.append(figures)
        self.epoch += 1
        self.step = 0
        self.sums = {}
        # Of equal epochs the first is kept: it was trained less on what it is chosen by.
        is_kept = score > self.best_score or not choose
        if is_kept:
            self.best_score = score
            self.best_epoch = self.epoch
        return is_kept

    def summary(self, epochs: int, selection: str) -> str:
        """Summarize the last finished epoch in one line.

        Args:
            epochs: How many there will be.
            selection: The validation figure to show.
        """
        figures = self.history[-1]
        score = figures[f"validation/{selection}"]
        best = " (best)" if self.best_epoch == self.epoch else ""
        parts = (
            f"epoch {self.epoch}/{epochs}",
            f"loss {figures['train/loss']:.3f}",
            f"validation {selection} {score:.3f}{best}",
            f"{figures['train/images_per_second']:.0f} images/s",
        )
        return "  ".join(parts)


def read_progress(values: Any) -> Progress:
    """Return what a checkpoint says of its training's progress.

    Raises:
        TypeError: It holds something else.
        ValueError: What should be a number is none.
    """
    progress = Progress(**values)
    counts = (progress.epoch, progress.step, progress.best_epoch)
    are_counts = all(type(count) is int and count >= 0 for count in counts)
    numbers = [progress.best_score, *progress.sums.values()]
    for figures in progress.history:
        numbers += figures.values()
    if not are_counts or not all(type(number) in (int, float) for number in numbers):
        raise ValueError
    return progress
