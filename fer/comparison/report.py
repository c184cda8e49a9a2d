"""Lay out a comparison as sections of sentences, tables and pictures, and write these in each form of the report."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fer.comparison.comparing import Comparison, Measurement, Row
from fer.comparison.figures import TITLES, style
from fer.comparison.grouping import differing_options, one_line
from fer.comparison.runs import MEASURES, OVERALL
from fer.comparison.verdicts import p_text, points
from fer.expressions import EXPRESSIONS
from fer.utils.rendering import escape_markdown, markdown_table, render, text_table

TESTS_HEAD = (
    *("data set", "A", "B", "measure", "A - B, points [95 %]", "only A", "only B"),
    *("p", "adjusted p", "smallest, points", "test", "images"),
)
FIGURES_FOLDER = "figures"
"""Folder of the figures beside the report."""


@dataclass(frozen=True)
class Cell:
    """A text in one line.

    Attributes:
        text: The text.
        detail: Small print.
        everywhere: Whether there is room for the small print beside the page too.
        colour: The colour of the configuration it is about, if it introduces one.
    """

    text: str
    detail: str = ""
    everywhere: bool = False
    colour: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".rstrip() if self.everywhere else self.text


@dataclass(frozen=True)
class Lines:
    """Sentences of a kind: `key`, `verdict`, `warning` or `note`."""

    kind: str
    lines: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table; all rows are as long as the head, and all but the first `left` columns are flush right."""

    kind: ClassVar = "table"
    head: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: int = 2

    def texts(self) -> list[list[str]]:
        """Return head and rows as texts."""
        return [[str(cell) for cell in row] for row in (self.head, *self.rows)]


