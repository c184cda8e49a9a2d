"""What a comparison found, in sentences."""

import math
from collections.abc import Mapping, Sequence

from fer.comparison.configurations import Configuration, RunFigures
from fer.comparison.tables import ACCURACY, CLASS_MEAN, Row, metric
from fer.comparison.testing import QUASI_F, PairedTest, Untested
from fer.evaluation.statistics import LEVEL

MEASURE_NAMES = {ACCURACY: "accuracy", CLASS_MEAN: "mean of classes"}
Titles = Mapping[str, str]
"""Names of data sets in sentences."""


def p_words(p: float) -> str:
    """Return a p-value as it is read aloud, such as `p = 0.003` or `p < 0.001`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {min(p, 1):.2f}"


def points(share: float) -> str:
    """Return a difference of shares in points with its sign, such as `+5.3`."""
    return f"{share * 100:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def verdicts(tests: Sequence[PairedTest], titles: Titles) -> dict[str, list[str]]:
    """Return by set a sentence for every pair: which is better, or that they cannot be told apart."""
    pairs: dict[tuple[str, str, str], list[PairedTest]] = {}
    for test in tests:
        pairs.setdefault((test.dataset, test.first.letter, test.second.letter), []).append(test)
    said: dict[str, list[str]] = {}
    for (dataset, _, _), pair in pairs.items():
        said.setdefault(dataset, []).append(_verdict(pair, titles[dataset]))
    return said


def _verdict(pair: Sequence[PairedTest], title: str) -> str:
    first, second, images = pair[0].first.name, pair[0].second.name, f"{pair[0].images:,} image"
    images += "s" if pair[0].images != 1 else ""
    shown = [test for test in pair if test.adjusted < LEVEL]
    if not shown:
        clauses = "; ".join(_clause(test, 1) for test in pair)
        said = f"{first} and {second} cannot be told apart on {images} of {title}: {clauses}; {_limit(pair[0])}."
        return said + _assumption(pair[0])
    sign = 1 if shown[0].estimate > 0 else -1
    winner, loser = (first, second) if sign > 0 else (second, first)
    start = f"{winner} is better than {loser} on {title} ({images})"
    if len(shown) < len(pair):
        other = next(test for test in pair if test not in shown)
        said = f"{start} by {_clause(shown[0], sign)}; not told apart by {_clause(other, sign)}; {_limit(other)}."
    elif len({test.estimate > 0 for test in shown}) == 1:
        said = f"{start}: {'; '.join(_clause(test, sign) for test in pair)}."
    else:
        said = f"{start} by {_clause(shown[0], sign)}, but worse by {_clause(shown[1], sign)}."
    return said + _assumption(pair[0])


def _assumption(test: PairedTest) -> str:
    """Return what a test of one seed against several rests on; nothing of other tests."""
    sides = sorted((test.first, test.second), key=lambda one: len(one.runs))
    if not test.method.startswith(QUASI_F) or len(sides[0].runs) > 1:
        return ""
    single, several = (one.name for one in sides)
    return f" This assumes that {single}, of which there is one seed, varies between seeds as {several} does."


def _clause(test: PairedTest, sign: int) -> str:
    low, high = sorted((sign * test.low, sign * test.high))
    interval = f"[{points(low)}, {points(high)}]"
    difference = f"{MEASURE_NAMES[test.measure]} {points(sign * test.estimate)} points {interval}"
    return f"{difference}, {p_words(test.p)}, adjusted {p_words(test.adjusted)}"


def _limit(test: PairedTest) -> str:
    if test.smallest is None:
        return "they differ on no image" if test.estimate == 0 else "how small a difference would show cannot be told"
    if math.isinf(test.smallest):
        return "no difference shows on so few"
    return f"a difference of {MEASURE_NAMES[test.measure]} under {test.smallest * 100:.1f} points does not show"


def refusals(untested: Sequence[Untested], titles: Titles) -> list[str]:
    """Return a sentence for every pair that could not be tested on a set."""
    return [
        f"{item.first.name} and {item.second.name} are not tested on {titles[item.dataset]}: {item.reason}. "
        "Evaluate both on the same prepared set."
        for item in untested
    ]


def warnings(found: Sequence[Configuration], datasets: Sequence[str], titles: Titles) -> list[str]:
    """Return what should make a reader doubt a figure: contaminated test images, and sets prepared differently."""
    lines = [
        line
        for dataset in datasets
        for one in found
        for name, runs in ([] if one.reported else _alike(one, dataset))
        if (line := _contamination(name, runs, dataset, titles[dataset]))
    ]
    for dataset in datasets:
        digests: dict[str, list[str]] = {}
        for one in found:
            tested = [run.tested_digests[dataset] for run in one.runs if dataset in run.tested_digests]
            for digest in dict.fromkeys(tested):
                digests.setdefault(digest, []).append(one.letter)
        if len(digests) > 1:
            which = "; ".join(f"{', '.join(letters)}: {digest[:8]}" for digest, letters in digests.items())
            lines.append(
                f"{titles[dataset]} was not prepared alike for all (digests {which}): other images, or other frames "
                "around the faces. Tests use the pictures both answered."
            )
    return lines


def _alike(one: Configuration, dataset: str) -> list[tuple[str, list[RunFigures]]]:
    """Return a configuration's runs in groups that say the same of a set's images, each with a name."""
    keys = [f"{dataset}/contaminated/images", f"{dataset}/contaminated/pretraining_images", f"{dataset}/images",
            f"{dataset}/uncontaminated/images"]  # fmt: skip
    groups: dict[tuple[object, ...], list[RunFigures]] = {}
    for run in one.runs:
        said = run.contamination.get(dataset) if keys[0] not in run.metrics else None
        groups.setdefault((said, *(run.metrics.get(key) for key in keys)), []).append(run)
    if len(one.runs) == 1:
        return [(one.name, list(one.runs))]
    seeds = [", ".join(str(run.seed) for run in runs) for runs in groups.values()]
    return [(f"{one.name}, seeds {listed}", runs) for listed, runs in zip(seeds, groups.values(), strict=True)]


def _contamination(name: str, runs: Sequence[RunFigures], dataset: str, title: str) -> str:
    metrics = runs[0].metrics
    if metric(dataset, ACCURACY) in metrics and f"{dataset}/contaminated/images" not in metrics:
        said = runs[0].contamination.get(dataset, "it was not looked for")
        return f"{name}: whether test images of {title} were seen in training is not known ({said})."
    labelled, plain = (int(metrics.get(f"{dataset}/contaminated/{key}", 0)) for key in ("images", "pretraining_images"))
    if not labelled and not plain:
        return ""
    images, left = metrics.get(f"{dataset}/images"), metrics.get(f"{dataset}/uncontaminated/images")
    # An image may have been seen both with its label and without.
    affected = max(labelled, plain) if images is None or left is None else int(images - left)
    of = f" of {int(images):,}" if images is not None else ""
    encoder = f" ({plain:,} by pre-training without labels)" if plain else ""
    line = f"{name}: {affected:,}{of} test images of {title} seen in training{encoder}"
    whole, clean = metric(dataset, ACCURACY), f"{dataset}/uncontaminated/{ACCURACY}"
    if not all(key in run.metrics for run in runs for key in (whole, clean)):
        return line + "."
    with_them, without = (math.fsum(run.metrics[key] for run in runs) / len(runs) for key in (whole, clean))
    return f"{line}; accuracy {with_them:.1%} with them, {without:.1%} without."


def against_reported(rows: Sequence[Row], titles: Titles) -> list[str]:
    """Return a sentence for every accuracy that the 2021 table reports too: whether ours agrees with it."""
    lines = []
    for row in rows:
        cell = row.cells[ACCURACY]
        if cell.value is None or cell.reported is None or row.place not in titles:
            continue
        line = f"{row.configuration.name} on {titles[row.place]}: {cell.value:.1%}, reported {cell.reported:.1%}"
        if cell.interval:
            low, high = cell.interval
            inside = "inside" if low <= cell.reported <= high else "outside"
            line += f", {inside} our 95 % interval [{low * 100:.1f}, {high * 100:.1f}]"
        lines.append(f"{line}.")
    return [*lines, "What was reported in 2021 is the epoch that was best on test."] if lines else []


def methods(tests: Sequence[PairedTest], found: Sequence[Configuration]) -> list[str]:
    """Return how the figures and tests of this comparison were made, with sources."""
    lines = [
        "Intervals are at 95 %. Of one run: Wilson's for accuracies, with the variance over persons and Student's t "
        "where a set tells persons; bootstrapped over images for the mean of classes."
    ]
    if tests:
        lines.append(_tests_method(len(tests)))
    if any(test.method.startswith(QUASI_F) for test in tests):
        lines.append(_SEEDS_METHOD)
    if any(len(one.runs) > 1 for one in found):
        lines.append("± is the standard deviation over seeds; intervals beside it hold for new seeds and new images.")
    lines += _pretraining_methods(found)
    if any(test.only_first is not None for test in tests):
        lines.append(
            "Where two single runs are compared, the sentence is about these two trained models: another seed may "
            "turn it round."
        )
    return lines


def _pretraining_methods(found: Sequence[Configuration]) -> list[str]:
    """Return which pre-trainings runs share, and what follows."""
    lines = []
    wholly: dict[str, list[Configuration]] = {}
    for one in found:
        origins = {run.pretraining for run in one.runs}
        if len(origins) == 1 and "" not in origins:
            wholly.setdefault(origins.pop(), []).append(one)
        elif 1 < len(origins) < len(one.runs):
            lines.append(
                f"The {len(one.runs)} runs of {one.letter} start from {len(origins)} pre-trainings: runs of one are "
                "averaged before seeds are tested and intervals drawn, so that each pre-training counts once."
            )
    for origin, those in wholly.items():
        if sum(len(one.runs) for one in those) > 1:
            lines.append(
                f"All runs of {', '.join(one.letter for one in those)} start from one pre-training ({origin}): what is "
                "said of them holds for that one, and another with the same options and another seed may turn it round "
                "(`pretrain_seeds` of `experiment` repeats it)."
            )
    return lines


def _tests_method(count: int) -> str:
    return (
        "Each interval of a difference belongs to the p beside it, which is of that test alone: it excludes 0 exactly "
        f"where p < {LEVEL}. What is called better is decided by the adjusted p, corrected by Holm's method for the "
        f"{count} tests of this report. Accuracies are tested by McNemar's exact test, with the wider of Bonett & "
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
