"""The figures of a model card as Markdown tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fer.data.datasets.registry import DATASETS
from fer.evaluation.metrics import Interval
from fer.evaluation.report import UNIFORM_PRIOR, Report


@dataclass(frozen=True)
class SetFigures:
    """A model's figures on one set.

    Attributes:
        part: Which part of the set was tested: `test` or `whole`.
        report: The figures.
        variants: Further reports by name: of camera angles, and of answers corrected to a uniform prior.
    """

    part: str
    report: Report
    variants: Mapping[str, Report] = field(default_factory=dict)


def figures(tests: Mapping[str, SetFigures]) -> str:
    """Return the figures by the sets' names: a table of all sets, then one of each set by expression."""
    if not tests:
        return "It was not tested on any set."
    head = ["data set", "images", "accuracy, % [95 %]", "class mean, % [95 %]", "macro F1, % [95 %]", "ECE, %", "NLL"]
    rows = [head]
    for name, tested in tests.items():
        reports = {name: tested.report} | {f"{name}/{key}": report for key, report in tested.variants.items()}
        rows += [_row(place, report) for place, report in reports.items()]
    notes = [
        "Intervals of accuracies are Wilson's, over persons where a set tells them; those of class mean and macro F1 "
        "are bootstrapped over images. The class mean is "
        "the mean of the accuracies within each expression; ECE is the expected calibration error, NLL the negative "
        "log-likelihood in nats."
    ]
    if any(UNIFORM_PRIOR in tested.variants for tested in tests.values()):
        notes.append(f"`{UNIFORM_PRIOR}`: each probability divided by the share that the model gives it on average.")
    return "\n\n".join([table(rows), *notes, *(_by_expression(name, tested) for name, tested in tests.items())])


def _row(name: str, report: Report) -> list[str]:
    shares = [
        share(report.accuracy, report.accuracy_interval),
        share(report.mean_class_accuracy, report.mean_class_accuracy_interval),
        share(report.macro_f1, report.macro_f1_interval),
    ]
    return [name, f"{report.count:,}", *shares, f"{100 * report.ece:.1f}", f"{report.nll:.3f}"]


def _by_expression(name: str, tested: SetFigures) -> str:
    report = tested.report
    rows = [["expression", "images", "accuracy, % [95 %]", "most often taken for"]]
    for expression in report.expressions:
        shown = share(report.recall[expression], report.recall_interval[expression])
        rows.append([expression, f"{report.support[expression]:,}", shown, taken_for(report, expression) or "-"])
    return f"### {title(name)}, {tested.part} set\n\n{table(rows)}"


def taken_for(report: Report, expression: str) -> str:
    """Return the wrong answer that pictures of an expression get most often, or nothing if they get none."""
    answers = report.confusion[report.expressions.index(expression)].tolist()
    wrong = {name: count for name, count in zip(report.expressions, answers, strict=True) if name != expression}
    answer = max(wrong, key=wrong.__getitem__)
    return answer if wrong[answer] else ""


def title(name: str) -> str:
    """Return a data set's title with its name in options and metrics."""
    return f"{DATASETS[name].title} (`{name}`)" if name in DATASETS else f"`{name}`"


def share(value: float | None, interval: Interval | None) -> str:
    """Return a share with its interval in per cent, such as `42.9 [32.8, 53.5]`; `-` where there is none."""
    if value is None or interval is None:
        return "-"
    return f"{100 * value:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of which is the head, as a Markdown table that a terminal shows aligned too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
