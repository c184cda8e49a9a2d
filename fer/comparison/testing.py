"""Test pairs of configurations on the images they share, corrected for the number of tests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from fer.comparison.grouping import Configuration
from fer.comparison.runs import SharedImages, align
from fer.comparison.seeds import CENTRAL, POWER, SeedsTest, seeds_test
from fer.evaluation.names import ACCURACY, CLASS_MEAN
from fer.evaluation.statistics import McNemar, holm, mcnemar, randomisation_test, smallest_difference
from fer.utils.rendering import csv_text

DRAWS = 10_000
"""Draws of a randomisation test at least."""
MCNEMAR = "exact McNemar"
RANDOMISATION = "randomisation"
QUASI_F = "quasi-F"
BY_PERSON = " by person"


@dataclass(frozen=True, eq=False)
class PairedTest(SeedsTest):
    """A's figure minus B's on the images they share, with interval and two-sided p of this test alone.

    Attributes:
        first: A.
        second: B.
        dataset: The data set's name.
        measure: `accuracy` or `mean_class_accuracy`.
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


def compare_pairs(
    pairs: Sequence[tuple[Configuration, Configuration]], titles: Mapping[str, str]
) -> tuple[list[PairedTest], list[str]]:
    """Test every pair on every data set where both have predictions, by accuracy and by mean-class accuracy.

    Args:
        pairs: The pairs.
        titles: The data sets: their names in sentences, by name.

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
            if images.comparable:
                # Both measures: on unbalanced sets a model may win one by losing the other.
                tests += [_test(first, second, dataset, measure, images, draws) for measure in (ACCURACY, CLASS_MEAN)]
            else:
                refusals.append(
                    f"{first.name} and {second.name} are not tested on {title}: only {len(images.labels):,} images are "
                    f"the same, of {images.fewest:,} and {images.most:,}. Evaluate both on the same prepared set."
                )
    # The correction needs the p of all tests, so it comes last.
    adjusted = holm([test.p for test in tests])
    return [replace(test, adjusted_p=p) for test, p in zip(tests, adjusted, strict=True)], refusals


def _test(
    first: Configuration, second: Configuration, dataset: str, measure: str, images: SharedImages, draws: int
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


def _test_runs(images: SharedImages, measure: str, counts: McNemar, draws: int) -> tuple[str, SeedsTest]:
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


def _test_seeds(first: Configuration, second: Configuration, images: SharedImages, measure: str) -> SeedsTest:
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


def paired_tests_csv(tests: Sequence[PairedTest]) -> str:
    """Return tests as CSV, differences in [-1, 1]."""
    head = ["set", "first", "second", "measure", "test", "images", "difference", "low", "high", "p", "p_adjusted"]
    rows: list[list[object]] = [[*head, "only_first", "only_second", "smallest_difference"]]
    for test in tests:
        compared = [test.dataset, test.first.letter, test.second.letter, test.measure, test.method, test.images]
        difference = [test.estimate, test.low, test.high, test.p, test.adjusted_p]
        # None is an empty cell.
        rows.append([*compared, *difference, test.only_first, test.only_second, test.smallest])
    return csv_text(rows)
