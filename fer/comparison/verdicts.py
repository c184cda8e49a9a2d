"""Put into sentences what a comparison shows, and what a reader should doubt."""

import math
from collections.abc import Mapping, Sequence

from fer.comparison.grouping import Configuration
from fer.comparison.runs import RunFigures
from fer.comparison.testing import QUASI_F, PairedTest
from fer.evaluation.names import ACCURACY, CLASS_MEAN, metric_key
from fer.evaluation.statistics import LEVEL

MEASURE_NAMES = {ACCURACY: "accuracy", CLASS_MEAN: "mean of classes"}
Titles = Mapping[str, str]
"""Names of data sets in sentences, by name."""


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
    first, second = pair[0].first.name, pair[0].second.name
    images = f"{pair[0].images:,} image{'s' if pair[0].images != 1 else ''}"
    # By the adjusted p: with many pairs the p of single tests calls equal ones different.
    significant = [test for test in pair if test.adjusted_p < LEVEL]
    if not significant:
        both = "; ".join(_clause(test, 1) for test in pair)
        return f"{first} and {second} cannot be told apart on {images} of {title}: {both}; {_limit(pair[0])}."
    # The clauses are about the winner by the first significant measure.
    sign = 1 if significant[0].estimate > 0 else -1
    better, worse = (first, second) if sign > 0 else (second, first)
    start = f"{better} is better than {worse} on {title} ({images})"
    clauses = [_clause(test, sign) for test in significant]
    if len(significant) < len(pair):
        # What would have shown is said too, so that silence is not taken for equality.
        other = next(test for test in pair if test not in significant)
        return f"{start} by {clauses[0]}; not told apart by {_clause(other, sign)}; {_limit(other)}."
    if len({test.estimate > 0 for test in significant}) == 1:
        return f"{start}: {'; '.join(clauses)}."
    return f"{start} by {clauses[0]}, but worse by {clauses[1]}."


def _assumption(test: PairedTest) -> str:
    """Return what a test of one seed against several rests on; nothing of other tests."""
    # Its variance between seeds is borrowed, which no figure can confirm.
    single, several = sorted((test.first, test.second), key=lambda one: len(one.runs))
    if not test.method.startswith(QUASI_F) or len(single.runs) > 1:
        return ""
    return f" This assumes that {single.name}, of which there is one seed, varies between seeds as {several.name} does."


def _clause(test: PairedTest, sign: int) -> str:
    low, high = sorted((sign * test.low, sign * test.high))
    difference = f"{MEASURE_NAMES[test.measure]} {points(sign * test.estimate)} points [{points(low)}, {points(high)}]"
    return f"{difference}, {p_text(test.p)}, adjusted {p_text(test.adjusted_p)}"


def _limit(test: PairedTest) -> str:
    """Return the smallest difference that would show, in words."""
    if test.smallest is None:
        return "they differ on no image" if test.estimate == 0 else "how small a difference would show cannot be told"
    if math.isinf(test.smallest):
        return "no difference shows on so few"
    return f"a difference of {MEASURE_NAMES[test.measure]} under {test.smallest * 100:.1f} points does not show"


def warnings(configurations: Sequence[Configuration], titles: Titles) -> list[str]:
    """Return what should make a reader doubt a figure: contaminated test images, and sets prepared differently."""
    lines = []
    for dataset, title in titles.items():
        for one in configurations:
            if not one.reported:
                lines += _contamination_warnings(one, dataset, title)
    for dataset, title in titles.items():
        lines += _preparation_warnings(configurations, dataset, title)
    return lines


def _preparation_warnings(configurations: Sequence[Configuration], dataset: str, title: str) -> list[str]:
    letters: dict[str, list[str]] = {}
    for one in configurations:
        digests = [run.tested_digests[dataset] for run in one.runs if dataset in run.tested_digests]
        for digest in dict.fromkeys(digests):
            letters.setdefault(digest, []).append(one.letter)
    if len(letters) < 2:
        return []
    which = "; ".join(f"{', '.join(those)}: {digest[:8]}" for digest, those in letters.items())
    return [
        f"{title} was not prepared alike for all (digests {which}): other images, or other frames around the faces. "
        "Tests use the pictures both answered."
    ]


def _contamination_warnings(one: Configuration, dataset: str, title: str) -> list[str]:
    """Return what is to be known of test images seen in training, once for all runs that saw equally many."""
    kinds = ("contaminated/images", "contaminated/pretraining_images", "images", "uncontaminated/images")
    # Ten seeds that saw equally many images are one warning, not ten.
    groups: dict[tuple[object, ...], list[RunFigures]] = {}
    for run in one.runs:
        counts = [run.metrics.get(f"{dataset}/{kind}") for kind in kinds]
        reason = run.contamination.get(dataset) if counts[0] is None else None
        groups.setdefault((reason, *counts), []).append(run)
    lines = []
    for runs in groups.values():
        seeds = ", ".join(str(run.seed) for run in runs)
        name = one.name if len(one.runs) == 1 else f"{one.name}, seeds {seeds}"
        message = _contamination_message(runs, dataset, title)
        if message:
            lines.append(f"{name}: {message}")
    return lines


