"""Measure a model on one set of images, and lay out several such reports for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer.evaluation.calibration import calibration
from fer.evaluation.intervals import bootstrap_interval, person_interval, wilson_interval
from fer.evaluation.metrics import (
    Bin,
    Interval,
    Ints,
    check_probabilities,
    confusion_matrix,
    macro_f1,
    mean_class_accuracy,
    reliability_bins,
)
from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    ECE,
    HIGH,
    IMAGES,
    LOW,
    MACRO_F1,
    SUPPORT,
    UNIFORM_PRIOR,
    nest,
)
from fer.expressions import EXPRESSIONS
from fer.utils.rendering import csv_text, text_table


@dataclass(frozen=True, eq=False)
class Report:
    """How well one model does on one set of images.

    Attributes:
        count: Number of images.
        accuracy: Fraction of right predictions, in [0, 1] like every fraction here; the interval is Wilson's at 95 %,
            or that over persons where they are known.
        recall: Accuracy within each true class; None, not 0, for a class without samples. Intervals likewise.
        support: Number of images of each class.
        class_mean: Mean of `recall` over classes with samples; its interval is bootstrapped.
        macro_f1: Mean F1 over classes that occur in labels or predictions; its interval is bootstrapped.
        ece: Expected calibration error over `bins`.
        nll: Negative log-likelihood in nats.
        brier: Brier score, in [0, 2].
        confusion: `(7, 7)` counts, true classes in rows, in the order of `EXPRESSIONS`.
        bins: Confidence against accuracy.
    """

    count: int
    accuracy: float
    accuracy_interval: Interval
    recall: dict[str, float | None]
    recall_interval: dict[str, Interval | None]
    support: dict[str, int]
    class_mean: float
    class_mean_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    ece: float
    nll: float
    brier: float
    confusion: Ints
    bins: tuple[Bin, ...]

    def scalars(self) -> dict[str, float]:
        """Return every figure by flat name, such as `fear`; a class without samples has only its support."""
        flat = {
            IMAGES: float(self.count),
            ECE: self.ece,
            "nll": self.nll,
            "brier": self.brier,
        }
        flat |= {f"{SUPPORT}/{name}": float(count) for name, count in self.support.items()}
        figures = {
            ACCURACY: (self.accuracy, self.accuracy_interval),
            CLASS_MEAN: (self.class_mean, self.class_mean_interval),
            MACRO_F1: (self.macro_f1, self.macro_f1_interval),
        }
        for measure, (value, (low, high)) in figures.items():
            flat |= _with_bounds(measure, value, low, high)
        # MLflow has no empty metric, and 0 would be read as an accuracy.
        for name, recall in self.recall.items():
            interval = self.recall_interval[name]
            if recall is not None and interval is not None:
                flat |= _with_bounds(name, recall, *interval)
        return flat

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `json.dumps` takes it: figures by name, confusion matrix and bins."""
        # A stored matrix without the names of its classes could be read in another order.
        return {
            **nest(self.scalars()),
            "expressions": list(EXPRESSIONS),
            "confusion": self.confusion.tolist(),
            "bins": [asdict(entry) for entry in self.bins],
        }


def _with_bounds(measure: str, value: float, low: float, high: float) -> dict[str, float]:
    """Return a figure and the ends of its interval by name, such as `fear_low`."""
    return {
        measure: value,
        f"{measure}{LOW}": low,
        f"{measure}{HIGH}": high,
    }


