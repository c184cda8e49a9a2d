"""A comparison as Markdown."""

import re
from collections.abc import Iterable, Sequence

from fer.comparison.cells import (
    FIGURES,
    HEADINGS,
    TEST_HEADINGS,
    members,
    option_cells,
    paired_cells,
    printable,
    row_cells,
)
from fer.comparison.comparing import Comparison


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
