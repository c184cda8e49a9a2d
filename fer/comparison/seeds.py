"""Tests and intervals that take both the seeds and the images for samples.

Two trainings that differ in nothing but the seed differ in accuracy, and so do two samples of test images. Which of two
configurations is better is a question about both: the variance over images (of the answers averaged over seeds) and
the variance over seeds (on the same images) add up. This is Clark's min F' (1973, The language-as-fixed-effect
fallacy, Journal of Verbal Learning and Verbal Behavior 12:335-359) with seeds for subjects and images for items. What
chance does to a single answer counts in both, which makes it cautious where seeds matter little. Simulated with equal
configurations of two to five seeds, p < 0.05 comes up in 1 % of comparisons where seeds matter little and in 5 to 7 %
where they matter most, against over 30 % for a test over images alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from fer.metrics import Floats, Interval, Ints

NOTHING = -1.0, 1.0
"""The interval of a difference about which nothing is known."""


TINY = 1e-18
"""A variance below this is rounding."""


@dataclass(frozen=True)
class SeedsTest:
    """A difference between two configurations of which at least one has several seeds.

    Attributes:
        estimate: Mean over A's seeds minus mean over B's.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Two-sided.
        smallest: The smallest true difference that would show at 5 % in 80 of 100 such comparisons; infinite for a
            single image or person, None where nothing varies.
    """

    estimate: float
    low: float
    high: float
    p: float
    smallest: float | None


@dataclass(frozen=True)
class _Spread:
    """A mean, the variance of its estimate, and the degrees of freedom behind that variance."""

    mean: float
    variance: float
    freedom: float


def seeds_test(correct_a: Floats, correct_b: Floats, labels: Ints, clusters: Sequence[str] | None = None) -> SeedsTest:
    """Compare two configurations by mean-class accuracy; by accuracy where all labels are equal.

    p comes from Student's t with Satterthwaite's degrees of freedom, t^2 being min F'. The seeds' variance is pooled
    over both configurations, so that one of them may have a single seed. p is never smaller than that of the test in
    which the signs of the images' differences are drawn by coin.

    Args:
        correct_a: Whether A's runs are right, `(seeds, N)` of 0 and 1.
        correct_b: The same of B, on the same images.
        labels: True classes, `(N,)`.
        clusters: Who is on each image; variance over images is then that over persons.

    Raises:
        ValueError: Neither has two runs, or there is no image.
    """
    runs_a, runs_b = len(correct_a), len(correct_b)
    if runs_a + runs_b < 3 or not len(labels):
        raise ValueError("seeds_test takes three runs or more, and at least one image")
    gain = correct_a.mean(axis=0) - correct_b.mean(axis=0)
    images, differing = _over_images(gain, labels, clusters)
    if images.freedom < 1:
        return SeedsTest(images.mean, *NOTHING, 1.0, math.inf)
    weights = _weights(labels)
    squares = sum(float((runs @ weights).var() * len(runs)) for runs in (correct_a, correct_b))
    pooled = squares / (runs_a + runs_b - 2)
    total = _sum(images, _Spread(0.0, pooled * (1 / runs_a + 1 / runs_b), runs_a + runs_b - 2))
    if total.variance < TINY:
        return SeedsTest(images.mean, images.mean, images.mean, min(1.0, 2.0 ** (1 - differing)), None)
    error = total.variance**0.5
    reach, more = (float(stdtrit(total.freedom, share)) * error for share in (0.975, 0.8))
    p = 2 * float(stdtr(total.freedom, -abs(images.mean) / error))
    low, high = max(images.mean - reach, -1.0), min(images.mean + reach, 1.0)
    return SeedsTest(images.mean, low, high, min(1.0, max(p, 2.0 ** (1 - differing))), reach + more)


def mean_interval(correct: Floats, labels: Ints, clusters: Sequence[str] | None = None) -> Interval | None:
    """Return the 95 % interval of mean-class accuracy averaged over seeds, for new seeds and new images.

    Where all labels are equal it is that of a share, and has Wilson's form with the effective number of images, share *
    (1 - share) / variance, and Student's quantile: Dean & Pagano (2015), Evaluating confidence interval methods for
    binomial proportions in clustered surveys, Journal of Survey Statistics and Methodology 3:484-503.

    Args:
        correct: Whether the runs are right, `(seeds, N)` of 0 and 1, two seeds or more.
        labels: True classes, `(N,)`.
        clusters: Who is on each image, as in `seeds_test`.

    Returns:
        The interval in [0, 1], or None for a single image or person.
    """
    runs = len(correct)
    images, _ = _over_images(correct.mean(axis=0), labels, clusters)
    if images.freedom < 1:
        return None
    total = _sum(images, _Spread(0.0, float((correct @ _weights(labels)).var(ddof=1)) / runs, runs - 1))
    quantile = float(stdtrit(total.freedom, 0.975))
    if len(np.unique(labels)) > 1:
        reach = quantile * total.variance**0.5
        return max(total.mean - reach, 0.0), min(total.mean + reach, 1.0)
    share, most = total.mean, float(correct.size)
    # Without variance, as where every answer is right, nothing is known beyond the number of images.
    effective = min(share * (1 - share) / total.variance, most) if total.variance > TINY else float(len(labels))
    return _wilson(share, effective, quantile)


def _wilson(share: float, images: float, quantile: float) -> Interval:
    centre = share + quantile**2 / (2 * images)
    half = quantile * (share * (1 - share) / images + quantile**2 / (4 * images**2)) ** 0.5
    scale = 1 + quantile**2 / images
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def _weights(labels: Ints) -> Floats:
    """Return what each image counts in the mean of the classes that occur."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[place]), dtype=np.float64)


def _over_images(values: Floats, labels: Ints, clusters: Sequence[str] | None) -> tuple[_Spread, int]:
    """Return the mean over classes of the images' values, and how many images or persons are not 0.

    Images vary within their class, persons as wholes (linearised). A class of one image shows no variance.
    """
    weights = _weights(labels)
    mean = float(weights @ values)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    centred = values - (np.bincount(place, weights=values) / counts)[place]
    if clusters is None:
        scale = counts / np.maximum(counts - 1, 1)
        variance = float((scale[place] * (weights * centred) ** 2).sum())
        return _Spread(mean, variance, int((counts - 1).sum())), int((values != 0).sum())
    _, who = np.unique(np.asarray(clusters), return_inverse=True)
    groups = int(who.max()) + 1
    variance = float((np.bincount(who, weights=weights * centred) ** 2).sum()) * groups / max(groups - 1, 1)
    differing = int((np.abs(np.bincount(who, weights=weights * values)) > 1e-12).sum())
    return _Spread(mean, variance, groups - 1), differing


def _sum(images: _Spread, seeds: _Spread) -> _Spread:
    """Add two independent parts of a variance; degrees of freedom after Satterthwaite (1946), Biometrics 2:110-114."""
    variance = images.variance + seeds.variance
    parts = images.variance**2 / images.freedom + seeds.variance**2 / seeds.freedom
    return _Spread(images.mean, variance, variance**2 / parts if parts else images.freedom)
