"""The cells of a comparison's tables as text, which all its forms share."""

from fer.comparison.comparing import Comparison
from fer.comparison.configurations import ID, Configuration, differing_options
from fer.comparison.tables import ACCURACY, CLASS_MEAN, MEASURES, Cell, Row
from fer.comparison.words import p_words, points
from fer.expressions import EXPRESSIONS

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
