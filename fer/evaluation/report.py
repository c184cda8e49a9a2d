"""Measure a model on one set of images, and lay out several such reports for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer.evaluation.intervals import bootstrap_interval, person_interval, wilson_interval
from fer.evaluation.metrics import (
    Bin,
    Interval,
    Ints,
    brier_score,
    check_probabilities,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    mean_class_accuracy,
    negative_log_likelihood,
    reliability_bins,
)
from fer.expressions import EXPRESSIONS
from fer.utils.tables import text_table

UNIFORM_PRIOR = "uniform_prior"
"""Names a report of predictions corrected to equally frequent classes, as in `raf/uniform_prior`."""


@dataclass(frozen=True, eq=False)
class Report:
    """How well one model does on one set of images.

    Attributes:
        expressions: Names of the classes, in the order of `confusion`.
        count: Number of images.
        accuracy: Fraction of right predictions, in [0, 1] like every fraction here; the interval is Wilson's at 95 %,
            or that over persons where they are known.
        recall: Accuracy within each true class; None, not 0, for a class without samples. Intervals likewise.
        support: Number of images of each class.
        mean_class_accuracy: Mean of `recall` over classes with samples; its interval is bootstrapped.
        macro_f1: Mean F1 over classes that occur in labels or predictions; its interval is bootstrapped.
        ece: Expected calibration error over `bins`.
        nll: Negative log-likelihood in nats.
        brier: Brier score, in [0, 2].
        confusion: `(C, C)` counts, true classes in rows.
        bins: Confidence against accuracy.
    """

    expressions: tuple[str, ...]
    count: int
    accuracy: float
    accuracy_interval: Interval
    recall: dict[str, float | None]
    recall_interval: dict[str, Interval | None]
    support: dict[str, int]
    mean_class_accuracy: float
    mean_class_accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    ece: float
    nll: float
    brier: float
    confusion: Ints
    bins: tuple[Bin, ...]

    def scalars(self) -> dict[str, float]:
        """Return every figure by flat name, such as `accuracy/fear`; a class without samples has only its support."""
        flat = {"images": float(self.count), "ece": self.ece, "nll": self.nll, "brier": self.brier}
        flat |= _with_bounds("accuracy", "", self.accuracy, self.accuracy_interval)
        flat |= _with_bounds("mean_class_accuracy", "", self.mean_class_accuracy, self.mean_class_accuracy_interval)
        flat |= _with_bounds("macro_f1", "", self.macro_f1, self.macro_f1_interval)
        for name in self.expressions:
            flat[f"support/{name}"] = float(self.support[name])
            recall, interval = self.recall[name], self.recall_interval[name]
            if recall is not None and interval is not None:
                flat |= _with_bounds("accuracy", f"/{name}", recall, interval)
        return flat

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `json.dumps` takes it, None where a figure is absent."""
        return {
            **vars(self),
            "confusion": self.confusion.tolist(),
            "bins": [asdict(entry) for entry in self.bins],
            "expressions": list(self.expressions),
        }


def _with_bounds(key: str, suffix: str, value: float, interval: Interval) -> dict[str, float]:
    """Return a figure and the bounds of its interval, such as `accuracy_low/fear`."""
    low, high = interval
    return {f"{key}{suffix}": value, f"{key}_low{suffix}": low, f"{key}_high{suffix}": high}


