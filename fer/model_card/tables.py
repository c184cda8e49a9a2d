"""Tabulate a model's figures for its card, as Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fer.data.datasets.registry import DATASETS
from fer.evaluation.metrics import Interval
from fer.evaluation.report import UNIFORM_PRIOR, Report
from fer.utils.tables import markdown_table

SETS_HEAD = ["data set", "images", "accuracy, % [95 %]", "class mean, % [95 %]", "macro F1, % [95 %]", "ECE, %", "NLL"]
EXPRESSIONS_HEAD = ["expression", "images", "accuracy, % [95 %]", "most often taken for"]
NOTE = (
    "Intervals of accuracies are Wilson's, over persons where a set tells them; those of class mean and macro F1 "
    "are bootstrapped over images. The class mean is the mean of the accuracies within each expression; ECE is the "
    "expected calibration error, NLL the negative log-likelihood in nats."
)


@dataclass(frozen=True)
class SetFigures:
    """A model's figures on one data set.

    Attributes:
        part: Which part of it was tested: `test` or `whole`.
        report: The figures.
        variants: Further reports by name: of camera angles, and of predictions corrected to a uniform prior.
    """

    part: str
    report: Report
    variants: Mapping[str, Report] = field(default_factory=dict)


def figures(tests: Mapping[str, SetFigures]) -> str:
    """Return the figures by data set: a table of all, then one of each by expression."""
    if not tests:
        return "It was not tested on any set."
    rows = [SETS_HEAD]
    for name, tested in tests.items():
        rows.append(_row(name, tested.report))
        rows += [_row(f"{name}/{variant}", report) for variant, report in tested.variants.items()]
    parts = [markdown_table(rows), NOTE]
    if any(UNIFORM_PRIOR in tested.variants for tested in tests.values()):
        parts.append(f"`{UNIFORM_PRIOR}`: each probability divided by the share that the model gives it on average.")
    for name, tested in tests.items():
        parts += [f"### {dataset_title(name)}, {tested.part} set", _by_expression(tested.report)]
    return "\n\n".join(parts)


def _row(name: str, report: Report) -> list[str]:
    return [
        name,
        f"{report.count:,}",
        percent(report.accuracy, report.accuracy_interval),
        percent(report.mean_class_accuracy, report.mean_class_accuracy_interval),
        percent(report.macro_f1, report.macro_f1_interval),
        f"{100 * report.ece:.1f}",
        f"{report.nll:.3f}",
    ]


def _by_expression(report: Report) -> str:
    rows = [EXPRESSIONS_HEAD]
    for name in report.expressions:
        recall = percent(report.recall[name], report.recall_interval[name])
        rows.append([name, f"{report.support[name]:,}", recall, most_confused(report, name) or "-"])
    return markdown_table(rows)


def most_confused(report: Report, expression: str) -> str:
    """Return the wrong prediction that pictures of an expression get most often, or nothing if they get none."""
    counts = report.confusion[report.expressions.index(expression)].tolist()
    # Indices stand in the report's own order of expressions, which may not be ours.
    wrong = {name: count for name, count in zip(report.expressions, counts, strict=True) if name != expression}
    prediction = max(wrong, key=wrong.__getitem__)
    return prediction if wrong[prediction] else ""


def dataset_title(name: str) -> str:
    """Return a data set's title with its name in options and metrics."""
    return f"{DATASETS[name].title} (`{name}`)" if name in DATASETS else f"`{name}`"


def percent(value: float | None, interval: Interval | None) -> str:
    """Return a figure with its interval in per cent, such as `42.9 [32.8, 53.5]`; `-` where there is none."""
    # A class without images has no accuracy, which is not an accuracy of 0.
    if value is None or interval is None:
        return "-"
    low, high = interval
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
