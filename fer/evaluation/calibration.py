"""Calibrate a classifier's probabilities: temperature scaling, and correction of the class prior.

Functions of arrays, with no framework. Columns are classes in one order throughout.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from fer.evaluation.metrics import Floats, brier_score, expected_calibration_error, negative_log_likelihood

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
        labels: True classes, `(N,)` integers in [0, C).

    Returns:
        A temperature in [0.05, 20].

    Raises:
        ValueError: An argument is malformed, or there is no image.
    """
    logits, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or truth.shape != logits.shape[:1] or not len(truth) or not np.isfinite(logits).all():
        raise ValueError(
            f"scores must be finite and (N, C) with N labels, N at least 1, not {logits.shape} and {truth.shape}"
        )
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
    return Calibration(
        nll=negative_log_likelihood(labels, scores),
        brier=brier_score(labels, scores),
        ece=expected_calibration_error(scores.max(axis=1), correct),
    )


def corrected_prior(
    probabilities: ArrayLike, training_prior: ArrayLike, target_prior: ArrayLike | None = None
) -> Floats:
    """Return what the probabilities would be had the training classes occurred with other frequencies.

    Each is multiplied by target frequency / training frequency and the row scaled to sum to 1: Saerens, Latinne &
    Decaestecker (2002), Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation
    14:21-41, equation 2.4.

    Args:
        probabilities: `(N, C)`, rows summing to 1.
        training_prior: Share of each class in training, `(C,)`, scaled to sum to 1. A class that was absent (0) keeps
            probability 0: nothing was learnt of it that could be scaled.
        target_prior: Share of each class where the predictions are used, likewise; None: all alike.

    Returns:
        `(N, C)`. A row with probability for absent classes only becomes the target shares of the others.

    Raises:
        ValueError: Shapes differ, a share is negative, or no class has a share in both.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"probabilities must be an (N, C) array, not {scores.shape}")
    trained = _prior("training_prior", training_prior, scores.shape[1])
    if target_prior is None:
        target_prior = np.ones_like(trained)
    target = _prior("target_prior", target_prior, len(trained))
    # Of a class that was absent from training nothing was learnt that could be scaled.
    known = np.where(trained > 0, target, 0.0)
    if not known.sum():
        raise ValueError("training_prior and target_prior have no class in common, so nothing can be predicted")
    weighted = scores * known / np.where(trained > 0, trained, 1.0)
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

    Raises:
        ValueError: Shapes differ, or a share is negative.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    classes = np.asarray(labels)
    if scores.ndim != 2 or classes.shape != scores.shape[:1]:
        raise ValueError(f"probabilities must be (N, C) and labels (N,), not {scores.shape} and {classes.shape}")
    trained = _prior("training_prior", training_prior, scores.shape[1])
    soft_confusion = np.eye(len(trained))
    for number in np.unique(classes):
        soft_confusion[number] = scores[classes == number].mean(axis=0)
    implied = np.where(trained > 0, trained @ soft_confusion, 0.0)
    return np.asarray(implied / implied.sum(), dtype=np.float64)


def _prior(name: str, values: ArrayLike, classes: int) -> Floats:
    shares = np.asarray(values, dtype=np.float64)
    if shares.shape != (classes,) or not (np.isfinite(shares) & (shares >= 0)).all() or not shares.sum():
        raise ValueError(f"{name} must hold {classes} shares, none negative and one above 0, not {shares.tolist()}")
    return np.asarray(shares / shares.sum(), dtype=np.float64)
