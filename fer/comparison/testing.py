"""Paired tests of configurations on the images that both answered, corrected for their number."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from fer.comparison.configurations import Configuration
from fer.comparison.predictions import Joined, join
from fer.comparison.seeds import seeds_test
from fer.comparison.tables import ACCURACY, CLASS_MEAN
from fer.evaluation.statistics import LEVEL, Difference, holm, mcnemar, randomisation_test, smallest_difference

DRAWS = 10_000
MCNEMAR, RANDOMISATION, QUASI_F = "exact McNemar", "randomisation", "quasi-F"
BY_PERSON = " by person"


@dataclass(frozen=True, eq=False)
class PairedTest:
    """Whether two configurations differ in one measure on one set.

    Attributes:
        first: A.
        second: B.
        dataset: The set's name.
        measure: `accuracy` or `mean_class_accuracy`.
        method: The test's name.
        images: How many both answered.
        estimate: A's figure minus B's, on these images.
        low: Lower end of its 95 % interval, of this test alone: it excludes 0 exactly where p is below 0.05.
        high: Upper end.
        p: Two-sided, of this test alone.
        adjusted: p after Holm's correction for all tests of the comparison.
        only_first: Images that A alone answers rightly; None where seeds are several.
        only_second: The same of B.
        smallest: The smallest true difference that would show at 5 % in 80 of 100 such comparisons, uncorrected;
            infinite where none would, None where it cannot be told.
    """

    first: Configuration
    second: Configuration
    dataset: str
    measure: str
    method: str
    images: int
    estimate: float
    low: float
    high: float
    p: float
    adjusted: float
    only_first: int | None
    only_second: int | None
    smallest: float | None


@dataclass(frozen=True, eq=False)
class Untested:
    """Two configurations that cannot be tested against each other on a set, and why."""

    first: Configuration
    second: Configuration
    dataset: str
    reason: str


def paired_tests(
    pairs: Sequence[tuple[Configuration, Configuration]], datasets: Sequence[str]
) -> tuple[list[PairedTest], list[Untested]]:
    """Test every pair on every set where both have answers, by accuracy and by mean-class accuracy."""
    tests: list[PairedTest] = []
    untested: list[Untested] = []
    # A drawn p is never below 1 / draws: enough of them for it to stay small when multiplied by the number of tests.
    draws = max(DRAWS, 100 * 2 * len(pairs) * len(datasets))
    for dataset in datasets:
        for first, second in pairs:
            ours, theirs = first.answers(dataset), second.answers(dataset)
            if not ours or not theirs:
                continue
            joined = join(ours, theirs)
            if not joined.alike:
                reason = f"only {len(joined.labels):,} images are the same, of {joined.fewest:,} and {joined.most:,}"
                untested.append(Untested(first, second, dataset, reason))
                continue
            for measure in (ACCURACY, CLASS_MEAN):
                if len(ours) == len(theirs) == 1:
                    tests.append(_runs(first, second, dataset, measure, joined, draws))
                else:
                    tests.append(_seeds(first, second, dataset, measure, joined))
    adjusted = holm([test.p for test in tests])
    return [replace(test, adjusted=p) for test, p in zip(tests, adjusted, strict=True)], untested


def _runs(
    first: Configuration, second: Configuration, dataset: str, measure: str, joined: Joined, draws: int
) -> PairedTest:
    """Test one run against one run."""
    labels, persons, (ours,), (theirs,) = joined.labels, joined.persons, joined.first, joined.second
    counts = mcnemar(ours == labels, theirs == labels)
    if measure == ACCURACY and not persons:
        # McNemar's test takes the images for independent, which pictures of one person are not.
        disagreement = (counts.only_a + counts.only_b) / len(labels)
        found = Difference((counts.only_a - counts.only_b) / len(labels), counts.low, counts.high, counts.p)
        method, smallest = MCNEMAR, smallest_difference(len(labels), disagreement) if disagreement else None
    else:
        if measure == ACCURACY:
            # With one class for all images the mean over classes is the accuracy.
            ours, theirs = (ours != labels).astype(np.int64), (theirs != labels).astype(np.int64)
            labels = np.zeros_like(labels)
        found = randomisation_test(labels, ours, theirs, persons, draws)
        method, smallest = RANDOMISATION + (BY_PERSON if persons else ""), _from_interval(found.low, found.high)
    return PairedTest(
        first, second, dataset, measure, method, len(labels), found.estimate, found.low, found.high, found.p, found.p,
        counts.only_a, counts.only_b, smallest,
    )  # fmt: skip


def _seeds(first: Configuration, second: Configuration, dataset: str, measure: str, joined: Joined) -> PairedTest:
    """Test configurations of which one or both have several seeds."""
    labels = joined.labels
    ours = first.by_pretraining((joined.first == labels).astype(np.float64))
    theirs = second.by_pretraining((joined.second == labels).astype(np.float64))
    classes = labels if measure == CLASS_MEAN else np.zeros_like(labels)
    found = seeds_test(ours, theirs, classes, joined.persons)
    method = QUASI_F + (BY_PERSON if joined.persons else "")
    return PairedTest(
        first, second, dataset, measure, method, len(labels), found.estimate, found.low, found.high, found.p, found.p,
        None, None, found.smallest,
    )  # fmt: skip


_REACH = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(0.8)
"""Standard errors that a difference must measure to show at 5 % in 80 of 100 comparisons."""


def _from_interval(low: float, high: float) -> float | None:
    """Return the smallest difference that shows, from the interval of the observed one."""
    if (low, high) == (-1.0, 1.0):
        return float("inf")
    return (high - low) / (2 * NormalDist().inv_cdf(1 - LEVEL / 2)) * _REACH or None
