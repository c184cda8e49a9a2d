"""Tests and intervals that take both the seeds and the images for samples.

Two trainings that differ in nothing but the seed differ in accuracy, and so do two samples of test images. Which of two
configurations is better is a question about both. Whether the run with seed s of configuration k is right on image i is

    y_ksi = mean + configuration_k + seed_s(k) + image_i + (configuration x image)_ki + residual_ksi

with seeds nested in configurations and images crossed with both. The variance of the difference of two means is
estimated from three parts, each of them a mean square over its number of answers:

    seeds      sum over k of s_k^2 / n_k,  s_k^2 the variance of k's accuracies over its n_k seeds
    images     variance over images of the difference of the answers averaged over seeds
    residual   sum over k of the variance over images of (answers of a seed - mean over seeds), over n_k (n_k - 1)

What chance does to a single answer is in `seeds` and in `images`, so the variance is seeds + images - residual. With
equal numbers of seeds t^2 is then the quasi-F ratio F' = MS(configurations) / (MS(seeds) + MS(configurations x images)
- MS(residual)) of Winer (1971, Statistical Principles in Experimental Design, 2nd edition, pages 375-378) and Clark
(1973, The language-as-fixed-effect fallacy, Journal of Verbal Learning and Verbal Behavior 12:335-359) with seeds for
subjects and images for items; Clark's min F' leaves the residual in twice and so misses differences (Forster &
Dickinson, 1976, More on the language-as-fixed-effect fallacy, same journal 15:135-142). Degrees of freedom are
Satterthwaite's (1946, An approximate distribution of estimates of variance components, Biometrics Bulletin 2:110-114);
each of two configurations has its own variance over seeds, as in Welch (1947, The generalization of Student's problem
when several different population variances are involved, Biometrika 34:28-35). `benchmarks/seeds.py` simulates what
that is worth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from fer.evaluation.intervals import score_interval
from fer.evaluation.metrics import Floats, Interval, Ints
from fer.evaluation.statistics import LEVEL

NOTHING = -1.0, 1.0
"""The interval of a difference about which nothing is known."""
TINY = 1e-18
"""A variance below this is rounding."""


@dataclass(frozen=True)
class SeedsTest:
    """A difference between two configurations of which at least one has several seeds.

    Attributes:
        estimate: Mean over A's seeds minus mean over B's.
        low: Lower end of its 95 % interval, which excludes 0 exactly where p is below 0.05.
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
class _Variance:
    """The variance of an estimate, and the degrees of freedom behind it."""

    value: float
    freedom: float

    @property
    def error(self) -> float:
        """Return the standard error."""
        return math.sqrt(self.value)

    def reach(self, share: float = 1 - LEVEL / 2) -> float:
        """Return this quantile of Student's t in units of the estimate."""
        return float(stdtrit(self.freedom, share)) * self.error


def seeds_test(correct_a: Floats, correct_b: Floats, labels: Ints, clusters: Sequence[str] | None = None) -> SeedsTest:
    """Compare two configurations by mean-class accuracy; by accuracy where all labels are equal.

    p and interval are Student's t with the variance and the degrees of freedom above. A configuration with a single
    seed is assumed to vary between seeds as the other one does. Seeds of the two sides count as independent. p is never
    smaller than that of the test in which the signs of the images' differences are drawn by coin; where the coin lifts
    it to 0.05 or more, the interval reaches to 0.

    Args:
        correct_a: Whether A's runs are right, `(seeds, N)` in [0, 1].
        correct_b: The same of B, on the same images.
        labels: True classes, `(N,)`.
        clusters: Who is on each image; images then vary by person, or by themselves where that is more.

    Raises:
        ValueError: Neither has two runs, or there is no image.
    """
    if len(correct_a) + len(correct_b) < 3 or not len(labels):
        raise ValueError("seeds_test takes three runs or more, and at least one image")
    gain = correct_a.mean(axis=0) - correct_b.mean(axis=0)
    weights = _weights(labels)
    estimate = float(weights @ gain)
    total = _total(gain, [correct_a, correct_b], labels, clusters)
    if total is None:
        return SeedsTest(estimate, *NOTHING, 1.0, math.inf)
    coin = min(1.0, 2.0 ** (1 - _differing(gain, weights, clusters)))
    if total.value < TINY:
        p, reach, smallest = coin, 0.0, None
    else:
        p = max(2 * float(stdtr(total.freedom, -abs(estimate) / total.error)), coin)
        reach, smallest = total.reach(), total.reach() + total.reach(0.8)
    low, high = max(estimate - reach, -1.0), min(estimate + reach, 1.0)
    if p >= LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return SeedsTest(estimate, low, high, p, smallest)


