"""Lay out a comparison as sentences, tables and pictures, and write these in each form of the report."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fer.comparison.comparing import Comparison
from fer.comparison.figures import TITLES
from fer.comparison.grouping import REPETITION_OPTIONS, Configuration, style
from fer.comparison.runs import MEASURES, OVERALL, one_line
from fer.comparison.table import Measurement, Row
from fer.comparison.testing import PairedTest, p_text, points
from fer.evaluation.report import percent, percent_interval
from fer.expressions import EXPRESSIONS
from fer.utils.rendering import escape_markdown, markdown_table, render, text_table

FIGURES_FOLDER = "figures"
"""Folder of the figures beside the report."""


@dataclass(frozen=True)
class Cell:
    """A text in one line.

    Attributes:
        text: The text.
        detail: Small print.
        colour: The colour of the configuration it is about, if it introduces one.
        has_text_detail: Whether texts show the detail too; otherwise only the page has room for it.
    """

    text: str
    detail: str = ""
    colour: str = ""
    has_text_detail: bool = False

    @property
    def plain(self) -> str:
        """Return the cell as one text."""
        return f"{self.text} {self.detail}".rstrip() if self.has_text_detail else self.text


@dataclass(frozen=True)
class ReportOrigin:
    """When and how a report was made; what is empty is left out.

    Attributes:
        day: As YYYY-MM-DD.
        code: The code's commit, and whether files differed from it.
        pages: Address of each run's page in MLflow, by the run's id.
    """

    day: str = ""
    code: str = ""
    pages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table: head and rows, all of one length, of which all but the first `left` columns are flush right."""

    rows: list[list[Cell]]
    left: int = 2

    @property
    def texts(self) -> list[list[str]]:
        """Return head and rows as texts."""
        return [[cell.plain for cell in row] for row in self.rows]