def report(
    labels: ArrayLike,
    probabilities: ArrayLike,
    expressions: Sequence[str] = EXPRESSIONS,
    seed: int = 0,
    persons: Sequence[str] | None = None,
) -> Report:
    """Measure a classifier's probabilities against the truth; of equal probabilities the first class is predicted.

    `labels` and `probabilities` are as in `negative_log_likelihood`, where rows may miss a sum of 1 by 1e-3;
    `expressions` names the columns in their order, and `seed` is that of the bootstrapped intervals. `persons` names
    who is on each image, where that is known: intervals of accuracies are then over persons.

    Raises:
        ValueError: An argument is malformed, or the set is empty.
    """
    names = tuple(expressions)
    truth, scores = check_probabilities(labels, probabilities)
    if len(set(names)) != len(names) or scores.shape[1] != len(names):
        raise ValueError(f"expressions must name the {scores.shape[1]} columns of probabilities once each, not {names}")
    predicted = scores.argmax(axis=1)
    confidence = scores.max(axis=1)
    correct = predicted == truth
    confusion = confusion_matrix(truth, predicted, len(names))
    who = None if persons is None else np.asarray(persons)
    overall = _accuracy_interval(correct, who)
    assert overall is not None  # there is at least one image
    by_class = {name: truth == code for code, name in enumerate(names)}
    recall, recall_interval = _recall(correct, by_class, who)
    return Report(
        expressions=names,
        count=len(truth),
        accuracy=float(correct.mean()),
        accuracy_interval=overall,
        recall=recall,
        recall_interval=recall_interval,
        support={name: int(inside.sum()) for name, inside in by_class.items()},
        mean_class_accuracy=float(mean_class_accuracy(confusion)),
        mean_class_accuracy_interval=bootstrap_interval(confusion, mean_class_accuracy, seed=seed),
        macro_f1=float(macro_f1(confusion)),
        macro_f1_interval=bootstrap_interval(confusion, macro_f1, seed=seed),
        ece=expected_calibration_error(confidence, correct),
        nll=negative_log_likelihood(truth, scores),
        brier=brier_score(truth, scores),
        confusion=confusion,
        bins=reliability_bins(confidence, correct),
    )


def _recall(
    correct: NDArray[np.bool_], by_class: Mapping[str, NDArray[np.bool_]], persons: NDArray[np.str_] | None
) -> tuple[dict[str, float | None], dict[str, Interval | None]]:
    """Return each class's accuracy and its interval; None for a class without images."""
    recall: dict[str, float | None] = {}
    intervals: dict[str, Interval | None] = {}
    for name, inside in by_class.items():
        recall[name] = float(correct[inside].mean()) if inside.any() else None
        intervals[name] = _accuracy_interval(correct[inside], None if persons is None else persons[inside])
    return recall, intervals


def _accuracy_interval(correct: NDArray[np.bool_], persons: NDArray[np.str_] | None) -> Interval | None:
    """Return the interval of the accuracy over persons, else over images; None without images."""
    if persons is not None:
        # None for a single person, who says nothing of others.
        by_person = person_interval(correct, persons)
        if by_person is not None:
            return by_person
    return wilson_interval(int(correct.sum()), len(correct))


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.1f}"


def reports_table(reports: Mapping[str, Mapping[str, Report]]) -> str:
    """Lay out runs (outer names) on data sets (inner names) for a terminal, in per cent, `-` where there is no image.

    A line below explains `uniform_prior` where a data set's name ends in it.

    Raises:
        ValueError: Two reports name or order their classes differently.
    """
    orders = set()
    for by_set in reports.values():
        orders |= {entry.expressions for entry in by_set.values()}
    orders = orders or {EXPRESSIONS}
    if len(orders) > 1:
        raise ValueError(f"reports must share one order of expressions, not {sorted(orders)}")
    (names,) = orders
    rows = [["run", "data set", "images", *names, "accuracy [95 %]", "class mean"]]
    for run, by_set in reports.items():
        for dataset, entry in by_set.items():
            low, high = map(_percent, entry.accuracy_interval)
            rows.append(
                [
                    run,
                    dataset,
                    str(entry.count),
                    *(_percent(entry.recall[name]) for name in names),
                    f"{_percent(entry.accuracy)} [{low}, {high}]",
                    _percent(entry.mean_class_accuracy),
                ]
            )
    return text_table(rows) + prior_note(row[1] for row in rows)


def prior_note(rows: Iterable[str]) -> str:
    """Return lines that explain `uniform_prior` where the name of one of a table's rows ends in it; else nothing."""
    if not any(row.endswith(f"/{UNIFORM_PRIOR}") for row in rows):
        return ""
    return f"\n\n{UNIFORM_PRIOR}: each probability divided by the share that the model gives it on average"
