"""The cells of a comparison's tables as text, which all its forms share."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from fer.comparison.comparing import Comparison
from fer.comparison.configurations import ID, Configuration, differing_options
from fer.comparison.tables import ACCURACY, CLASS_MEAN, MEASURES, Cell, Row, metric
from fer.comparison.verdicts import p_words, points
from fer.expressions import EXPRESSIONS
from fer.utils.tables import text_table

HEADINGS = (*EXPRESSIONS, "accuracy [95 %]", "class mean [95 %]")
TEST_HEADINGS = (
    "data set", "A", "B", "measure", "A - B, points [95 %]", "only A", "only B", "p", "adjusted p",
    "smallest, points", "test", "images",
)  # fmt: skip
FIGURES = {
    "per_class": "Accuracy by expression",
    "confusion_difference": "Difference of the confusion matrices",
    "learning_curves": "Learning curves",
    "minutes": "Accuracy against training time",
}
"""Kinds of figures, by the beginning of their files' names."""


def percent(cell: Cell, interval: bool) -> str:
    """Return a figure in per cent, such as `63.0 ±1.0 [60.9, 65.0]`; `-` where there is none."""
    if cell.value is None:
        return "-"
    text = f"{cell.value * 100:.1f}"
    if cell.deviation is not None:
        text += f" ±{cell.deviation * 100:.1f}"
    if interval and cell.interval:
        low, high = cell.interval
        text += f" [{low * 100:.1f}, {high * 100:.1f}]"
    return text


def counted(row: Row) -> str:
    """Return how many images a row rests on."""
    return " or ".join(map(str, row.images)) or "-"


def members(one: Configuration) -> str:
    """Return how a configuration came about, for its line in the key: seeds and runs."""
    if one.reported:
        return "reported in 2021"
    seeds = [str(run.seed) for run in one.runs if run.seed is not None]
    ids = ", ".join(run.id[:ID] for run in one.runs)
    many = "seeds" if len(seeds) > 1 else "seed"
    return f"{many} {', '.join(seeds)}; run{'s' if len(one.runs) > 1 else ''} {ids}" if seeds else f"run {ids}"


def row_cells(row: Row, name: str) -> list[list[str]]:
    """Return a row of the table, and below it what was reported of the same where anything was.

    Args:
        row: The row.
        name: What its first cell says.
    """
    cells = [percent(row.cells[key], key in (ACCURACY, CLASS_MEAN)) for key in MEASURES]
    table = [[name, row.place, counted(row), *cells]]
    if any(cell.reported is not None for cell in row.cells.values()):
        said = [percent(Cell(row.cells[key].reported), False) for key in MEASURES]
        table.append(["", "reported in 2021", "", *said])
    return table


