"""Say what a reader of a comparison should doubt, and how its figures were made."""

import math
from collections.abc import Sequence

from fer.comparison.grouping import Configuration
from fer.comparison.runs import RunFigures, one_line
from fer.comparison.testing import QUASI_F, PairedTest, Titles
from fer.evaluation.names import (
    ACCURACY,
    CONTAMINATED_IMAGES,
    IMAGES,
    PRETRAINING_CONTAMINATED_IMAGES,
    UNCONTAMINATED,
    metric_key,
)
from fer.evaluation.statistics import LEVEL
from fer.utils.rendering import render


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


def methods(tests: Sequence[PairedTest], configurations: Sequence[Configuration]) -> list[str]:
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
