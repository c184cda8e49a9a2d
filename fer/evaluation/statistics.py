"""Test whether one classifier is better than another on the same images, and summarise repeated runs.

Functions of arrays. Every draw has a seed, so equal arguments give equal results.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, gammaln, xlog1py, xlogy

from fer.evaluation.intervals import (
    class_mean_weights,
    not_rejected,
    person_numbers,
    swapped_images,
    swapped_persons,
)
from fer.evaluation.metrics import Interval

LEVEL = 0.05
"""The p below which a difference counts as shown; intervals are at 1 - LEVEL."""
CENTRAL = 1 - LEVEL / 2
"""The quantile at the upper end of a 95 % interval."""
POWER = 0.8
"""Fraction of comparisons in which the smallest difference that counts as visible would show."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two classifiers on the same images.

    Attributes:
        only_a: Images that only A predicts rightly.
        only_b: Images that only B predicts rightly.
        p: Two-sided and exact; 1 where the two are never right alone.
        low, high: The 95 % interval of A's accuracy minus B's, which excludes 0 exactly where p is below 0.05.
    """

    only_a: int
    only_b: int
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A figure of A minus that of B, with its interval and two-sided p."""

    estimate: float
    low: float
    high: float
    p: float


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> McNemar:
    """Test whether A and B have the same accuracy, from which of the same images each answers rightly.

    Under the hypothesis the images that one of them alone answers rightly fall to either with probability 1/2.
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12:153-157, with the binomial distribution itself in place of its approximation.

    Args:
        correct_a: Whether A is right on each image, `(N,)` booleans.
        correct_b: The same of B, in the same order.
    """
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    tail = float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    low, high = _interval_of_paired_accuracies(only_a, only_b, len(correct_a))
    return McNemar(only_a, only_b, min(1.0, 2 * tail), low, high)


def _interval_of_paired_accuracies(only_a: int, only_b: int, images: int) -> Interval:
    """Return the wider of two 95 % intervals of a difference of accuracies on the same images.

    Bonett & Price's (2012, Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    data, Journal of Educational and Behavioral Statistics 37:479-488) allows for the number of images on which the two
    disagree, but may exclude 0 where the exact test does not reject. Clopper & Pearson's (1934, Biometrika 26:404-413)
    of the share of the disagreements that falls to A is the exact test's own, but takes their number for given.
    """
    quantile = NormalDist().inv_cdf(CENTRAL)
    # One image more on either side: their adjustment.
    for_a = (only_a + 1) / (images + 2)
    for_b = (only_b + 1) / (images + 2)
    centre = for_a - for_b
    half = quantile * math.sqrt((for_a + for_b - centre**2) / (images + 2))
    low, high = max(centre - half, -1.0), min(centre + half, 1.0)
    if only_a + only_b == 0:
        return low, high
    least = float(betaincinv(only_a, only_b + 1, LEVEL / 2)) if only_a else 0.0
    most = float(betaincinv(only_a + 1, only_b, CENTRAL)) if only_b else 1.0
    disagreement = (only_a + only_b) / images
    # A share of the disagreements becomes a difference of accuracies.
    least, most = disagreement * (2 * least - 1), disagreement * (2 * most - 1)
    return min(low, least), max(high, most)


