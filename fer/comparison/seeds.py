"""Test differences between configurations with several seeds, taking both seeds and images for samples.

Two trainings that differ in nothing but the seed differ in accuracy, and so do two samples of test images. Which of two
configurations is better is a question about both. Whether the run with seed s of configuration k is right on image i is

    y_ksi = mean + configuration_k + seed_s(k) + image_i + (configuration x image)_ki + residual_ksi

with seeds nested in configurations and images crossed with both. The variance of the difference of two means is
estimated from three parts, each of them a mean square over its number of predictions:

    seeds      sum over k of s_k^2 / n_k,  s_k^2 the variance of k's accuracies over its n_k seeds
    images     variance over images of the difference of the predictions averaged over seeds
    residual   sum over k of the variance over images of (predictions of a seed - mean over seeds), over n_k (n_k - 1)

The randomness of a single prediction is in `seeds` and in `images`, so the variance is seeds + images - residual. With
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

from fer.evaluation.intervals import class_mean_weights, person_numbers, score_interval
from fer.evaluation.metrics import Floats, Interval, Ints
from fer.evaluation.statistics import CENTRAL, LEVEL, POWER, Difference

ROUNDING = 1e-18
"""A variance below this is rounding."""


@dataclass(frozen=True)
class SeedsTest(Difference):
    """A difference between two configurations, with its 95 % interval, which excludes 0 exactly where p < 0.05.

    Attributes:
        smallest: The smallest true difference that would show at 5 % in 80 of 100 such comparisons; infinite for a
            single image or person, None where nothing varies.
    """

    smallest: float | None


@dataclass(frozen=True)
class VarianceEstimate:
    """The variance of an estimate, and the degrees of freedom it is known with."""

    value: float
    freedom: float

    def half_width(self, quantile: float = CENTRAL) -> float:
        """Return a quantile of Student's t times the standard error."""
        return float(stdtrit(self.freedom, quantile)) * math.sqrt(self.value)


def seeds_test(
    correct_a: Floats,
    correct_b: Floats,
    labels: Ints,
    persons: Sequence[str] | None = None,
) -> SeedsTest:
    """Compare two configurations by mean-class accuracy; by accuracy where all labels are equal.

    p and interval are Student's t with the variance and the degrees of freedom above. A configuration with a single
    seed is assumed to vary between seeds as the other one does. Seeds of the two sides count as independent. p is never
    smaller than that of the test in which the signs of the images' differences are drawn by coin; where the coin lifts
    it to 0.05 or more, the interval reaches to 0.

    Args:
        correct_a: Whether A's runs are right, `(seeds, N)` in [0, 1].
        correct_b: The same of B, on the same images; one of the two has several seeds.
        labels: True classes, `(N,)`.
        persons: Who is on each image; images then vary by person, or by themselves where that is more.
    """
    gain = correct_a.mean(axis=0) - correct_b.mean(axis=0)
    weights = class_mean_weights(labels)
    estimate = float(weights @ gain)
    variance = _variance_of_mean(gain, [correct_a, correct_b], labels, persons)
    if variance is None:
        # A single image or person says nothing of others.
        return SeedsTest(estimate, low=-1.0, high=1.0, p=1.0, smallest=math.inf)
    # The coin: of n signs all fall alike with this probability, and t knows nothing of so few images.
    differing = _count_differing(gain, weights, persons)
    p = min(1.0, 2.0 ** (1 - differing))
    half_width, smallest = 0.0, None
    if variance.value >= ROUNDING:
        t = abs(estimate) / math.sqrt(variance.value)
        p = max(2 * float(stdtr(variance.freedom, -t)), p)
        half_width = variance.half_width()
        smallest = half_width + variance.half_width(POWER)
    low = max(estimate - half_width, -1.0)
    high = min(estimate + half_width, 1.0)
    if p >= LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return SeedsTest(estimate, low, high, p, smallest)


def mean_interval(correct: Floats, labels: Ints, persons: Sequence[str] | None = None) -> Interval | None:
    """Return the 95 % interval of mean-class accuracy averaged over seeds, for new seeds and new images.

    Its variance is that of `seeds_test` for one configuration. Where all labels are equal it is that of a proportion,
    and has Wilson's form with the effective number of images, accuracy * (1 - accuracy) / variance, and Student's
    quantile: Dean & Pagano (2015), Evaluating confidence interval methods for binomial proportions in clustered
    surveys, Journal of Survey Statistics and Methodology 3:484-503.

    Args:
        correct: Whether the runs are right, `(seeds, N)` in [0, 1], two seeds or more.
        labels: True classes, `(N,)`.
        persons: Who is on each image, as in `seeds_test`.

    Returns:
        The interval in [0, 1], or None for a single image or person.
    """
    values = correct.mean(axis=0)
    variance = _variance_of_mean(values, [correct], labels, persons)
    if variance is None:
        return None
    accuracy = float(class_mean_weights(labels) @ values)
    if len(np.unique(labels)) > 1:
        half_width = variance.half_width()
        return max(accuracy - half_width, 0.0), min(accuracy + half_width, 1.0)
    # Without variance, as where every prediction is right, nothing is known beyond the number of images.
    effective = float(len(labels))
    if variance.value > ROUNDING:
        effective = min(accuracy * (1 - accuracy) / variance.value, correct.size)
    quantile = float(stdtrit(variance.freedom, CENTRAL))
    return score_interval(accuracy, effective, quantile)


