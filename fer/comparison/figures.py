"""The figures of a comparison, as matplotlib `Figure` objects without global state."""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer.comparison.canvas import canvas, legend_below, legend_height, style_of
from fer.comparison.comparing import Comparison
from fer.comparison.confusions import confusion_difference
from fer.comparison.curves import learning_curves, minutes
from fer.comparison.tables import ACCURACY, CLASS_MEAN, MEASURES, Row
from fer.expressions import EXPRESSIONS


def figures(found: Comparison) -> dict[str, Figure]:
    """Return every figure the comparison has the material for, by file name without ending."""
    drawn: dict[str, Figure | None] = {}
    for name, title in found.titles.items():
        drawn[f"per_class-{name}"] = per_class(found, name, title)
        drawn[f"confusion_difference-{name}"] = confusion_difference(found, name, title)
    drawn["learning_curves"] = learning_curves(found)
    drawn["minutes"] = minutes(found)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def svg(figure: Figure) -> str:
    """Return a figure as SVG, equal for equal figures."""
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "fer"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def per_class(found: Comparison, name: str, title: str) -> Figure:
    """Draw every configuration's accuracy by expression and overall as a dot with its 95 % interval."""
    rows = [row for row in found.rows if row.place == name]
    apart = 0.16 if len(rows) < 5 else 0.11
    pitch = apart * len(rows) + 0.2
    figure = canvas(9.5, 0.9 + pitch * len(MEASURES) + legend_height(len(rows)), f"{title}: accuracy by expression")
    axes = figure.add_subplot()
    offsets = (np.arange(len(rows)) - (len(rows) - 1) / 2) * apart / pitch
    for row, offset in zip(rows, offsets, strict=True):
        _dots(axes, row, float(offset), *style_of(found, row.configuration)[:2])
    support = next((row.support for row in rows if row.support), {})
    names = {ACCURACY: "accuracy", CLASS_MEAN: "mean of classes"}
    names |= {key: f"{key} ({support[key]})" if key in support else key for key in EXPRESSIONS}
    axes.set_yticks(range(len(MEASURES)), [names[key] for key in MEASURES])
    axes.set_ylim(len(MEASURES) - 0.5, -0.5)
    for line in range(1, len(MEASURES)):
        overall = line == len(EXPRESSIONS)
        axes.axhline(line - 0.5, color="#999999" if overall else "#dddddd", linewidth=1.2 if overall else 0.8)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("accuracy in per cent, with 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    legend_below(figure, axes)
    return figure


def _dots(axes: Axes, row: Row, offset: float, colour: str, marker: str) -> None:
    """Draw a row of the table: filled dots with intervals, and what was reported of the same as hollow ones."""
    label: str | None = row.configuration.short()
    for place, cell in enumerate(row.cells[key] for key in MEASURES):
        if cell.interval:
            ends = [100 * end for end in cell.interval]
            axes.plot(ends, [place + offset] * 2, "-", color=colour, linewidth=1.6, solid_capstyle="butt")
        if cell.value is not None:
            axes.plot(100 * cell.value, place + offset, marker, color=colour, markersize=5, label=label)
            label = None
        if cell.reported is not None:
            hollow = {"markerfacecolor": "white", "markeredgecolor": colour, "markersize": 5, "linestyle": "none"}
            axes.plot(100 * cell.reported, place + offset, marker, **hollow)  # type: ignore[arg-type]