@dataclass(frozen=True)
class Picture:
    """A figure, by its name, and its SVG."""

    kind: ClassVar = "picture"
    name: str
    svg: str

    @property
    def figure(self) -> str:
        """Return which figure it is, whatever the data set, such as `per_class`."""
        return self.name.partition("-")[0]

    @property
    def title(self) -> str:
        """Return what it shows."""
        return TITLES[self.figure]

    @property
    def address(self) -> str:
        """Return a data address, so that ids of several figures cannot meet, nor their text become part of a page."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


Block = Lines | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


def sections(comparison: Comparison, svgs: Mapping[str, str]) -> list[Section]:
    """Lay out the report.

    Args:
        comparison: The comparison.
        svgs: Its figures as SVG, by name.
    """
    pictures = {name: Picture(name, svg) for name, svg in svgs.items()}
    report = [
        Section("Comparison", (_key(comparison),)),
        Section("What differs", _options(comparison)),
        Section("What came out", _outcome(comparison)),
    ]
    for dataset, title in comparison.titles.items():
        rows = [row for row in comparison.rows if row.subset.partition("/")[0] == dataset]
        # What remains after all data sets is about training.
        own = [pictures.pop(name) for name in list(pictures) if name.endswith(f"-{dataset}")]
        report.append(Section(f"{title}: accuracy in per cent", (_table(comparison, rows), *own)))
    report += [
        Section("Training", tuple(pictures.values())),
        Section("Tests", _tests(comparison)),
        Section("How this was computed", (_lines("note", comparison.methods),)),
    ]
    return [section for section in report if section.blocks]


def terminal(comparison: Comparison) -> str:
    """Return the key, the table and the sentences; how they were computed stands in the report."""
    prefixes = {"verdict": "* ", "warning": "warning: "}
    parts = []
    for block in (_key(comparison), _table(comparison, comparison.rows), *_outcome(comparison)):
        if isinstance(block, Lines):
            parts.append("\n".join(prefixes.get(block.kind, "") + line.text for line in block.lines))
        elif isinstance(block, Table):
            parts.append(text_table(block.texts(), block.left))
    return "\n\n".join(parts)


def markdown(report: Sequence[Section]) -> str:
    """Write the report as Markdown, in which the figures are files beside it."""
    parts = []
    for number, section in enumerate(report):
        parts.append(f"{'##' if number else '#'} {escape_markdown(section.title)}")
        for block in section.blocks:
            if isinstance(block, Lines):
                prefix = "- **Warning:** " if block.kind == "warning" else "- "
                parts.append("\n".join(prefix + escape_markdown(line.text) for line in block.lines))
            elif isinstance(block, Table):
                parts.append(markdown_table([[escape_markdown(text) for text in row] for row in block.texts()]))
            else:
                parts.append(f"![{block.title}]({FIGURES_FOLDER}/{block.name}.svg)")
    return "\n\n".join(parts) + "\n"


def html(report: Sequence[Section]) -> str:
    """Write the report as one page that needs nothing beside it: it loads no other file and runs no script."""
    return render("comparison.html", title="Comparison of runs", sections=report)


def _cells(texts: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(Cell(one_line(text)) for text in texts)


def _lines(kind: str, texts: Iterable[str]) -> Lines:
    return Lines(kind, _cells(texts))


def _key(comparison: Comparison) -> Lines:
    """Return which letter and colour stands for which configuration, and the runs it consists of."""
    lines = []
    for one in comparison.configurations:
        colour, _, _ = style(one)
        lines.append(Cell(f"{one.letter}: {one.name} ({one.origin})", colour=colour))
    return Lines("key", tuple(lines))


def _options(comparison: Comparison) -> tuple[Block, ...]:
    """Return the table of options that differ, of configurations of ours."""
    options = differing_options(comparison.configurations)
    if not options:
        return ()
    letters = [one.letter for one in comparison.configurations if not one.reported]
    rows = list(zip(letters, *options.values(), strict=True))
    return (Table(_cells(("", *options)), tuple(_cells(row) for row in rows), left=len(rows[0])),)


def _outcome(comparison: Comparison) -> tuple[Block, ...]:
    verdicts = [_lines("verdict", sentences) for sentences in comparison.verdicts.values()]
    blocks = [
        _lines("warning", comparison.warnings),
        *(verdicts or [_lines("note", ["There is nothing to test."])]),
        _lines("note", comparison.notes),
    ]
    return tuple(block for block in blocks if block.lines)


def _table(comparison: Comparison, rows: Sequence[Row]) -> Table:
    """Return rows of the table of accuracies, and below each what was reported of the same where anything was."""
    support = next((row.support for row in rows if row.support and "/" not in row.subset), {})
    head = [*_cells(("", "data set", "images"))]
    head += [Cell(name, f"{support[name]} images" if name in support else "") for name in EXPRESSIONS]
    head += [Cell(name, "[95 %]", everywhere=True) for name in OVERALL.values()]
    lines = []
    for row in rows:
        one = row.configuration
        colour, _, _ = style(one)
        start = Cell(one.letter, one.name, colour=colour)
        cells = [_accuracy(measure, row.measurements[measure]) for measure in MEASURES]
        lines.append((start, Cell(row.subset), Cell(row.image_counts), *cells))
        reported = [row.measurements[measure].reported for measure in MEASURES]
        # A row of dashes below every row would say nothing.
        if any(value is not None for value in reported):
            lines.append(_cells(["", "reported in 2021", "", *map(_percent, reported)]))
    return Table(tuple(head), tuple(lines))


def _accuracy(measure: str, measurement: Measurement) -> Cell:
    """Return a figure in per cent, such as `63.0 ±1.0`, with its interval; `-` where there is none."""
    text, interval = _percent(measurement.value), ""
    if measurement.deviation is not None:
        text += f" ±{measurement.deviation * 100:.1f}"
    if measurement.interval:
        low, high = measurement.interval
        interval = f"[{low * 100:.1f}, {high * 100:.1f}]"
    # Nine intervals beside each other are wider than a terminal.
    return Cell(text, interval, everywhere=measure not in EXPRESSIONS)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}"


def _tests(comparison: Comparison) -> tuple[Block, ...]:
    rows = []
    for test in comparison.tests:
        smallest = "none shows" if test.smallest == float("inf") else _percent(test.smallest)
        p, adjusted = (p_text(value).removeprefix("p ").removeprefix("= ") for value in (test.p, test.adjusted_p))
        row = [
            *(test.dataset, test.first.letter, test.second.letter),
            OVERALL[test.measure],
            f"{points(test.estimate)} [{points(test.low)}, {points(test.high)}]",
            *("-" if count is None else str(count) for count in (test.only_first, test.only_second)),
            *(p, adjusted, smallest, test.method, str(test.images)),
        ]
        rows.append(_cells(row))
    return (Table(_cells(TESTS_HEAD), tuple(rows), left=4),) if rows else ()
