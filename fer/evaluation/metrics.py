"""Compute accuracies, their intervals, and calibration errors of a classifier's predictions.

Functions of arrays, with no framework. Class identity is the index into a report's `expressions`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: predictions with confidence in (low, high]; None where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def check_probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Ints, Floats]:
    """Return labels `(N,)` and probabilities `(N, C)`, each row scaled to sum to 1 exactly, or raise ValueError."""
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"probabilities must be an (N, C) array, not {scores.shape}")
    truth = np.asarray(labels)
    if truth.shape != (len(scores),) or not len(truth) or truth.dtype.kind not in "iu":
        raise ValueError(f"labels must be {len(scores)} integers, one at least, not {truth.shape} of {truth.dtype}")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise ValueError(f"labels must lie in 0-{scores.shape[1] - 1}, not in {truth.min()}-{truth.max()}")
    if not np.isfinite(scores).all() or scores.min() < 0:
        raise ValueError("probabilities must be finite and not negative: check the model for NaN, or apply softmax")
    sums = scores.sum(axis=1, keepdims=True)
    # Six printed digits, or fp32, miss a sum of 1 by less; scores that were never normalised miss it by more.
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst, 0] - 1) > 1e-3:
        raise ValueError(f"probabilities must sum to 1 in each row, but row {worst} sums to {sums[worst, 0]:.4g}")
    return truth.astype(np.int64), scores / sums


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> Ints:
    """Count predictions: `(C, C)`, true classes in rows, predicted ones in columns.

    Args:
        labels: True classes, `(N,)` integers in [0, classes).
        predictions: Predicted classes, likewise.
        classes: C, the number of classes.
    """
    cells = np.asarray(labels) * classes + np.asarray(predictions)
    counts = np.bincount(cells, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def mean_class_accuracy(confusion: ArrayLike) -> Floats:
    """Return the mean recall over the classes that have samples, `(...)` for `(..., C, C)`.

    Equals scikit-learn's `balanced_accuracy_score`. A class without samples does not count, neither as 0 nor as 1.
    """
    counts = np.asarray(confusion)
    support = counts.sum(axis=-1)
    # Of a class without samples the quotient is 0 / 1 and left out of the mean by its number.
    recall = np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(support, 1)
    present = (support > 0).sum(axis=-1)
    return np.asarray(recall.sum(axis=-1) / present, dtype=np.float64)


def macro_f1(confusion: ArrayLike) -> Floats:
    """Return the mean F1 over the classes that occur in labels or predictions, `(...)` for `(..., C, C)`.

    F1 = 2 TP / (true + predicted). This is scikit-learn's `f1_score(average="macro")` with its default `labels`: a
    class that is predicted but never true counts as 0, one that is neither does not count.
    """
    counts = np.asarray(confusion)
    occurrences = counts.sum(axis=-1) + counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    f1 = 2 * hits / np.maximum(occurrences, 1)
    present = (occurrences > 0).sum(axis=-1)
    return np.asarray(f1.sum(axis=-1) / present, dtype=np.float64)


def reliability_bins(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> tuple[Bin, ...]:
    """Sort predictions by confidence into equal-width bins (low, high]; confidence 0 joins the first.

    Args:
        confidence: Probability of the predicted class, `(N,)` in [0, 1].
        correct: Whether the prediction is right, `(N,)` booleans.
        bins: Number of bins.
    """
    sure = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(correct, dtype=bool)
    edges = np.linspace(0, 1, bins + 1)
    # Bins are closed above; confidence 0 would fall below the first.
    bin_of = np.maximum(np.searchsorted(edges, sure, side="left") - 1, 0)
    result = []
    for index in range(bins):
        inside = bin_of == index
        count = int(inside.sum())
        entry = Bin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            count=count,
            confidence=float(sure[inside].mean()) if count else None,
            accuracy=float(right[inside].mean()) if count else None,
        )
        result.append(entry)
    return tuple(result)


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over bins, weighted by count, in [0, 1].

    Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3. Arguments as `reliability_bins`,
    at least one prediction.
    """
    weighted = 0.0
    for entry in reliability_bins(confidence, correct, bins):
        # A bin without predictions has neither, and weighs nothing.
        gap = abs((entry.confidence or 0) - (entry.accuracy or 0))
        weighted += entry.count * gap
    return weighted / np.size(confidence)


def negative_log_likelihood(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of -ln p(true class) in nats, at most 36.05 because p is held above 2.2e-16.

    Args:
        labels: `(N,)` integers in [0, C).
        probabilities: `(N, C)`, rows summing to 1.

    Raises:
        ValueError: An argument is malformed or empty.
    """
    truth, scores = check_probabilities(labels, probabilities)
    # Half-precision softmax can give the true class exactly 0, and one infinite image would hide all others.
    of_truth = scores[np.arange(len(truth)), truth]
    held = np.maximum(of_truth, np.finfo(np.float64).eps)
    return float(-np.log(held).mean())


def brier_score(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean squared distance from the one-hot truth, in [0, 2]; arguments as `negative_log_likelihood`.

    Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather Review 78:1-3.

    Raises:
        ValueError: An argument is malformed or empty.
    """
    truth, scores = check_probabilities(labels, probabilities)
    one_hot = np.eye(scores.shape[1])[truth]
    distances = ((scores - one_hot) ** 2).sum(axis=1)
    return float(distances.mean())