def report(
    labels: ArrayLike,
    probabilities: ArrayLike,
    persons: Sequence[str] | None = None,
) -> Report:
    """Measure a classifier's probabilities against the truth; of equal probabilities the first class is predicted.

    Args:
        labels: True classes as indices into `EXPRESSIONS`, `(N,)`.
        probabilities: `(N, 7)`; a row may miss a sum of 1 by 1e-3.
        persons: Who is on each image, where that is known: intervals of accuracies are then over persons.

    Raises:
        ValueError: An argument is malformed, or the set is empty.
    """
    truth, scores = check_probabilities(labels, probabilities)
    # Columns have no names: another number of them is another list of classes.
    if scores.shape[1] != len(EXPRESSIONS):
        raise ValueError(f"probabilities must have a column per expression, {len(EXPRESSIONS)}, not {scores.shape[1]}")
    predicted = scores.argmax(axis=1)
    correct = predicted == truth
    confusion = confusion_matrix(truth, predicted, len(EXPRESSIONS))
    belief = calibration(truth, scores)
    who = None if persons is None else np.asarray(persons)
    overall = _accuracy_interval(correct, who)
    assert overall is not None  # there is at least one image
    by_class = {name: truth == code for code, name in enumerate(EXPRESSIONS)}
    recall, recall_interval = _recall(correct, by_class, who)
    return Report(
        count=len(truth),
        accuracy=float(correct.mean()),
        accuracy_interval=overall,
        recall=recall,
        recall_interval=recall_interval,
        support={name: int(inside.sum()) for name, inside in by_class.items()},
        class_mean=float(mean_class_accuracy(confusion)),
        class_mean_interval=bootstrap_interval(confusion, mean_class_accuracy),
        macro_f1=float(macro_f1(confusion)),
        macro_f1_interval=bootstrap_interval(confusion, macro_f1),
        **vars(belief),
        confusion=confusion,
        bins=reliability_bins(scores.max(axis=1), correct),
    )


def _recall(
    correct: NDArray[np.bool_],
    by_class: Mapping[str, NDArray[np.bool_]],
    persons: NDArray[np.str_] | None,
) -> tuple[dict[str, float | None], dict[str, Interval | None]]:
    """Return each class's accuracy and its interval; None for a class without images."""
    recall: dict[str, float | None] = {}
    intervals: dict[str, Interval | None] = {}
    for name, inside in by_class.items():
        own_persons = None if persons is None else persons[inside]
        recall[name] = float(correct[inside].mean()) if inside.any() else None
        intervals[name] = _accuracy_interval(correct[inside], own_persons)
    return recall, intervals


def _accuracy_interval(
    correct: NDArray[np.bool_],
    persons: NDArray[np.str_] | None,
) -> Interval | None:
    """Return the interval of the accuracy over persons, else over images; None without images."""
    if persons is not None:
        # None for a single person, who says nothing of others.
        by_person = person_interval(correct, persons)
        if by_person is not None:
            return by_person
    return wilson_interval(int(correct.sum()), len(correct))


def percent(fraction: float | None) -> str:
    """Return a fraction in per cent, such as `42.9`; `-` where there is none."""
    return "-" if fraction is None else f"{fraction * 100:.1f}"


def percent_interval(interval: Interval) -> str:
    """Return an interval in per cent, such as `[32.8, 53.5]`."""
    low, high = interval
    return f"[{percent(low)}, {percent(high)}]"


def reports_table(reports: Mapping[str, Mapping[str, Report]]) -> str:
    """Lay out runs (outer names) on data sets (inner names) for a terminal, in per cent, `-` where there is no image.

    A line below explains `uniform_prior` where a data set's name ends in it.
    """
    rows = [["run", "data set", "images", *EXPRESSIONS, "accuracy [95 %]", "class mean"]]
    for run, by_set in reports.items():
        for dataset, entry in by_set.items():
            accuracy = f"{percent(entry.accuracy)} {percent_interval(entry.accuracy_interval)}"
            recall = [percent(entry.recall[name]) for name in EXPRESSIONS]
            class_mean = percent(entry.class_mean)
            rows.append([run, dataset, str(entry.count), *recall, accuracy, class_mean])
    return text_table(rows) + prior_note(row[1] for row in rows)


def confusion_csv(result: Report) -> str:
    """Return the confusion matrix as CSV: a row per true expression, a column per prediction."""
    rows: list[list[object]] = [["true", *EXPRESSIONS]]
    for name, counts in zip(EXPRESSIONS, result.confusion.tolist(), strict=True):
        rows.append([name, *counts])
    return csv_text(rows)


def prior_note(rows: Iterable[str]) -> str:
    """Return lines that explain `uniform_prior` where the name of one of a table's rows ends in it; else nothing."""
    if any(row.endswith(f"/{UNIFORM_PRIOR}") for row in rows):
        meaning = "each probability divided by the share that the model gives it on average"
        return f"\n\n{UNIFORM_PRIOR}: {meaning}"
    return ""
