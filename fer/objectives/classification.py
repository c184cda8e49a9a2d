"""Supervised training: cross-entropy over the seven expressions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.errors import DataError
from fer.expressions import EXPRESSIONS


class Classification(nn.Module):
    """Cross-entropy with optional class weights and label smoothing (Szegedy et al., 2016).

    The loss is the mean over the batch's images of weight times cross-entropy. It is not divided by the weights that
    happen to be in the batch, as `torch.nn.CrossEntropyLoss` does: a rare class would then count less the smaller the
    batch, and processes would weigh their parts of a batch differently.

    Args:
        network: Maps images `(N, 3, H, W)` to scores `(N, 7)`.
        class_weights: Weight of each class, `(7,)`, with a mean of 1 over the training images so that the learning
            rate means the same with them (`scale_weights`); or None for equal weights.
        label_smoothing: Fraction of the target that is distributed over all classes, in [0, 1).
    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the batch's loss and its accuracy.

        Args:
            images: `(N, 3, H, W)`, RGB in [0, 255].
            labels: `(N,)`, int64 in 0 to 6.
        """
        logits = self.network(images).float()
        losses = F.cross_entropy(
            logits,
            labels,
            self.class_weights,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        predicted = logits.detach().argmax(1)
        accuracy = (predicted == labels).float().mean()
        return losses.mean(), {"accuracy": accuracy}


def loss_weights(
    counts: Sequence[int],
    class_weights: Sequence[float],
    balanced: bool,
) -> Tensor | None:
    """Return the weight of each class in the loss, float32 `(7,)`, or None where all count the same.

    Args:
        counts: Training images of each class.
        class_weights: Weights that were asked for, or none.
        balanced: Whether every class counts alike, where no weights were asked for.
    """
    if class_weights:
        return scale_weights(class_weights, counts)
    return balanced_weights(counts) if balanced else None


def balanced_weights(counts: Sequence[int]) -> Tensor:
    """Return weights inverse to class frequency, n / (classes * count), so that every class counts alike.

    Args:
        counts: Training images of each class.

    Raises:
        DataError: A class has no image.
    """
    check_every_class(counts)
    images = torch.tensor(counts, dtype=torch.float64)
    weights = images.sum() / (len(counts) * images)
    return weights.float()


def scale_weights(class_weights: Sequence[float], counts: Sequence[int]) -> Tensor:
    """Scale class weights to a mean of 1 over the training images.

    Args:
        class_weights: Weight of each class; none negative, one of a class that has images above 0.
        counts: Training images of each class.

    Returns:
        float32 `(7,)`.
    """
    weights = torch.tensor(class_weights, dtype=torch.float64)
    images = torch.tensor(counts, dtype=torch.float64)
    mean = (weights * images).sum() / images.sum()
    return (weights / mean).float()


def training_prior(counts: Sequence[int], class_weights: Tensor | None) -> tuple[float, ...]:
    """Return the fraction of each class in the loss, summing to 1: how often it occurs, times its weight.

    Args:
        counts: Training images of each class.
        class_weights: The loss's weight of each class, or None for equal weights.
    """
    effective = torch.tensor(counts, dtype=torch.float64)
    if class_weights is not None:
        effective = effective * class_weights.double()
    fractions: list[float] = (effective / effective.sum()).tolist()
    return tuple(fractions)


def check_every_class(counts: Sequence[int]) -> None:
    """Refuse to train when an expression has no image at all.

    Raises:
        DataError: A count is zero.
    """
    by_name = zip(EXPRESSIONS, counts, strict=True)
    empty = [name for name, count in by_name if not count]
    if empty:
        raise DataError(f"no training image shows {' or '.join(empty)}: the model could never predict it")