def _variance_of_mean(
    values: Floats,
    sides: Sequence[Floats],
    labels: Ints,
    persons: Sequence[str] | None,
) -> VarianceEstimate | None:
    """Return the variance of the mean of `values` for new seeds and new images; None where images do not show any.

    Args:
        values: What is averaged over images, `(N,)`.
        sides: Whether predictions behind it are right: of each configuration `(seeds, N)`.
        labels: True classes, `(N,)`.
        persons: Who is on each image; the larger of the variances by person and by image is taken.
    """
    groupings: list[Ints | None] = [None]
    if persons is not None:
        groupings.append(person_numbers(persons))
    seeds = _seed_variance(sides, labels)
    estimates = []
    for grouping in groupings:
        images = _image_variance(values, labels, grouping)
        if images.freedom < 1:
            return None
        residual = _residual_variance(sides, labels, grouping)
        # The residual, an estimate too, may exceed what it is taken off.
        value = max(images.value + seeds.value - residual.value, images.value, seeds.value)
        squares = sum(part.value**2 / part.freedom for part in (images, seeds, residual))
        freedom = value**2 / squares if squares else images.freedom
        estimates.append(VarianceEstimate(value, freedom))
    return max(estimates, key=VarianceEstimate.half_width)


def _seed_variance(sides: Sequence[Floats], labels: Ints) -> VarianceEstimate:
    """Return the variance over seeds of a difference of means, or of one mean.

    How much of it is each side's is known from as few as two seeds each, so the degrees of freedom are at most those of
    sides that vary alike: without that limit 10 seeds against 2 err in up to 10 of 100 equal pairs.
    """
    weights = class_mean_weights(labels)
    several = [side for side in sides if len(side) > 1]
    variances = []
    for side in several:
        variance = float((side @ weights).var(ddof=1))
        variances.append(VarianceEstimate(variance, len(side) - 1))
    total = _sum_over_sides(variances, sides)
    if len(several) < 2:
        return total
    equal = [VarianceEstimate(1.0, len(side) - 1) for side in several]
    alike = _sum_over_sides(equal, sides)
    return VarianceEstimate(total.value, min(total.freedom, alike.freedom))


def _residual_variance(sides: Sequence[Floats], labels: Ints, persons: Ints | None) -> VarianceEstimate:
    """Return the part of the variance over images that the randomness of single predictions explains."""
    variances = []
    for side in sides:
        if len(side) > 1:
            residuals = side - side.mean(axis=0)
            by_run = [_image_variance(residual, labels, persons) for residual in residuals]
            # One run's residuals follow from the others', as they sum to zero.
            runs = len(side) - 1
            value = sum(run.value for run in by_run) / runs
            variances.append(VarianceEstimate(value, runs * by_run[0].freedom))
    return _sum_over_sides(variances, sides)


def _sum_over_sides(variances: Sequence[VarianceEstimate], sides: Sequence[Floats]) -> VarianceEstimate:
    """Return the variance of a difference of means over seeds, or of one mean, with Satterthwaite's freedom.

    Args:
        variances: Those of a single seed, of each side with several seeds.
        sides: All sides; one with a single seed borrows the variance of the only other one.
    """
    if len(variances) < len(sides):
        weight = sum(1 / len(side) for side in sides)
        return VarianceEstimate(variances[0].value * weight, variances[0].freedom)
    parts = []
    for variance, side in zip(variances, sides, strict=True):
        parts.append(VarianceEstimate(variance.value / len(side), variance.freedom))
    value = sum(part.value for part in parts)
    squares = sum(part.value**2 / part.freedom for part in parts)
    # Where nothing varies the formula is 0 / 0.
    freedom = value**2 / squares if squares else min(part.freedom for part in parts)
    return VarianceEstimate(value, freedom)


def _count_differing(gain: Floats, weights: Floats, persons: Sequence[str] | None) -> int:
    """Return on how many images, or for how many persons, the two sides differ."""
    if persons is None:
        return int((gain != 0).sum())
    by_person = np.bincount(person_numbers(persons), weights=weights * gain)
    # Sums that cancel leave a rounding.
    return int((np.abs(by_person) > 1e-12).sum())


def _image_variance(values: Floats, labels: Ints, persons: Ints | None) -> VarianceEstimate:
    """Return the variance over images of the mean over classes of the images' values.

    Images vary within their class, persons as wholes (linearised). A class of one image shows no variance.
    """
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    class_means = np.bincount(class_of, weights=values) / counts
    deviations = class_mean_weights(labels) * (values - class_means[class_of])
    if persons is None:
        corrections = counts / np.maximum(counts - 1, 1)
        value = float((corrections[class_of] * deviations**2).sum())
        return VarianceEstimate(value, freedom=int((counts - 1).sum()))
    sums = np.bincount(persons, weights=deviations)
    freedom = len(sums) - 1
    value = float((sums**2).sum()) * len(sums) / max(freedom, 1)
    return VarianceEstimate(value, freedom)
