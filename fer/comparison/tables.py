"""The table of a comparison: accuracies by expression and overall, with intervals, seeds and reported figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer.comparison.configurations import Configuration, RunFigures
from fer.comparison.predictions import Joined, join
from fer.comparison.seeds import mean_interval
from fer.evaluation.metrics import Interval
from fer.evaluation.statistics import seeds_summary
from fer.expressions import EXPRESSIONS

ACCURACY, CLASS_MEAN = "accuracy", "mean_class_accuracy"
MEASURES = (*EXPRESSIONS, ACCURACY, CLASS_MEAN)
"""Columns, in their order."""
Reported = Mapping[str, Mapping[str, Mapping[str, float]]]
"""What was reported: by row of the 2021 table, data set and metric, such as `accuracy/fear`."""


@dataclass(frozen=True)
class Cell:
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
    """A configuration on one set of images.

    Attributes:
        configuration: The configuration.
        place: The set, or a part of it by camera angle, as metrics name it: `kdef`, `kdef/frontal`.
        images: How many images each of its runs was tested on, without repetition.
        support: Images by expression; empty if unknown.
        cells: By measure.
    """

    configuration: Configuration
    place: str
    images: tuple[int, ...]
    support: dict[str, int]
    cells: dict[str, Cell]


def metric(place: str, measure: str) -> str:
    """Return the metric that holds a measure, such as `raf/accuracy/fear`."""
    return f"{place}/{measure}" if measure in (ACCURACY, CLASS_MEAN) else f"{place}/accuracy/{measure}"


def rows(found: Sequence[Configuration], place: str, reported: Reported) -> list[Row]:
    """Return the rows of the configurations that were tested in a place."""
    tested = [one for one in found if any(metric(place, ACCURACY) in run.metrics for run in one.runs)]
    return [_row(one, place, {} if one.reported else reported.get(one.reproduces, {}).get(place, {})) for one in tested]


def _row(one: Configuration, place: str, reported: Mapping[str, float]) -> Row:
    answers = one.answers(place)
    same = join(answers, []) if len(answers) > 1 and len({frozenset(item.keys) for item in answers}) == 1 else None
    cells = {}
    for measure in MEASURES:
        name = metric(place, measure)
        values = [run.metrics[name] for run in one.runs if name in run.metrics]
        said = reported.get(name.removeprefix(f"{place}/"))
        if not values:
            cells[measure] = Cell(None, reported=said)
            continue
        mean, deviation = seeds_summary(values)
        if len(values) == len(one.runs):
            mean = float(one.by_pretraining(np.array(values)).mean())
        single = len(one.runs) == 1
        interval = logged_interval(one.runs[0], place, measure) if single else over_seeds(one, same, measure)
        cells[measure] = Cell(mean, deviation, interval, said)
    images = dict.fromkeys(int(run.metrics[key]) for run in one.runs if (key := f"{place}/images") in run.metrics)
    first = one.runs[0].metrics
    support = {name: int(first[key]) for name in EXPRESSIONS if (key := f"{place}/support/{name}") in first}
    return Row(one, place, tuple(images), support, cells)


def logged_interval(run: RunFigures, place: str, measure: str) -> Interval | None:
    """Return a single run's interval as it was logged."""
    stem, _, expression = metric(place, measure).removeprefix(f"{place}/").partition("/")
    tail = f"/{expression}" if expression else ""
    low, high = (run.metrics.get(f"{place}/{stem}_{end}{tail}") for end in ("low", "high"))
    return (low, high) if low is not None and high is not None else None


def over_seeds(one: Configuration, answers: Joined | None, measure: str) -> Interval | None:
    """Return the interval of a mean over seeds, for new seeds and new images; None without answers."""
    if answers is None:
        return None
    labels, persons = answers.labels, answers.persons
    correct = one.by_pretraining((answers.first == labels).astype(np.float64))
    if measure in EXPRESSIONS:
        inside = labels == EXPRESSIONS.index(measure)
        labels, correct = labels[inside], correct[:, inside]
        persons = tuple(np.array(persons)[inside].tolist()) if persons else None
    if not len(labels):
        return None
    return mean_interval(correct, labels if measure == CLASS_MEAN else np.zeros_like(labels), persons)
