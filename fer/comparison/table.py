"""Tabulate the figures of configurations: means over seeds, their intervals, and what was reported of the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer.comparison.grouping import Configuration
from fer.comparison.runs import MEASURES, SharedImages, align
from fer.comparison.seeds import mean_interval
from fer.comparison.testing import PairedTest
from fer.evaluation.metrics import Interval
from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    HIGH,
    IMAGES,
    LOW,
    SUPPORT,
    metric_key,
)
from fer.evaluation.report import percent_interval
from fer.evaluation.statistics import seeds_summary
from fer.expressions import EXPRESSIONS
from fer.utils.rendering import csv_text, no_formula

Reported = Mapping[str, Mapping[str, Mapping[str, float]]]
"""What was reported: by row of the 2021 table, data set and metric, such as `fear`."""


@dataclass(frozen=True)
class Measurement:
    """One figure of a configuration.

    Attributes:
        value: Mean over seeds; None where no run has the figure, as for a class without samples.
        deviation: Standard deviation over seeds; None for one run.
        interval: At 95 %; None where it is unknown.
        reported: What the 2021 table says of the same; None where it says nothing.
    """

    value: float | None
    deviation: float | None = None
    interval: Interval | None = None
    reported: float | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """A configuration's figures on one set of images.

    Attributes:
        configuration: The configuration.
        subset: The data set, or a part of it, as metrics name it: `kdef`, `kdef/frontal`.
        images: How many images it was tested on, as text; several numbers where its runs differ.
        support: Images by expression; empty if unknown.
        measurements: By measure.
    """

    configuration: Configuration
    subset: str
    images: str
    support: dict[str, int]
    measurements: dict[str, Measurement]


def table_rows(configurations: Sequence[Configuration], subset: str, reported: Reported) -> list[Row]:
    """Return the rows of the configurations that were tested on a data set or a part of it."""
    rows = []
    for one in configurations:
        if one.values(metric_key(subset, ACCURACY)):
            # A row of the 2021 table is not compared with itself.
            known = {} if one.reported else reported.get(one.runs[0].reproduces, {})
            rows.append(_row(one, subset, known.get(subset, {})))
    return rows


def _row(one: Configuration, subset: str, reported: Mapping[str, float]) -> Row:
    predictions = one.predictions(subset)
    # Runs tested on different images have no common interval.
    same_images = len({frozenset(run.keys) for run in predictions}) == 1
    images = align(predictions, []) if same_images else None
    measurements = {}
    for measure in MEASURES:
        known = reported.get(measure)
        values = one.values(metric_key(subset, measure))
        if not values:
            measurements[measure] = Measurement(None, reported=known)
            continue
        mean, deviation = seeds_summary(values)
        # Pre-trainings can be averaged only where every run has the figure.
        if len(values) == len(one.runs):
            mean = float(one.by_pretraining(np.array(values)).mean())
        interval = _interval(one, subset, measure, images)
        measurements[measure] = Measurement(mean, deviation, interval, known)
    counts = dict.fromkeys(f"{count:.0f}" for count in one.values(metric_key(subset, IMAGES)))
    support = {}
    for name in EXPRESSIONS:
        number = one.runs[0].metrics.get(f"{subset}/{SUPPORT}/{name}")
        if number is not None:
            support[name] = int(number)
    return Row(one, subset, " or ".join(counts) or "-", support, measurements)


def _interval(
    one: Configuration,
    subset: str,
    measure: str,
    images: SharedImages | None,
) -> Interval | None:
    """Return a single run's interval as it was logged, or that of the mean over seeds, for new seeds and new images."""
    if len(one.runs) == 1:
        metrics = one.runs[0].metrics
        low = metrics.get(metric_key(subset, measure, LOW))
        high = metrics.get(metric_key(subset, measure, HIGH))
        return (low, high) if low is not None and high is not None else None
    # Variances over seeds and images are those of means over images, such as accuracies.
    if images is None or measure not in (*EXPRESSIONS, ACCURACY, CLASS_MEAN):
        return None
    labels, persons = images.labels, images.persons
    correct = one.by_pretraining((images.first == labels).astype(np.float64))
    if measure in EXPRESSIONS:
        inside = labels == EXPRESSIONS.index(measure)
        labels, correct = labels[inside], correct[:, inside]
        persons = tuple(np.array(persons)[inside].tolist()) if persons else None
    if not len(labels):
        return None
    # With one class for all images the mean over classes is the accuracy.
    classes = labels if measure == CLASS_MEAN else np.zeros_like(labels)
    return mean_interval(correct, classes, persons)


def agreement_with_reported(rows: Sequence[Row], titles: Mapping[str, str]) -> list[str]:
    """Return a sentence for every accuracy that the 2021 table reports too: whether ours agrees with it."""
    lines = []
    for row in rows:
        ours = row.measurements[ACCURACY]
        if ours.value is None or ours.reported is None or row.subset not in titles:
            continue
        figures = f"{ours.value:.1%}, reported {ours.reported:.1%}"
        if ours.interval:
            low, high = ours.interval
            inside = "inside" if low <= ours.reported <= high else "outside"
            figures += f", {inside} our 95 % interval {percent_interval(ours.interval)}"
        lines.append(f"{row.configuration.title} on {titles[row.subset]}: {figures}.")
    if lines:
        lines.append("What was reported in 2021 is the epoch that was best on test.")
    return lines


def table_csv(rows: Sequence[Row]) -> str:
    """Return rows of the table as CSV, one figure a line, accuracies in [0, 1]."""
    head = ["configuration", "name", "runs", "set", "images"]
    lines: list[list[object]] = [[*head, "measure", "value", "deviation", "low", "high", "reported"]]
    for row in rows:
        one = row.configuration
        ids = " ".join(run.id for run in one.runs)
        start = [one.letter, no_formula(one.name), ids, row.subset, row.images]
        for measure, figure in row.measurements.items():
            # None is an empty cell.
            low, high = figure.interval or (None, None)
            numbers = [figure.value, figure.deviation, low, high, figure.reported]
            lines.append([*start, measure, *numbers])
    return csv_text(lines)


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