def randomisation_test(
    labels: NDArray[np.int64],
    predictions_a: NDArray[np.int64],
    predictions_b: NDArray[np.int64],
    clusters: ArrayLike | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare A and B by mean-class accuracy on the same images.

    p is that of the randomisation test, in which A and B swap their predictions on an image, or on all of a person's,
    with probability 1/2 (Noreen, 1989, Computer-Intensive Methods for Testing Hypotheses, chapter 2). It is
    (1 + count) / (1 + draws), so never 0 (Phipson & Smyth, 2010). The interval holds every difference that this test,
    with the same draws, does not reject when it is first taken off each image (Garthwaite, 1996, Confidence intervals
    from randomization tests, Biometrics 52:1387-1393): so it excludes 0 exactly where p is below LEVEL.

    Args:
        labels: True classes, `(N,)` integers.
        predictions_a: A's predictions, likewise.
        predictions_b: B's predictions, likewise.
        clusters: Who is on each image, `(N,)`; None swaps single images. One person says nothing of others: the
            interval is then [-1, 1] and p is 1.
        draws: How often predictions are swapped.
        seed: Seed of the draws.
    """
    present, class_of = np.unique(labels, return_inverse=True)
    # 1 where A alone is right, -1 where B alone is.
    gain = (predictions_a == labels).astype(np.int64) - (predictions_b == labels)
    weights = class_mean_weights(labels)
    estimate = float(weights @ gain)
    generator = np.random.default_rng(seed)
    if clusters is None:
        swapped = swapped_images(gain, class_of, len(present), draws, generator)
    else:
        who = person_numbers(clusters)
        if who.max() < 1:
            return Difference(estimate, -1.0, 1.0, 1.0)
        swapped = swapped_persons(gain, weights, who, draws, generator)
    least, most = not_rejected(estimate, *swapped)
    extreme = int(((least <= 0) & (most >= 0)).sum())
    # p < LEVEL exactly where fewer draws than this do not reject. The product is rounded, because a whole
    # number that comes out a hair too large would be taken for the next one.
    needed = math.ceil(round(LEVEL * (1 + draws), 9)) - 1
    low = float(np.sort(least)[needed - 1]) if needed else -1.0
    high = float(np.sort(most)[-needed]) if needed else 1.0
    p = (1 + extreme) / (1 + draws)
    # Rounded, as ties were widened by a hair; adding 0.0 takes the sign off a zero.
    return Difference(estimate, round(low, 10) + 0.0, round(high, 10) + 0.0, p)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given.

    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6:65-70.
    """
    adjusted, highest = [0.0] * len(p), 0.0
    ascending = sorted(range(len(p)), key=lambda index: p[index])
    for rank, index in enumerate(ascending):
        multiplied = min(1.0, (len(p) - rank) * float(p[index]))
        # An adjusted value is never below that of a smaller p.
        highest = max(highest, multiplied)
        adjusted[index] = highest
    return adjusted


def smallest_difference(images: int, disagreement: float, power: float = POWER) -> float:
    """Return the smallest true difference of accuracies that `mcnemar` shows on so many images with this power.

    The power is exact, over the number of images on which only one is right and how they fall to the two: Duffy
    (1984), Asymptotic and exact power for the McNemar test and its analogue with R controls per case, Biometrics
    40:1005-1015. On large sets it is Connor's (1987, Biometrics 43:207-211).

    Args:
        images: N, at least 1.
        disagreement: Share of the images that one of the two alone answers rightly, in [0, 1].
        power: Probability of p <= LEVEL, in (0, 1).

    Returns:
        A share of the images in (0, disagreement]; `math.inf` where they are too few to show any difference.
    """
    numbers = np.arange(images + 1)
    choices = gammaln(images + 1) - gammaln(numbers + 1) - gammaln(images - numbers + 1)
    log_probability = choices + xlogy(numbers, disagreement) + xlog1py(images - numbers, -disagreement)
    probability = np.exp(log_probability)
    # On large sets all but a few thousand numbers of disagreements are impossible in practice.
    possible = probability > 1e-12
    numbers, probability = numbers[possible], probability[possible]
    # p <= LEVEL where the fewer of the two numbers is at most this; -1 where that cannot happen.
    limits = np.array([_most_on_one_side(number) for number in numbers.tolist()])
    able = limits >= 0
    numbers, probability, limits = numbers[able], probability[able], limits[able]

    def power_of(fraction: float) -> float:
        """Return the power where this fraction of the disagreements falls to one of the two."""
        rejected = bdtr(limits, numbers, fraction) + bdtr(limits, numbers, 1 - fraction)
        return float(probability @ rejected)

    # The power rises with that fraction, so halving finds where it is reached.
    low, high = 0.5, 1.0
    if power_of(high) < power:
        return math.inf
    while high - low > 1e-9:
        middle = (low + high) / 2
        if power_of(middle) >= power:
            high = middle
        else:
            low = middle
    return disagreement * (2 * high - 1)


def seeds_summary(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (over n - 1) of runs that differ in their seed; None for one run's."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def _most_on_one_side(number: int) -> int:
    """Return the largest k with 2 P(X <= k) <= LEVEL for X of Binomial(number, 1/2); -1 if there is none."""
    tails = 2 * bdtr(np.arange(number // 2 + 1), number, 0.5)
    return int(np.searchsorted(tails, LEVEL, side="right")) - 1