def terminal(comparison: Comparison) -> str:
    """Return the key, the table and the sentences; how they were computed stands in the report."""
    table = _accuracies(comparison.rows)
    verdicts = comparison.verdicts.values()
    paragraphs = [
        [cell.text for cell in _key(comparison.configurations)],
        [text_table(table.texts, table.left)],
        [f"warning: {line}" for line in comparison.warnings],
        *([f"* {line}" for line in sentences] for sentences in verdicts),
        [] if verdicts else ["There is nothing to test."],
        comparison.notes,
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def markdown(comparison: Comparison, svgs: Mapping[str, str], origin: ReportOrigin) -> str:
    """Write the report as Markdown, in which the figures are files beside it; `svgs` are these by name."""

    def table(of: Table) -> str:
        return markdown_table([[escape_markdown(text) for text in row] for row in of.texts])

    return render(
        "comparison.md",
        table=table,
        escaped=escape_markdown,
        folder=FIGURES_FOLDER,
        **_contents(comparison, svgs, origin),
    )


def html(comparison: Comparison, svgs: Mapping[str, str], origin: ReportOrigin) -> str:
    """Write the report as one page that needs nothing beside it: it loads no other file and runs no script."""

    def address(svg: str) -> str:
        # As data, ids of several figures cannot meet, nor can their text become part of the page.
        return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"

    return render(
        "comparison.html",
        title="Comparison of runs",
        address=address,
        **_contents(comparison, svgs, origin),
    )


def _contents(comparison: Comparison, svgs: Mapping[str, str], origin: ReportOrigin) -> dict[str, Any]:
    """Return what the report's templates show."""
    # A table for each data set beside its figures; the terminal has one of all.
    tables = {}
    for dataset in comparison.titles:
        rows = [row for row in comparison.rows if row.subset.partition("/")[0] == dataset]
        tables[dataset] = _accuracies(rows)
    return {
        "comparison": comparison,
        "key": _key(comparison.configurations),
        "options": _options(comparison.configurations),
        "tables": tables,
        "tests": _tests(comparison.tests),
        "figure_titles": TITLES,
        "svgs": svgs,
        "origin": origin,
        "runs": _runs(comparison.configurations),
    }


def _runs(configurations: Sequence[Configuration]) -> list[tuple[str, str, str, str]]:
    """Return the letter, name, seed and id of every run."""
    rows = []
    for one in configurations:
        for run in one.runs:
            seed = "-" if run.seed is None else str(run.seed)
            rows.append((one.letter, one_line(run.name), seed, run.id))
    return rows


def _cells(texts: Iterable[str]) -> list[Cell]:
    return [Cell(text) for text in texts]


def _key(configurations: Sequence[Configuration]) -> list[Cell]:
    """Return which letter and colour stands for which configuration, and the runs it consists of."""
    cells = []
    for one in configurations:
        colour, _, _ = style(one)
        cells.append(Cell(f"{one.letter}: {one.title} ({one.origin})", colour=colour))
    return cells


def _options(configurations: Sequence[Configuration]) -> Table | None:
    """Return the options in which configurations differ, a column each; None where there is none."""
    # The options of the 2021 table's rows are not ours.
    ours = [one for one in configurations if not one.reported]
    keys: dict[str, None] = {}
    for one in ours:
        keys |= dict.fromkeys(one.runs[0].config)
    columns = []
    for key in keys:
        # A configuration that lacks an option, as runs of another command do, has `-`.
        texts = [_option_text(one.runs[0].config.get(key)) for one in ours]
        if key not in REPETITION_OPTIONS and len(set(texts)) > 1:
            columns.append([one_line(key), *texts])
    if not columns:
        return None
    letters = ["", *(one.letter for one in ours)]
    rows = [_cells(row) for row in zip(letters, *columns, strict=True)]
    return Table(rows, left=len(rows[0]))


def _option_text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return one_line(str(value)) or "none"


def _accuracies(rows: Sequence[Row]) -> Table:
    """Return rows of the table of accuracies, and below each what was reported of the same where anything was."""
    support = next((row.support for row in rows if row.support and "/" not in row.subset), {})
    head = _cells(["", "data set", "images"])
    head += [Cell(name, f"{support[name]} images" if name in support else "") for name in EXPRESSIONS]
    head += [Cell(name, "[95 %]", has_text_detail=True) for name in OVERALL.values()]
    lines = [head]
    for row in rows:
        one = row.configuration
        colour, _, _ = style(one)
        cells = [_accuracy(measure, row.measurements[measure]) for measure in MEASURES]
        lines.append([Cell(one.letter, one.name, colour=colour), *_cells([row.subset, row.images]), *cells])
        reported = [row.measurements[measure].reported for measure in MEASURES]
        # A row of dashes below every row would say nothing.
        if any(value is not None for value in reported):
            lines.append(_cells(["", "reported in 2021", "", *map(percent, reported)]))
    return Table(lines)


def _accuracy(measure: str, measurement: Measurement) -> Cell:
    """Return a figure in per cent, such as `63.0 ±1.0`, with its interval; `-` where there is none."""
    text = percent(measurement.value)
    if measurement.deviation is not None:
        text += f" ±{percent(measurement.deviation)}"
    interval = percent_interval(measurement.interval) if measurement.interval else ""
    # Nine intervals beside each other are wider than a terminal: only a page shows those of the classes.
    return Cell(text, detail=interval, has_text_detail=measure in OVERALL)


def _tests(tests: Sequence[PairedTest]) -> Table | None:
    """Return the paired tests, a row each; None where there is none."""
    head = ["data set", "A", "B", "measure", "A - B, points [95 %]", "only A", "only B"]
    rows = [_cells([*head, "p", "adjusted p", "smallest, points", "test", "images"])]
    for test in tests:
        alone = ["-" if count is None else str(count) for count in (test.only_first, test.only_second)]
        p_values = [p_text(p).removeprefix("p ").removeprefix("= ") for p in (test.p, test.adjusted_p)]
        cells = [
            test.dataset,
            test.first.letter,
            test.second.letter,
            OVERALL[test.measure],
            f"{points(test.estimate)} [{points(test.low)}, {points(test.high)}]",
            *alone,
            *p_values,
            # Nothing differs by more than all images.
            "none shows" if test.smallest and test.smallest > 1 else percent(test.smallest),
            test.method,
            str(test.images),
        ]
        rows.append(_cells(cells))
    return Table(rows, left=4) if tests else None