def _contamination_message(runs: Sequence[RunFigures], dataset: str, title: str) -> str:
    metrics = runs[0].metrics
    labelled = metrics.get(f"{dataset}/contaminated/images")
    # Nothing found and nothing looked for differ: the second is a reason for doubt.
    if labelled is None and metric_key(dataset, ACCURACY) in metrics:
        reason = runs[0].contamination.get(dataset, "it was not looked for")
        return f"whether test images of {title} were seen in training is not known ({reason})."
    unlabelled = metrics.get(f"{dataset}/contaminated/pretraining_images", 0)
    if not labelled and not unlabelled:
        return ""
    # An image may have been seen both with its label and without: then only the clean ones can be counted.
    affected = max(labelled or 0, unlabelled)
    images, clean = metrics.get(f"{dataset}/images"), metrics.get(f"{dataset}/uncontaminated/images")
    if images is not None and clean is not None:
        affected = images - clean
    of_all = f" of {images:,.0f}" if images is not None else ""
    encoder = f" ({unlabelled:,.0f} by pre-training without labels)" if unlabelled else ""
    message = f"{affected:,.0f}{of_all} test images of {title} seen in training{encoder}"
    keys = (metric_key(dataset, ACCURACY), metric_key(f"{dataset}/uncontaminated", ACCURACY))
    if any(keys[0] not in run.metrics or keys[1] not in run.metrics for run in runs):
        return f"{message}."
    with_them, without = (math.fsum(run.metrics[key] for run in runs) / len(runs) for key in keys)
    return f"{message}; accuracy {with_them:.1%} with them, {without:.1%} without."


_RUNS_METHOD = (
    "Intervals are at 95 %. Of one run: Wilson's for accuracies, with the variance over persons and Student's t where "
    "a set tells persons; bootstrapped over images for the mean of classes."
)
_TESTS_METHOD = (
    "Each interval of a difference belongs to the p beside it, which is of that test alone: it excludes 0 exactly "
    "where p < {level}. What is called better is decided by the adjusted p, corrected by Holm's method for the "
    "{count} tests of this report. Accuracies are tested by McNemar's exact test, with the wider of Bonett & "
    "Price's and Clopper & Pearson's intervals; means of classes, and everything by whole persons where a set "
    "tells them, by a randomisation test and the differences it does not reject. The smallest difference is the "
    "one that shows at 5 % in 80 of 100 such comparisons, uncorrected."
)
_SEEDS_METHOD = (
    "Where a configuration has several seeds, accuracies are averaged over them, and the test takes both the seeds and "
    "the images for samples: the variances over seeds, each configuration's own, and over images add up, less the "
    "residual that both contain (quasi-F, Winer 1971, pages 375-378; Clark 1973, J. Verbal Learning and Verbal "
    "Behavior 12:335-359; degrees of freedom after Satterthwaite). A configuration with one seed is assumed to vary "
    "between seeds as the other one does: nothing in the figures shows it."
)


def methods(tests: Sequence[PairedTest], configurations: Sequence[Configuration]) -> list[str]:
    """Return how the figures and tests of this comparison were made, with sources."""
    lines = [_RUNS_METHOD]
    # Methods that were not used are left out, or nobody reads those that were.
    if tests:
        lines.append(_TESTS_METHOD.format(level=LEVEL, count=len(tests)))
    if any(test.method.startswith(QUASI_F) for test in tests):
        lines.append(_SEEDS_METHOD)
    if any(len(one.runs) > 1 for one in configurations):
        lines.append("± is the standard deviation over seeds; intervals beside it hold for new seeds and new images.")
    lines += _pretraining_methods(configurations)
    if any(test.only_first is not None for test in tests):
        lines.append(
            "Where two single runs are compared, the sentence is about these two trained models: another seed may "
            "turn it round."
        )
    return lines


def _pretraining_methods(configurations: Sequence[Configuration]) -> list[str]:
    """Return which pre-trainings runs share, and what follows."""
    lines = []
    sharing: dict[str, list[Configuration]] = {}
    for one in configurations:
        origins = {run.pretraining for run in one.runs}
        # Runs that start from no run of ours have an empty origin.
        if len(origins) == 1 and "" not in origins:
            sharing.setdefault(origins.pop(), []).append(one)
        elif 1 < len(origins) < len(one.runs):
            lines.append(
                f"The {len(one.runs)} runs of {one.letter} start from {len(origins)} pre-trainings: runs of one are "
                "averaged before seeds are tested and intervals drawn, so that each pre-training counts once."
            )
    for origin, group in sharing.items():
        if sum(len(one.runs) for one in group) > 1:
            letters = ", ".join(one.letter for one in group)
            lines.append(
                f"All runs of {letters} start from one pre-training ({origin}): what is said of them holds for that "
                "one, and another with the same options and another seed may turn it round (`pretrain_seeds` of "
                "`experiment` repeats it)."
            )
    return lines
