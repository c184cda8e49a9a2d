"""A comparison for the terminal and as CSV."""

import csv
import io
from collections.abc import Sequence

from fer.comparison.cells import HEADINGS, counted, members, printable, row_cells
from fer.comparison.comparing import Comparison
from fer.comparison.tables import metric
from fer.report import lay_out


def terminal(found: Comparison) -> str:
    """Return the key, the table in per cent and the sentences; how it was computed stands in the report."""
    key = [f"{one.letter}: {printable(one.name)} ({members(one)})" for one in found.configurations]
    table = [["", "data set", "images", *HEADINGS]]
    for row in found.rows:
        table += row_cells(row, row.configuration.letter)
    parts = ["\n".join(key), lay_out(table)]
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
