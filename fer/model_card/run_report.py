"""Write the page of a run: what it was, its figures with their intervals, its plots, its surest mistakes, its terms."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from fer.attribution.artifact import site_of
from fer.attribution.credits import Credit
from fer.evaluation.metrics import Interval
from fer.evaluation.names import ACCURACY, CLASS_MEAN, IMAGES, UNIFORM_PRIOR
from fer.evaluation.report import Report, percent, percent_interval
from fer.expressions import EXPRESSIONS
from fer.model_card.card import most_confused
from fer.utils.rendering import render

HEAD = ("", IMAGES, "accuracy", "class mean", *EXPRESSIONS)
"""Of the table of all sets."""


@dataclass(frozen=True)
class Plot:
    """A figure of the run.

    Attributes:
        title: What it shows, for those who cannot see it.
        png: The picture.
    """

    title: str
    png: bytes


@dataclass(frozen=True)
class ShownMistake:
    """A wrong prediction as the page shows it.

    Attributes:
        path: Of the picture, under the data root.
        true: Its true expression.
        predicted: The predicted one.
        probability: Of the prediction, in [0, 1].
        jpeg: The picture, small; empty where it may not be shown.
        credit: Of a picture that may be shown only with it.
    """

    path: str
    true: str
    predicted: str
    probability: float
    jpeg: bytes = b""
    credit: Credit | None = None


@dataclass(frozen=True)
class ShownSet:
    """A data set that a model was tested on.

    Attributes:
        title: Its name in sentences, with the part of it that was tested.
        reports: Its figures under its name, and those of its parts under theirs, such as `kdef/frontal`.
        contamination: Which of its images the model has seen, in a sentence, or why that is not known.
        seen: Whether it has seen any.
        unseen: Figures on the images that it has not seen, by measure; empty where it has seen none, or all.
        plots: Its confusion matrix and whatever else was drawn.
        mistakes: The surest wrong predictions, the surest first.
        hidden: Why their pictures are not shown; empty where they are.
        credits: Where the authors and licences of its pictures are named; empty where none are to be credited.
    """

    title: str
    reports: Mapping[str, Report]
    contamination: str
    seen: bool = False
    unseen: Mapping[str, float] = field(default_factory=dict)
    plots: Sequence[Plot] = ()
    mistakes: Sequence[ShownMistake] = ()
    hidden: str = ""
    credits: str = ""

    @property
    def report(self) -> Report:
        """Return the figures of all tested images."""
        return next(iter(self.reports.values()))

    @property
    def has_uniform_prior(self) -> bool:
        """Return whether the figures with a uniform class prior are among them."""
        return any(UNIFORM_PRIOR in name for name in self.reports)


@dataclass(frozen=True)
class RunReport:
    """What the page of a run shows; a part that is empty is left out.

    Attributes:
        name: The run's name.
        lead: What it was, in a few words.
        facts: What it was, in detail: headings and texts.
        options: Options that differ from their defaults: name, value, default and meaning.
        sets: What was tested.
        training: Plots of the training, and of the calibration.
        epochs: Figures by epoch, each a row below the headings.
        usage: Commands that go on from here, each with what it does.
        terms: What its weights inherit, a line each; None where there are no weights of its own.
    """

    name: str
    lead: str
    facts: Mapping[str, str]
    options: Sequence[tuple[str, str, str, str]] = ()
    sets: Sequence[ShownSet] = ()
    training: Sequence[Plot] = ()
    epochs: Sequence[Sequence[str]] = ()
    usage: Mapping[str, str] = field(default_factory=dict)
    terms: Sequence[str] | None = None


def run_page(report: RunReport) -> str:
    """Return the page: one file that loads no other and runs no script."""
    return render(
        "run_report.html",
        title=report.name,
        report=report,
        head=HEAD,
        rows=list(chain.from_iterable(map(_rows, report.sets))),
        has_uniform_prior=any(tested.has_uniform_prior for tested in report.sets),
        expressions=_expressions,
        percent=percent,
        png=_png_address,
        jpeg=_jpeg_address,
        site_of=site_of,
    )


Cell = tuple[str, str]
"""A text, and the small print below it."""


def _rows(tested: ShownSet) -> list[tuple[bool, list[Cell]]]:
    """Return the rows of a set in the table of all sets, each with whether it is about a part of the set's figures."""
    rows = []
    for name, report in tested.reports.items():
        _, _, part = name.partition("/")
        rows.append((bool(part), _row(part.replace("_", " ") or name, report)))
    if tested.unseen:
        figures = [percent(tested.unseen[measure]) for measure in (ACCURACY, CLASS_MEAN)]
        texts = ["without seen images", f"{tested.unseen[IMAGES]:,.0f}", *figures, *("-" for _ in EXPRESSIONS)]
        # Below the row that it corrects.
        rows.insert(1, (True, [(text, "") for text in texts]))
    return rows


def _row(name: str, report: Report) -> list[Cell]:
    cells = [
        (name, ""),
        (f"{report.count:,}", ""),
        _cell(report.accuracy, report.accuracy_interval),
        _cell(report.class_mean, report.class_mean_interval),
    ]
    return cells + [_cell(report.recall[name], report.recall_interval[name]) for name in EXPRESSIONS]


def _cell(value: float | None, interval: Interval | None) -> Cell:
    return percent(value), percent_interval(interval) if interval else ""


def _expressions(report: Report) -> list[list[Cell]]:
    """Return a row for each expression: its name, images, accuracy, and the mistake made most often."""
    rows = []
    for name in EXPRESSIONS:
        accuracy = _cell(report.recall[name], report.recall_interval[name])
        rows.append([(name, ""), (f"{report.support[name]:,}", ""), accuracy, (most_confused(report, name) or "-", "")])
    return rows


def _png_address(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _jpeg_address(content: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
