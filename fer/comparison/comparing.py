"""Compare runs: group them, tabulate their figures, test them against each other, and say what is to be doubted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from fer.comparison.grouping import Configuration, find_baseline, group_runs
from fer.comparison.runs import RunFigures, one_line
from fer.comparison.table import Reported, Row, agreement_with_reported, table_rows
from fer.comparison.testing import (
    QUASI_F,
    Pair,
    PairedTest,
    Titles,
    compare_pairs,
    verdicts,
)
from fer.errors import ConfigError, DataError
from fer.evaluation.names import (
    ACCURACY,
    CONTAMINATED_IMAGES,
    IMAGES,
    PRETRAINING_CONTAMINATED_IMAGES,
    UNCONTAMINATED,
    UNIFORM_PRIOR,
    metric_key,
)
from fer.evaluation.statistics import LEVEL
from fer.utils.rendering import render

MAX_ALL_PAIRS = 10
"""Configurations that are all compared with each other, at most."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs compared.

    Attributes:
        configurations: What was compared.
        baseline: The one that all others were tested against; None where all pairs were.
        titles: The data sets with figures of two configurations or more: their names in sentences, by name.
        rows: The table: by data set, below it its parts, and in each by configuration.
        tests: Paired tests.
        verdicts: What the tests say, by data set a sentence for each pair.
        warnings: What should make a reader doubt a figure, and what could not be tested.
        notes: How figures compare with reported ones, and remarks on the grouping.
        methods: How all this was computed.
    """

    configurations: tuple[Configuration, ...]
    baseline: Configuration | None
    titles: dict[str, str]
    rows: tuple[Row, ...]
    tests: tuple[PairedTest, ...]
    verdicts: dict[str, list[str]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    methods: tuple[str, ...]


def compare(
    runs: Sequence[RunFigures],
    datasets: Mapping[str, tuple[str, Sequence[str]]],
    reported: Reported,
    baseline: str = "",
) -> Comparison:
    """Compare runs on the test sets they share.

    Args:
        runs: Two or more, each once.
        datasets: By data set: its name in sentences, and the names of its parts by camera angle.
        reported: The 2021 table.
        baseline: The name, letter or run of the configuration that all others are tested against; empty: all pairs.

    Raises:
        ConfigError: There are too few or too many runs, or the baseline is none of them.
        DataError: No two of them have predictions on the same test set.
    """
    if len(runs) < 2:
        these = f"only {runs[0].label} fits" if runs else "none fits"
        raise ConfigError(f"a comparison takes at least two runs with test figures, and {these}: name more of them")
    configurations, remarks = group_runs(runs)
    reference = find_baseline(configurations, baseline) if baseline else None
    titles = _shared_datasets(configurations, {name: title for name, (title, _) in datasets.items()})
    rows: list[Row] = []
    for dataset in titles:
        # Parts are shown and not tested: more tests would make each correction harsher.
        parts = (UNIFORM_PRIOR, *datasets[dataset][1])
        for subset in (dataset, *(f"{dataset}/{part}" for part in parts)):
            rows += table_rows(configurations, subset, reported)
    tests, refusals = compare_pairs(_pairs(configurations, reference), titles)
    return Comparison(
        configurations=tuple(configurations),
        baseline=reference,
        titles=titles,
        rows=tuple(rows),
        tests=tuple(tests),
        verdicts=verdicts(tests, titles),
        warnings=(*_warnings(configurations, titles), *refusals),
        notes=(*agreement_with_reported(rows, titles), *remarks),
        methods=tuple(_methods(tests, configurations)),
    )


def _shared_datasets(
    configurations: Sequence[Configuration],
    titles: Mapping[str, str],
) -> dict[str, str]:
    """Return the data sets, with titles, that two configurations were tested on; or that the only one was.

    Raises:
        DataError: There is none.
    """
    tested = {}
    for one in configurations:
        tested[one.name] = [dataset for dataset in titles if one.values(metric_key(dataset, ACCURACY))]
    # A single configuration shares nothing, and its table is shown nevertheless.
    enough = min(2, len(configurations))
    shared = {}
    for dataset, title in titles.items():
        if sum(dataset in datasets for datasets in tested.values()) >= enough:
            shared[dataset] = title
    if not shared:
        each = "; ".join(f"{name}: {', '.join(datasets) or 'none'}" for name, datasets in tested.items())
        raise DataError(f"the runs share no test set ({each}): evaluate their models on one set")
    return shared


def _pairs(configurations: Sequence[Configuration], baseline: Configuration | None) -> list[Pair]:
    """Return what is tested against each other: every other configuration and the baseline, or all pairs."""
    if baseline:
        return [(other, baseline) for other in configurations if other is not baseline]
    pairs = list(combinations(configurations, 2))
    # So many tests would leave hardly any difference significant after correction.
    if len(configurations) > MAX_ALL_PAIRS:
        raise ConfigError(
            f"{len(configurations)} configurations make {len(pairs)} pairs: name the one to compare the others with as "
            f"baseline=..., or at most {MAX_ALL_PAIRS}"
        )
    return pairs


def _warnings(configurations: Sequence[Configuration], titles: Titles) -> list[str]:
    """Return what should make a reader doubt a figure: contaminated test images, and sets prepared differently."""
    lines = []
    for dataset, title in titles.items():
        for one in configurations:
            if not one.reported:
                lines += _contamination_warnings(one, dataset, title)
    for dataset, title in titles.items():
        lines += _preparation_warnings(configurations, dataset, title)
    return lines


def _preparation_warnings(
    configurations: Sequence[Configuration],
    dataset: str,
    title: str,
) -> list[str]:
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
    # Ten seeds that saw equally many images are one warning, not ten.
    groups: dict[str, list[RunFigures]] = {}
    for run in one.runs:
        message = _contamination_message(run, dataset, title)
        if message:
            groups.setdefault(message, []).append(run)
    lines = []
    for message, runs in groups.items():
        seeds = ", ".join(str(run.seed) for run in runs)
        name = one.title if len(one.runs) == 1 else f"{one.title}, seeds {seeds}"
        lines.append(f"{name}: {message}{_accuracies(runs, dataset)}.")
    return lines


def _contamination_message(run: RunFigures, dataset: str, title: str) -> str:
    """Return how many test images a run's model has seen, or that it is not known; nothing where it saw none."""
    metrics = run.metrics
    # Nothing found and nothing looked for differ: the second is a reason for doubt.
    if f"{dataset}/{CONTAMINATED_IMAGES}" not in metrics:
        if metric_key(dataset, ACCURACY) not in metrics:
            return ""
        reason = one_line(run.contamination.get(dataset, "it was not looked for"))
        return f"whether test images of {title} were seen in training is not known ({reason})"
    labelled = metrics[f"{dataset}/{CONTAMINATED_IMAGES}"]
    unlabelled = metrics.get(f"{dataset}/{PRETRAINING_CONTAMINATED_IMAGES}", 0)
    if not labelled and not unlabelled:
        return ""
    # An image may have been seen both with its label and without: only the clean ones can be counted.
    images = metrics.get(metric_key(dataset, IMAGES), 0)
    clean = metrics.get(metric_key(f"{dataset}/{UNCONTAMINATED}", IMAGES), 0)
    encoder = f" ({unlabelled:,.0f} by pre-training without labels)" if unlabelled else ""
    return f"{images - clean:,.0f} of {images:,.0f} test images of {title} seen in training{encoder}"


