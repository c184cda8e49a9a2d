"""One model's figures on one set of images, and the terminal's table of several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer.evaluation.metrics import (
    Bin,
    Interval,
    Ints,
    bootstrap_interval,
    brier_score,
    check_probabilities,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    mean_class_accuracy,
    negative_log_likelihood,
    reliability_bins,
    wilson_interval,
)
from fer.evaluation.resampling import person_interval
from fer.expressions import EXPRESSIONS

UNIFORM_PRIOR = "uniform_prior"
"""Names a report of answers corrected to classes that are equally frequent, as in `raf/uniform_prior`."""


@dataclass(frozen=True, eq=False)
class Report:
    """One model's worth on one set of images.

    Attributes:
        expressions: Names of the classes, in the order of `confusion`.
        count: Number of images.
        accuracy: Share of right answers, in [0, 1] like every share here; the interval is Wilson's at 95 %, or that
            over persons where they are known.
        recall: Accuracy within each true class; None, not 0, for a class without samples. Intervals likewise.
        support: Number of images of each class.
        mean_class_accuracy: Mean of `recall` over classes with samples; its interval is bootstrapped.
        macro_f1: Mean F1 over classes that occur in labels or answers; its interval is bootstrapped.
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
        intervals: dict[str, tuple[float | None, Interval | None]] = {
            "accuracy": (self.accuracy, self.accuracy_interval),
            "mean_class_accuracy": (self.mean_class_accuracy, self.mean_class_accuracy_interval),
            "macro_f1": (self.macro_f1, self.macro_f1_interval),
            **{f"accuracy/{name}": (self.recall[name], self.recall_interval[name]) for name in self.expressions},
        }
        for name, (value, interval) in intervals.items():
            if value is not None and interval is not None:
                stem, _, expression = name.partition("/")
                tail = f"/{expression}" if expression else ""
                flat |= {name: value, f"{stem}_low{tail}": interval[0], f"{stem}_high{tail}": interval[1]}
        return flat | {f"support/{name}": float(count) for name, count in self.support.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `json.dumps` takes it, None where a figure is absent."""
        return {
            **vars(self),
            "confusion": self.confusion.tolist(),
            "bins": [asdict(b) for b in self.bins],
            "expressions": list(self.expressions),
        }


def report(
    labels: ArrayLike,
    probabilities: ArrayLike,
    expressions: Sequence[str] = EXPRESSIONS,
    seed: int = 0,
    persons: Sequence[str] | None = None,
) -> Report:
    """Measure a classifier's probabilities against the truth; of equal probabilities the first class is the answer.

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
    answers, confidence = scores.argmax(axis=1), scores.max(axis=1)
    confusion = confusion_matrix(truth, answers, len(names))
    hits, support = confusion.diagonal().tolist(), confusion.sum(axis=1).tolist()
    by_class = list(zip(names, hits, support, strict=True))
    right, who = answers == truth, None if persons is None else np.asarray(persons)
    intervals = {name: _accuracy_interval(right, who, truth == code) for code, name in enumerate(names)}
    overall = _accuracy_interval(right, who, np.full(len(truth), True))
    assert overall is not None  # there is at least one image
    return Report(
        expressions=names,
        count=len(truth),
        accuracy=sum(hits) / len(truth),
        accuracy_interval=overall,
        recall={name: hit / n if n else None for name, hit, n in by_class},
        recall_interval=intervals,
        support={name: n for name, _, n in by_class},
        mean_class_accuracy=float(mean_class_accuracy(confusion)),
        mean_class_accuracy_interval=bootstrap_interval(confusion, mean_class_accuracy, seed=seed),
        macro_f1=float(macro_f1(confusion)),
        macro_f1_interval=bootstrap_interval(confusion, macro_f1, seed=seed),
        ece=expected_calibration_error(confidence, right),
        nll=negative_log_likelihood(truth, scores),
        brier=brier_score(truth, scores),
        confusion=confusion,
        bins=reliability_bins(confidence, right),
    )


def _accuracy_interval(
    right: NDArray[np.bool_], persons: NDArray[np.str_] | None, inside: NDArray[np.bool_]
) -> Interval | None:
    """Return the interval of the accuracy on some of the images; of a single person it says nothing of others."""
    plain = wilson_interval(int(right[inside].sum()), int(inside.sum()))
    return plain if persons is None else person_interval(right[inside], persons[inside]) or plain


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f}"


def text_table(reports: Mapping[str, Mapping[str, Report]]) -> str:
    """Lay out runs (outer names) on data sets (inner names) for a terminal, in per cent, `-` where there is no image.

    A line below explains `uniform_prior` where a data set's name ends in it.

    Raises:
        ValueError: Two reports name or order their classes differently.
    """
    entries = [(run, dataset, entry) for run, sets in reports.items() for dataset, entry in sets.items()]
    orders = {entry.expressions for _, _, entry in entries} or {EXPRESSIONS}
    if len(orders) > 1:
        raise ValueError(f"reports must share one order of expressions, not {sorted(orders)}")
    (names,) = orders
    rows = [["run", "data set", "images", *names, "accuracy [95 %]", "class mean"]]
    for run, dataset, entry in entries:
        low, high = map(_percent, entry.accuracy_interval)
        shares = [_percent(entry.recall[name]) for name in names]
        overall = f"{_percent(entry.accuracy)} [{low}, {high}]"
        rows.append([run, dataset, str(entry.count), *shares, overall, _percent(entry.mean_class_accuracy)])
    return lay_out(rows) + prior_note(dataset for _, dataset, _ in entries)


def lay_out(table: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal under its headings: two columns flush left, the others, figures, flush right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    justify = [str.ljust, str.ljust, *[str.rjust] * (len(widths) - 2)]
    lines = ["  ".join(put(cell, w) for put, cell, w in zip(justify, row, widths, strict=True)) for row in table]
    return "\n".join([lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])


def prior_note(rows: Iterable[str]) -> str:
    """Return lines that explain `uniform_prior` where the name of one of a table's rows ends in it; else nothing."""
    if not any(row.endswith(f"/{UNIFORM_PRIOR}") for row in rows):
        return ""
    return f"\n\n{UNIFORM_PRIOR}: each probability divided by the share that the model gives it on average"