def mean_interval(correct: Floats, labels: Ints, clusters: Sequence[str] | None = None) -> Interval | None:
    """Return the 95 % interval of mean-class accuracy averaged over seeds, for new seeds and new images.

    Its variance is that of `seeds_test` for one configuration. Where all labels are equal it is that of a share, and
    has Wilson's form with the effective number of images, share * (1 - share) / variance, and Student's quantile: Dean
    & Pagano (2015), Evaluating confidence interval methods for binomial proportions in clustered surveys, Journal of
    Survey Statistics and Methodology 3:484-503.

    Args:
        correct: Whether the runs are right, `(seeds, N)` in [0, 1], two seeds or more.
        labels: True classes, `(N,)`.
        clusters: Who is on each image, as in `seeds_test`.

    Returns:
        The interval in [0, 1], or None for a single image or person.
    """
    values = correct.mean(axis=0)
    total = _total(values, [correct], labels, clusters)
    if total is None:
        return None
    share = float(_weights(labels) @ values)
    if len(np.unique(labels)) > 1:
        return max(share - total.reach(), 0.0), min(share + total.reach(), 1.0)
    # Without variance, as where every answer is right, nothing is known beyond the number of images.
    effective = min(share * (1 - share) / total.value, correct.size) if total.value > TINY else len(labels)
    return score_interval(share, effective, float(stdtrit(total.freedom, 1 - LEVEL / 2)))


def _total(
    values: Floats, sides: Sequence[Floats], labels: Ints, clusters: Sequence[str] | None
) -> _Variance | None:  # fmt: skip
    """Return the variance of the mean of `values` for new seeds and new images; None where images do not show any.

    Args:
        values: What is averaged over images, `(N,)`.
        sides: The answers behind it: of each configuration `(seeds, N)`.
        labels: True classes, `(N,)`.
        clusters: Who is on each image; the larger of the variances by person and by image is taken.
    """
    found = []
    for persons in [None] if clusters is None else [None, np.unique(np.asarray(clusters), return_inverse=True)[1]]:
        images = _over_images(values, labels, persons)
        if images.freedom < 1:
            return None
        found.append(_quasi(images, _over_seeds(sides, labels), _residual(sides, labels, persons)))
    return max(found, key=_Variance.reach)


def _quasi(images: _Variance, seeds: _Variance, residual: _Variance) -> _Variance:
    """Return seeds + images - residual, which is at least either of the first two, with Satterthwaite's freedom."""
    value = max(images.value + seeds.value - residual.value, images.value, seeds.value)
    parts = sum(part.value**2 / part.freedom for part in (images, seeds, residual))
    return _Variance(value, value**2 / parts if parts else images.freedom)


def _over_seeds(sides: Sequence[Floats], labels: Ints) -> _Variance:
    """Return the variance over seeds of a difference of means, or of one mean.

    Shares of the sides in it are known from as few as two seeds each, so the degrees of freedom are at most those of
    sides that vary alike: without that limit 10 seeds against 2 err in up to 10 of 100 equal pairs.
    """
    weights = _weights(labels)
    several = [side for side in sides if len(side) > 1]
    squares = [float((side @ weights).var(ddof=1)) for side in several]
    if len(several) < len(sides) or len(sides) == 1:
        # A single seed borrows the variance of the only other side.
        return _Variance(squares[0] * sum(1 / len(side) for side in sides), len(several[0]) - 1)
    parts = [_Variance(square / len(side), len(side) - 1) for square, side in zip(squares, several, strict=True)]
    alike = [_Variance(1 / len(side), len(side) - 1) for side in several]
    return _Variance(sum(part.value for part in parts), min(_satterthwaite(parts), _satterthwaite(alike)))


def _residual(sides: Sequence[Floats], labels: Ints, persons: Ints | None) -> _Variance:
    """Return the part of the variance over images that chance in single answers explains."""
    parts = []
    for side in sides:
        if len(side) > 1:
            varied = [_over_images(own, labels, persons) for own in side - side.mean(axis=0)]
            freedom = (len(side) - 1) * varied[0].freedom
            parts.append(_Variance(sum(one.value for one in varied) / (len(side) - 1), freedom))
    if len(parts) < len(sides):
        return _Variance(parts[0].value * sum(1 / len(side) for side in sides), parts[0].freedom)
    means = [_Variance(part.value / len(side), part.freedom) for part, side in zip(parts, sides, strict=True)]
    return _Variance(sum(mean.value for mean in means), _satterthwaite(means))


def _satterthwaite(parts: Sequence[_Variance]) -> float:
    """Return the degrees of freedom of a sum of independent variances; the fewest of them where all are 0."""
    squares = sum(part.value**2 / part.freedom for part in parts)
    return sum(part.value for part in parts) ** 2 / squares if squares else min(part.freedom for part in parts)


def _weights(labels: Ints) -> Floats:
    """Return what each image counts in the mean of the classes that occur."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[place]), dtype=np.float64)


def _differing(gain: Floats, weights: Floats, clusters: Sequence[str] | None) -> int:
    """Return on how many images, or for how many persons, the two sides differ."""
    if clusters is None:
        return int((gain != 0).sum())
    who = np.unique(np.asarray(clusters), return_inverse=True)[1]
    return int((np.abs(np.bincount(who, weights=weights * gain)) > 1e-12).sum())


def _over_images(values: Floats, labels: Ints, persons: Ints | None) -> _Variance:
    """Return the variance over images of the mean over classes of the images' values.

    Images vary within their class, persons as wholes (linearised). A class of one image shows no variance.
    """
    weights = _weights(labels)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    centred = values - (np.bincount(place, weights=values) / counts)[place]
    if persons is None:
        scale = counts / np.maximum(counts - 1, 1)
        return _Variance(float((scale[place] * (weights * centred) ** 2).sum()), int((counts - 1).sum()))
    groups = int(persons.max()) + 1
    sums = np.bincount(persons, weights=weights * centred)
    return _Variance(float((sums**2).sum()) * groups / max(groups - 1, 1), groups - 1)
