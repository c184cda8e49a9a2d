"""Calibrate a classifier's probabilities: temperature scaling, and correction of the class prior.

Functions of arrays, with no framework. Columns are classes in one order throughout.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from fer.evaluation.metrics import (
    Floats,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
)

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Temperatures beyond these are not fitted: a network that asks for them is broken."""


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed.

    Attributes:
        nll: Negative log-likelihood in nats.
        brier: Brier score, in [0, 2].
        ece: Expected calibration error, in [0, 1].
    """

    nll: float
    brier: float
    ece: float


def softmax_with_temperature(scores: ArrayLike, temperature: float = 1.0) -> Floats:
    """Return softmax(scores / temperature) by row, `(N, C)`; the largest stays the largest.

    Args:
        scores: Outputs before the softmax, `(N, C)`.
        temperature: Above 1 less sure, below 1 surer.
    """
    return np.asarray(softmax(np.asarray(scores, dtype=np.float64) / temperature, axis=1), dtype=np.float64)


def fit_temperature(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature with the least negative log-likelihood on held-out images.

    Guo et al. (2017), On Calibration of Modern Neural Networks, section 4.2. The likelihood is convex in
    b = 1 / temperature, and its slope, the mean over images of (expected score - true class's score), rises with b; so
    halving an interval of b finds its zero. Where every image is answered rightly the likelihood only grows as the
    temperature falls, so there is no best one: 1 is returned.

    Args:
        scores: Outputs before the softmax, `(N, C)`.
        labels: True classes, `(N,)` integers in [0, C), at least one.

    Returns:
        A temperature in [0.05, 20].
    """
    logits, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    # Softmax does not change by it, and large scores do not overflow.
    logits = logits - logits.max(axis=1, keepdims=True)
    own = np.take_along_axis(logits, truth[:, None], axis=1)[:, 0]
    others = logits.copy()
    np.put_along_axis(others, truth[:, None], -np.inf, axis=1)
    if (own > others.max(axis=1)).all():
        return 1.0

    def slope(b: float) -> float:
        shares: Floats = softmax(b * logits, axis=1)
        expected = (shares * logits).sum(axis=1)
        return float(np.mean(expected - own))

    # Such as where all scores are equal, and no temperature changes anything.
    if slope(1.0) == 0:
        return 1.0
    # Halved on the scale of its logarithm, as what is sought is a factor.
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        if slope(middle) > 0:
            high = middle
        else:
            low = middle
    return 1 / math.sqrt(low * high)


def calibration(labels: ArrayLike, probabilities: ArrayLike) -> Calibration:
    """Measure how far probabilities can be believed; arguments as `negative_log_likelihood`.

    Raises:
        ValueError: An argument is malformed or empty.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    correct = scores.argmax(axis=1) == np.asarray(labels)
    confidence = scores.max(axis=1)
    return Calibration(
        nll=negative_log_likelihood(labels, scores),
        brier=brier_score(labels, scores),
        ece=expected_calibration_error(confidence, correct),
    )


def corrected_prior(probabilities: ArrayLike, training_prior: ArrayLike) -> Floats:
    """Return what the probabilities would be had the training classes occurred equally often.

    Each is divided by the class's frequency in training and the row scaled to sum to 1: Saerens, Latinne & Decaestecker
    (2002), Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation 14:21-41, equation
    2.4.

    Args:
        probabilities: `(N, C)`, rows summing to 1.
        training_prior: Share of each class in training, `(C,)`. A class that was absent (0) keeps probability 0.

    Returns:
        `(N, C)`. A row with probability for absent classes only becomes equal shares of the others.
    """
    trained = _shares(training_prior)
    # Of a class that was absent from training nothing was learnt that could be scaled.
    known = trained > 0
    weighted = np.asarray(probabilities) * known / np.where(known, trained, 1.0)
    sums = weighted.sum(axis=1, keepdims=True)
    scaled = weighted / np.where(sums > 0, sums, 1.0)
    return np.where(sums > 0, scaled, known / known.sum())


def implied_prior(probabilities: ArrayLike, labels: ArrayLike, training_prior: ArrayLike) -> Floats:
    """Return the mean probability that a model gives each class over its training classes.

    For probabilities that are right it is the training prior itself. But label smoothing, for one, leaves every class a
    floor, and a rare class's floor divided by its true share would outvote all others: FER+'s disgust, at 0.6 % of the
    training faces, would be predicted for most. So the prior that `corrected_prior` divides by is the model's own: the
    soft confusion matrix on held-out images times the training prior, as in Lipton, Wang & Smola (2018), Detecting and
    Correcting for Label Shift with Black Box Predictors, section 4.

    Args:
        probabilities: `(N, C)`, rows summing to 1, on held-out images.
        labels: Their classes, `(N,)` in 0 to C - 1. A class without images is taken to be predicted rightly.
        training_prior: Share of each class in training, `(C,)`, scaled to sum to 1.

    Returns:
        `(C,)`, summing to 1; 0 for a class absent from training.
    """
    scores, classes = np.asarray(probabilities), np.asarray(labels)
    trained = _shares(training_prior)
    soft_confusion = np.eye(len(trained))
    for number in np.unique(classes):
        soft_confusion[number] = scores[classes == number].mean(axis=0)
    # The mean over classes of what they are given, each as often as it occurs in training.
    return _shares(np.where(trained > 0, trained @ soft_confusion, 0.0))


def _shares(values: ArrayLike) -> Floats:
    """Return numbers scaled to sum to 1."""
    shares = np.asarray(values, dtype=np.float64)
    return np.asarray(shares / shares.sum(), dtype=np.float64)
