"""Intervals of figures by formula, by bootstrap and over persons, and the draws of the randomisation test.

Functions of arrays, with no framework; N images of C classes show G persons.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from fer.evaluation.metrics import Floats, Interval, Ints

CELLS = 2_000_000
"""Numbers held at once while persons are drawn."""
TIE = 1e-12
"""Differences that differ by less are equal."""


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval | None:
    """Return the score interval of a proportion, or None without trials.

    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22:209-212.

    Args:
        successes: In [0, trials].
        trials: How many.
        level: Coverage, in (0, 1).
    """
    if trials == 0:
        return None
    quantile = NormalDist().inv_cdf(0.5 + level / 2)
    low, high = score_interval(successes / trials, trials, quantile)
    # Without a success the lower bound is exactly 0, without a failure the upper exactly 1; rounding misses both.
    return low if successes else 0.0, high if successes < trials else 1.0


def score_interval(fraction: float, images: float, quantile: float) -> Interval:
    """Return Wilson's interval of a fraction of so many images, which need not be whole, with this quantile.

    It grows with the quantile and with fewer images: the larger interval then holds the smaller one.
    """
    centre = fraction + quantile**2 / (2 * images)
    variance = fraction * (1 - fraction) / images + quantile**2 / (4 * images**2)
    half = quantile * variance**0.5
    scale = 1 + quantile**2 / images
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def bootstrap_interval(
    confusion: ArrayLike,
    statistic: Callable[[Ints], Floats],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the class-stratified percentile bootstrap interval of a statistic of a confusion matrix.

    Resampling the images of true class c with replacement draws that row of the matrix from a multinomial with n_c
    trials and probabilities row / n_c, so whole matrices are drawn instead of images. A class without samples stays
    absent. A class predicted all right, all wrong alike, or with one image does not vary: on tiny sets the interval is
    too narrow. Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Args:
        confusion: `(C, C)` counts, true classes in rows.
        statistic: Maps `(R, C, C)` counts to `(R,)`.
        level: Coverage, in (0, 1).
        resamples: R.
        seed: Seed of the draw; equal seeds give equal intervals.
    """
    counts = np.asarray(confusion)
    support = counts.sum(axis=1)
    rows = counts / np.maximum(support, 1)[:, None]
    draws = np.random.default_rng(seed).multinomial(support, rows, size=(resamples, len(counts)))
    low, high = np.quantile(statistic(draws), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def person_interval(correct: NDArray[np.bool_], clusters: ArrayLike) -> Interval | None:
    """Return the 95 % interval of accuracy over persons, or None for fewer than two of them.

    A person's pictures resemble each other, so an interval that takes them for independent images is too narrow. The
    variance is that of the ratio of right answers to images when whole persons are drawn (Cochran, 1977, Sampling
    Techniques, 3rd edition, section 9.5 with equation 6.13), and the interval has Wilson's form with the effective
    number of images, accuracy * (1 - accuracy) / variance, and the quantile of Student's t with G - 1 degrees of
    freedom (Dean & Pagano, 2015, Journal of Survey Statistics and Methodology 3:484-503). There are at most as many
    effective images as images, so the plain Wilson interval lies inside.

    Args:
        correct: Whether each image is answered rightly, `(N,)` booleans.
        clusters: Who is on it, `(N,)`.
    """
    right = np.asarray(correct, dtype=np.float64)
    who = person_numbers(clusters)
    if not len(who) or who.max() < 1:
        return None
    persons = int(who.max()) + 1
    accuracy = float(right.mean())
    deviations = np.bincount(who, weights=right - accuracy)
    variance = float((deviations**2).sum()) / len(right) ** 2 * persons / (persons - 1)
    effective = float(len(right))
    # Persons may be alike by chance, which makes nobody's pictures more than they are.
    if variance > 0:
        effective = min(accuracy * (1 - accuracy) / variance, effective)
    # With few persons their variance is itself known badly, which Student's quantile allows for.
    quantile = float(stdtrit(persons - 1, 0.975))
    return score_interval(accuracy, effective, quantile)


def person_numbers(clusters: ArrayLike) -> Ints:
    """Return each image's person as a number from 0, int64 `(N,)`."""
    return np.asarray(np.unique(np.asarray(clusters), return_inverse=True)[1], dtype=np.int64)


def class_mean_weights(labels: Ints) -> Floats:
    """Return the weight of each image in the mean over the classes that occur."""
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[class_of]), dtype=np.float64)


def swapped_images(
    gain: Ints,
    class_of: Ints,
    classes: int,
    draws: int,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Draw differences of mean-class accuracies with the answers of single images swapped.

    Only numbers of images by class are drawn: of images that A alone, B alone, or both or neither answer rightly.

    Args:
        gain: 1 where A alone is right, -1 where B alone is, else 0, `(N,)`.
        class_of: Class of each image, `(N,)` in [0, classes), each of which occurs.
        classes: C.
        draws: How many.
        generator: Draws the signs.

    Returns:
        The differences, `(draws,)`, and the sums of the images' weights with the same signs, likewise.
    """
    swapped = np.zeros(draws)
    shift = np.zeros(draws)
    images = np.bincount(class_of, minlength=classes)
    for sign in (1, -1, 0):
        counts = np.bincount(class_of[gain == sign], minlength=classes)
        # The sum of so many fair signs.
        signs = 2 * generator.binomial(counts, 0.5, size=(draws, classes)) - counts
        sums = (signs / images).mean(axis=1)
        swapped += sign * sums
        shift += sums
    return swapped, shift


def swapped_persons(
    gain: Ints,
    weights: Floats,
    who: Ints,
    draws: int,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Draw the same with all answers on a person swapped together.

    Args:
        gain: As above.
        weights: What each image counts in the mean, `(N,)`.
        who: Person of each image, `(N,)` in [0, G).
        draws: How many.
        generator: Draws the signs.
    """
    by_person = [np.bincount(who, weights=weights * gain), np.bincount(who, weights=weights)]
    columns = np.stack(by_person, axis=1)
    # All draws at once would hold a sign for each draw and person.
    at_once = max(1, CELLS // len(columns))
    sums = []
    for start in range(0, draws, at_once):
        size = (min(at_once, draws - start), len(columns))
        signs = 2 * generator.integers(0, 2, size=size) - 1
        sums.append(signs @ columns)
    swapped, shift = np.concatenate(sums).T
    return swapped, shift


def not_rejected(estimate: float, swapped: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Return by draw between which true differences the drawn one is at least as large as the observed one.

    With d taken off each image the observed difference is |estimate - d| and a draw's |swapped - d * shift|, which is
    the larger one between two values of d on either side of the estimate, as |shift| <= 1; everywhere where it is 1.

    Args:
        estimate: The observed difference.
        swapped: By draw the difference with answers swapped, `(draws,)`.
        shift: By draw the sum of the images' weights with the signs drawn, likewise.
    """
    everywhere = 1 - np.abs(shift) < TIE
    one_side = (estimate - swapped) / np.where(everywhere, 1, 1 - shift)
    other_side = (estimate + swapped) / np.where(everywhere, 1, 1 + shift)
    ends = np.stack([one_side, other_side])
    # Sums in another order differ in the last digits, and a tie counts.
    least = np.where(everywhere, -1.0, ends.min(axis=0) - TIE)
    most = np.where(everywhere, 1.0, ends.max(axis=0) + TIE)
    return least.clip(-1, 1), most.clip(-1, 1)