def printable(text: str) -> str:
    """Return a text in one line without characters that would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def paired_cells(found: Comparison) -> list[list[str]]:
    """Return the paired tests as rows under `TEST_HEADINGS`."""
    return [
        [
            test.dataset, test.first.letter, test.second.letter,
            "class mean" if test.measure == CLASS_MEAN else "accuracy",
            f"{points(test.estimate)} [{points(test.low)}, {points(test.high)}]",
            *("-" if count is None else str(count) for count in (test.only_first, test.only_second)),
            *(p_words(p).removeprefix("p ").removeprefix("= ") for p in (test.p, test.adjusted)),
            smallest_words(test.smallest), test.method, str(test.images),
        ]
        for test in found.tests
    ]  # fmt: skip


def smallest_words(smallest: float | None) -> str:
    """Return the smallest difference that shows, in points."""
    if smallest is None:
        return "-"
    return "none shows" if smallest == float("inf") else f"{smallest * 100:.1f}"


def option_cells(found: Comparison) -> list[list[str]]:
    """Return the options that differ: a row of headings, then one row for each configuration of ours."""
    options = differing_options(found.configurations)
    if not options:
        return []
    rows = [["", *options]]
    for number, one in enumerate(found.configurations):
        if not one.reported:
            rows.append([one.letter, *(values[number] for values in options.values())])
    return rows


def terminal(found: Comparison) -> str:
    """Return the key, the table in per cent and the sentences; how it was computed stands in the report."""
    key = [f"{one.letter}: {printable(one.name)} ({members(one)})" for one in found.configurations]
    table = [["", "data set", "images", *HEADINGS]]
    for row in found.rows:
        table += row_cells(row, row.configuration.letter)
    parts = ["\n".join(key), text_table(table)]
    if found.verdicts:
        said = [line for lines in found.verdicts.values() for line in lines]
        parts.append("\n".join(f"* {printable(line)}" for line in said))
    if found.warnings:
        parts.append("\n".join(f"warning: {printable(line)}" for line in found.warnings))
    if found.notes:
        parts.append("\n".join(map(printable, found.notes)))
    return "\n\n".join(parts)


def table_csv(found: Comparison) -> str:
    """Return the table as CSV, one figure a line, as shares in [0, 1]."""
    lines = [
        ["configuration", "name", "runs", "set", "images", "measure", "value", "deviation", "low", "high", "reported"]
    ]
    for row in found.rows:
        one = row.configuration
        start = [one.letter, _no_formula(one.name), " ".join(run.id for run in one.runs), row.place, counted(row)]
        for measure, cell in row.cells.items():
            numbers = (cell.value, cell.deviation, *(cell.interval or (None, None)), cell.reported)
            lines.append([*start, metric(row.place, measure).removeprefix(f"{row.place}/"), *map(_number, numbers)])
    return _csv(lines)


def verdicts_csv(found: Comparison) -> str:
    """Return the paired tests as CSV, differences as shares in [-1, 1]."""
    lines = [[
        "set", "first", "second", "measure", "test", "images", "difference", "low", "high", "p", "p_adjusted",
        "only_first", "only_second", "smallest_difference",
    ]]  # fmt: skip
    for test in found.tests:
        numbers = (test.estimate, test.low, test.high, test.p, test.adjusted, test.only_first, test.only_second)
        start = [test.dataset, test.first.letter, test.second.letter, test.measure, test.method, str(test.images)]
        lines.append([*start, *map(_number, (*numbers, test.smallest))])
    return _csv(lines)


def _number(value: float | None) -> str:
    return "" if value is None else str(value)


def _no_formula(cell: str) -> str:
    # Spreadsheets compute what begins like a formula.
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def markdown(found: Comparison, figures: Iterable[str]) -> str:
    """Return the report as Markdown.

    Args:
        found: The comparison.
        figures: Places of the figures' files beside it.
    """
    parts = [
        "# Comparison",
        _bullets([f"**{one.letter}**: {_md(one.name)} ({members(one)})" for one in found.configurations]),
    ]
    if options := option_cells(found):
        parts += ["## What differs", _markdown_table(options)]
    parts += [
        "## What came out",
        _bullets(_md(line) for lines in found.verdicts.values() for line in lines) or "There is nothing to test.",
    ]
    if found.warnings:
        parts.append(_bullets(f"**Warning:** {_md(line)}" for line in found.warnings))
    if found.notes:
        parts.append(_bullets(map(_md, found.notes)))
    for name, title in found.titles.items():
        parts += [f"## {_md(title)}", "Accuracy in per cent.", _markdown_table(_set_table(found, name))]
    if found.tests:
        parts += ["## Tests", _markdown_table([TEST_HEADINGS, *paired_cells(found)])]
    parts += [f"![{_caption(place)}]({place})" for place in figures]
    return "\n\n".join([*parts, "## How this was computed", _bullets(found.methods)]) + "\n"


def _set_table(found: Comparison, name: str) -> list[list[str]]:
    inside = [row for row in found.rows if row.place.partition("/")[0] == name]
    return [
        ["", "set", "images", *HEADINGS],
        *(cells for row in inside for cells in row_cells(row, row.configuration.letter)),
    ]


def _caption(place: str) -> str:
    return next(title for kind, title in FIGURES.items() if place.rpartition("/")[2].startswith(kind))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(map(_md, row)) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _md(text: str) -> str:
    """Return user text that Markdown shows as it is: no mark-up, no HTML, no link, in one line."""
    escaped = re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", printable(text))
    return re.sub(r"[&<>]", lambda sign: f"&#{ord(sign[0])};", escaped)
