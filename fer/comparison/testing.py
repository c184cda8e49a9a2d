"""Test pairs of configurations on the images they share, corrected for the number of tests, and say what came out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from fer.comparison.grouping import Configuration
from fer.comparison.runs import SharedImages, align
from fer.comparison.seeds import SeedsTest, seeds_test
from fer.evaluation.names import ACCURACY, CLASS_MEAN
from fer.evaluation.statistics import (
    CENTRAL,
    LEVEL,
    POWER,
    McNemar,
    holm,
    mcnemar,
    randomisation_test,
    smallest_difference,
)

DRAWS = 10_000
"""Draws of a randomisation test at least."""
MCNEMAR = "exact McNemar"
RANDOMISATION = "randomisation"
QUASI_F = "quasi-F"
BY_PERSON = " by person"
MEASURE_NAMES = {ACCURACY: "accuracy", CLASS_MEAN: "class mean"}
Pair = tuple[Configuration, Configuration]
Titles = Mapping[str, str]
"""Names of data sets in sentences, by name."""


@dataclass(frozen=True, eq=False)
class PairedTest(SeedsTest):
    """A's figure minus B's on the images they share, with interval and two-sided p of this test alone.

    Attributes:
        first: A.
        second: B.
        dataset: The data set's name.
        measure: `accuracy` or `class_mean`.
        method: The test's name.
        images: How many they share.
        only_first: Images on which A alone is right; None where seeds are several.
        only_second: The same of B.
        adjusted_p: p after Holm's correction for all tests of the comparison; `p` and `smallest` are without it.
    """

    first: Configuration
    second: Configuration
    dataset: str
    measure: str
    method: str
    images: int
    only_first: int | None
    only_second: int | None
    adjusted_p: float


def compare_pairs(pairs: Sequence[Pair], titles: Titles) -> tuple[list[PairedTest], list[str]]:
    """Test every pair on every data set where both have predictions, by accuracy and by mean-class accuracy.

    Returns:
        The tests, and a sentence for every pair that shares too few images of a data set to be tested on it.
    """
    tests: list[PairedTest] = []
    refusals: list[str] = []
    # A drawn p is never below 1 / draws: enough of them for it to stay small when multiplied by the number of tests.
    draws = max(DRAWS, 100 * 2 * len(pairs) * len(titles))
    for dataset, title in titles.items():
        for first, second in pairs:
            ours, theirs = first.predictions(dataset), second.predictions(dataset)
            if not ours or not theirs:
                continue
            images = align(ours, theirs)
            if not images.comparable:
                refusals.append(
                    f"{first.title} and {second.title} are not tested on {title}: only {len(images.labels):,} images "
                    f"are the same, of {images.fewest:,} and {images.most:,}. Evaluate both on the same prepared set."
                )
                continue
            # Both measures: on unbalanced sets a model may win one by losing the other.
            for measure in MEASURE_NAMES:
                tests.append(_test(first, second, dataset, measure, images, draws))
    # The correction needs the p of all tests, so it comes last.
    adjusted = holm([test.p for test in tests])
    return [replace(test, adjusted_p=p) for test, p in zip(tests, adjusted, strict=True)], refusals


def _test(
    first: Configuration,
    second: Configuration,
    dataset: str,
    measure: str,
    images: SharedImages,
    draws: int,
) -> PairedTest:
    # Single runs are compared image by image; where seeds are several, they vary too.
    counts: McNemar | None = None
    if len(images.first) == len(images.second) == 1:
        counts = mcnemar(images.first[0] == images.labels, images.second[0] == images.labels)
        method, difference = _test_runs(images, measure, counts, draws)
    else:
        method, difference = QUASI_F, _test_seeds(first, second, images, measure)
    return PairedTest(
        **vars(difference),
        first=first,
        second=second,
        dataset=dataset,
        measure=measure,
        method=method + BY_PERSON if images.persons else method,
        images=len(images.labels),
        only_first=counts.only_a if counts else None,
        only_second=counts.only_b if counts else None,
        adjusted_p=difference.p,
    )


def _test_runs(
    images: SharedImages,
    measure: str,
    counts: McNemar,
    draws: int,
) -> tuple[str, SeedsTest]:
    """Test one run against one run; return the test's name and what it gives."""
    labels, ours, theirs = images.labels, images.first[0], images.second[0]
    if measure == ACCURACY and not images.persons:
        estimate = (counts.only_a - counts.only_b) / len(labels)
        disagreement = (counts.only_a + counts.only_b) / len(labels)
        smallest = smallest_difference(len(labels), disagreement) if disagreement else None
        return MCNEMAR, SeedsTest(estimate, counts.low, counts.high, counts.p, smallest)
    # McNemar's test takes the images for independent, which pictures of one person are not.
    if measure == ACCURACY:
        # With one class for all images the mean over classes is the accuracy.
        ours, theirs = (ours != labels).astype(np.int64), (theirs != labels).astype(np.int64)
        labels = np.zeros_like(labels)
    drawn = randomisation_test(labels, ours, theirs, images.persons, draws)
    smallest = _smallest_from_interval(drawn.low, drawn.high)
    return RANDOMISATION, SeedsTest(drawn.estimate, drawn.low, drawn.high, drawn.p, smallest)