def _accuracies(runs: Sequence[RunFigures], dataset: str) -> str:
    """Return the runs' mean accuracies with the seen images and without; nothing where one lacks them."""
    means = []
    for subset in (dataset, f"{dataset}/{UNCONTAMINATED}"):
        values = [run.metrics.get(metric_key(subset, ACCURACY), math.nan) for run in runs]
        means.append(math.fsum(values) / len(runs))
    with_them, without = means
    return "" if math.isnan(without) else f"; accuracy {with_them:.1%} with them, {without:.1%} without"


def _methods(tests: Sequence[PairedTest], configurations: Sequence[Configuration]) -> list[str]:
    """Return how the figures and tests of this comparison were made, with sources, a paragraph a line."""
    averaged = []
    sharing: dict[str, list[str]] = {}
    for one in configurations:
        pretrainings = {run.pretraining for run in one.runs}
        if len(pretrainings) == 1:
            sharing.setdefault(one_line(pretrainings.pop()), []).append(one.letter)
        elif len(pretrainings) < len(one.runs):
            averaged.append((one.letter, len(one.runs), len(pretrainings)))
    # Other initial weights than a run's are no pre-training of ours, which another seed could change.
    sharing.pop("", None)
    single = {one.letter for one in configurations if len(one.runs) == 1}
    # Methods that were not used are left out, or nobody reads those that were.
    text = render(
        "comparison_methods.txt",
        level=LEVEL,
        tests=len(tests),
        quasi_f=any(test.method.startswith(QUASI_F) for test in tests),
        several_seeds=any(len(one.runs) > 1 for one in configurations),
        single_runs=any(test.only_first is not None for test in tests),
        averaged=averaged,
        # A single run is about its own pre-training, which needs no word.
        sharing={key: letters for key, letters in sharing.items() if len(letters) > 1 or letters[0] not in single},
    )
    return text.splitlines()
