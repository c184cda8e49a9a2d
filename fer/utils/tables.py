"""Lay out tables as text, Markdown and CSV."""

import csv
import io
import re
from collections.abc import Iterable, Sequence


def text_table(rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Lay out a table for a terminal.

    Args:
        rows: The headings and the rows, all of one length.
        left: So many first columns are flush left; the others, numbers, are flush right.
    """
    widths = _widths(rows)
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells))
    rule = "-" * len(lines[0])
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:]])


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in Markdown, aligned so that a terminal shows it too.

    Args:
        rows: The headings and the rows, all of one length; cells are Markdown already.
    """
    widths = _widths(rows)
    rule = ["-" * width for width in widths]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def escape_markdown(text: str) -> str:
    """Return a text in one line that Markdown shows as it is: no mark-up, no HTML, no link."""
    escaped = re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", text)
    return re.sub(r"[&<>]", lambda sign: f"&#{ord(sign[0])};", escaped)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV; lines end in a line feed on every system."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def no_formula(cell: str) -> str:
    """Return a cell with an apostrophe before it where a spreadsheet would compute it."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")) else cell  # noqa: RUF001


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    columns = zip(*rows, strict=True)
    return [max(map(len, column)) for column in columns]