def _test_seeds(
    first: Configuration,
    second: Configuration,
    images: SharedImages,
    measure: str,
) -> SeedsTest:
    """Test configurations of which one or both have several seeds."""
    ours = first.by_pretraining((images.first == images.labels).astype(np.float64))
    theirs = second.by_pretraining((images.second == images.labels).astype(np.float64))
    labels = images.labels if measure == CLASS_MEAN else np.zeros_like(images.labels)
    return seeds_test(ours, theirs, labels, images.persons)


def _smallest_from_interval(low: float, high: float) -> float | None:
    """Return the smallest difference that shows at 5 % with 80 % power, from the interval of the observed one."""
    if (low, high) == (-1.0, 1.0):
        return math.inf
    # A randomisation test has no formula for its power: its interval is taken for a normal one.
    central = NormalDist().inv_cdf(CENTRAL)
    standard_error = (high - low) / (2 * central)
    return standard_error * (central + NormalDist().inv_cdf(POWER)) or None


def p_text(p: float) -> str:
    """Return a p-value as it is read aloud, such as `p = 0.003` or `p < 0.001`."""
    if p < 0.001:
        return "p < 0.001"
    # The third digit matters near the level only.
    return f"p = {p:.3f}" if p < 0.1 else f"p = {min(p, 1):.2f}"


def points(difference: float) -> str:
    """Return a difference in [-1, 1] in points with its sign, such as `+5.3`."""
    # What rounds to zero has no sign.
    return f"{difference * 100:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def verdicts(tests: Sequence[PairedTest], titles: Titles) -> dict[str, list[str]]:
    """Return by data set a sentence for every pair: which is better, or that they cannot be told apart."""
    # Tests are by measure; a reader wants one sentence on both.
    by_pair: dict[tuple[str, str, str], list[PairedTest]] = {}
    for test in tests:
        by_pair.setdefault((test.dataset, test.first.letter, test.second.letter), []).append(test)
    sentences: dict[str, list[str]] = {}
    for (dataset, _, _), pair in by_pair.items():
        sentence = _verdict(pair, titles[dataset]) + _assumption(pair[0])
        sentences.setdefault(dataset, []).append(sentence)
    return sentences


def _verdict(pair: Sequence[PairedTest], title: str) -> str:
    """Return the sentence on a pair, from its tests by both measures."""
    first, second = pair[0].first.title, pair[0].second.title
    images = f"{pair[0].images:,} image{'s' if pair[0].images != 1 else ''}"
    # By the adjusted p: with many pairs the p of single tests calls equal ones different.
    significant = [test for test in pair if test.adjusted_p < LEVEL]
    if not significant:
        both = "; ".join(_clause(test, 1) for test in pair)
        return f"{first} and {second} cannot be told apart on {images} of {title}: {both}; {_limit(pair[0])}."
    # The clauses are about the winner by the first significant measure.
    sign = 1 if significant[0].estimate > 0 else -1
    better, worse = (first, second) if sign > 0 else (second, first)
    clauses = []
    # What makes it better comes first.
    others = [test for test in pair if test not in significant]
    for test in [*significant, *others]:
        if test in others:
            # Said with what would have shown, so that silence is not taken for equality.
            clauses.append(f"not told apart by {_clause(test, sign)}, where {_limit(test)}")
        elif test.estimate * sign < 0:
            clauses.append(f"but worse by {_clause(test, sign)}")
        else:
            clauses.append(_clause(test, sign))
    return f"{better} is better than {worse} on {title} ({images}): {'; '.join(clauses)}."


def _assumption(test: PairedTest) -> str:
    """Return what a test of one seed against several rests on; nothing of other tests."""
    # Its variance between seeds is borrowed, which no figure can confirm.
    single, several = sorted((test.first, test.second), key=lambda one: len(one.runs))
    if not test.method.startswith(QUASI_F) or len(single.runs) > 1:
        return ""
    return (
        f" This assumes that {single.title}, of which there is one seed, varies between seeds as {several.title} does."
    )


def _clause(test: PairedTest, sign: int) -> str:
    low, high = sorted((sign * test.low, sign * test.high))
    interval = f"[{points(low)}, {points(high)}]"
    difference = f"{MEASURE_NAMES[test.measure]} {points(sign * test.estimate)} points {interval}"
    return f"{difference}, {p_text(test.p)}, adjusted {p_text(test.adjusted_p)}"


def _limit(test: PairedTest) -> str:
    """Return the smallest difference that would show, in words."""
    if test.smallest is None and test.estimate == 0:
        return "they differ on no image"
    # Nothing differs by more than all images.
    if test.smallest is None or test.smallest > 1:
        return "no difference shows on so few"
    return f"a difference of {MEASURE_NAMES[test.measure]} under {test.smallest * 100:.1f} points does not show"
