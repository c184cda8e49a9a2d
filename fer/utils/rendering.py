"""Lay out tables as text, Markdown and CSV, and pages from the templates in `fer/templates`, with the day they bear."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parents[1] / "templates"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # noqa: RUF001
"""First signs of a cell that a spreadsheet computes."""


def text_table(rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Lay out a table for a terminal.

    Args:
        rows: The headings and the rows, all of one length.
        left: So many first columns are flush left; the others, numbers, are flush right.
    """
    widths = _widths(rows)
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[:left] = _pad(row[:left], widths[:left])
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
    lines = [" | ".join(_pad(row, widths)) for row in [rows[0], rule, *rows[1:]]]
    return "\n".join(f"| {line} |" for line in lines)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    columns = zip(*rows, strict=True)
    return [max(map(len, column)) for column in columns]


def _pad(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]


def escape_markdown(text: str) -> str:
    """Return a text in one line that Markdown shows as it is: no mark-up, no HTML, no link."""
    escaped = re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", text)
    # These would be read as HTML even behind a backslash.
    return re.sub(r"[&<>]", lambda sign: f"&#{ord(sign[0])};", escaped)


def unwrapped(text: str) -> str:
    """Return Markdown with each paragraph on one line, as pages want it that break a line wherever the text does."""
    # Rows of tables, items and quotations begin with these signs, and blank lines end a paragraph.
    return re.sub(r"(?<=[^\n|])\n(?![\n|>-])", " ", text.strip())


def today() -> str:
    """Return the day as pages and records say it, as YYYY-MM-DD; the same all over the world."""
    return datetime.now(UTC).date().isoformat()


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV; lines end in a line feed on every system."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def no_formula(cell: str) -> str:
    """Return a cell with an apostrophe before it where a spreadsheet would compute it."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def render(template: str, **values: Any) -> str:
    """Render a template.

    Args:
        template: Its file in `fer/templates`. Values are escaped in `.html` files, and in no others.
        **values: What it shows.

    Raises:
        jinja2.UndefinedError: The template names a value that is not given.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "Environment":
    # Not at the top: trainings write tables and no pages.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
