"""Where a training stands."""

import math
from dataclasses import dataclass, field


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
