"""The figures of a comparison, as matplotlib `Figure` objects without global state."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer.comparison.comparing import Comparison
from fer.comparison.configurations import LOSS, SCORE, Configuration
from fer.comparison.predictions import Joined, join
from fer.comparison.tables import ACCURACY, CLASS_MEAN, MEASURES, Row, metric
from fer.evaluation.metrics import Floats, Ints, confusion_matrix
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


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")
LINES = ("-", "--", ":", "-.")


def style(number: int) -> tuple[str, str, str]:
    """Return colour, marker and line of the configuration at a place in the list."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], LINES[number // len(COLOURS) % len(LINES)]


def style_of(found: Comparison, one: Configuration) -> tuple[str, str, str]:
    """Return colour, marker and line of one of the configurations compared."""
    return style(found.configurations.index(one))


def canvas(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of a size in inches, title included."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False, wrap=True)
    return figure


def legend_height(entries: int) -> float:
    """Return the inches that a legend of so many entries takes."""
    return 0.22 * -(-entries // 2)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of these axes below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)


def confusion_difference(found: Comparison, name: str, title: str) -> Figure | None:
    """Draw how the others' confusion matrices differ from the baseline's, in points of each true class.

    Without a baseline the first configuration with answers stands for it. The images are
    those both answered; several seeds are averaged. None where no two have answers on the set.
    """
    answered = [one for one in found.configurations if one.answers(name)]
    if len(answered) < 2 or (found.baseline and found.baseline not in answered):
        return None
    reference = found.baseline or answered[0]
    pairs = [(one, join(one.answers(name), reference.answers(name))) for one in answered if one is not reference]
    panels = [(one, *_confusions(joined)) for one, joined in pairs if joined.alike]
    if not panels:
        return None
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    against = f"{title}: answers compared with those of {reference.short()}, in points of each true expression"
    figure = canvas(max(6.5, 1.8 + 3.0 * columns), 0.7 + 3.6 * lines, against)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    most = max(5.0, *(float(np.abs(change).max()) for _, change, _ in panels))
    for number, axes in enumerate(grid.flat):
        if number < len(panels):
            one, change, support = panels[number]
            image = _changes(axes, change, support, most)
            axes.set_title(one.short(34), fontsize=9, parse_math=False)
        else:
            axes.set_visible(False)
    for number in range(len(panels)):
        axes = grid.flat[number]
        if number % columns == 0:
            axes.set_ylabel("true expression", fontsize=9)
        if number + columns >= len(panels):
            axes.set_xlabel("answer", fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.8, label="points; blue: more often")
    return figure


def _changes(axes: Axes, change: Floats, support: Ints, most: float) -> AxesImage:
    shown = np.ma.masked_where(np.broadcast_to(support[:, None] == 0, change.shape), change)
    axes.set_facecolor("lightgrey")
    image = axes.imshow(shown, cmap="RdBu", vmin=-most, vmax=most)
    for (true, answer), value in np.ndenumerate(change):
        text = f"{value:+.0f}".replace("+0", "0").replace("-0", "0") if support[true] else "-"
        bright = abs(value) > 0.65 * most
        axes.text(answer, true, text, ha="center", va="center", fontsize=7.5, color="white" if bright else "black")
    axes.set_xticks(range(len(EXPRESSIONS)), EXPRESSIONS, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(EXPRESSIONS)), EXPRESSIONS, fontsize=8)
    return image


def _confusions(joined: Joined) -> tuple[Floats, Ints]:
    """Return the difference of the confusion matrices in points of each true class `(7, 7)`, and images by class."""
    size = len(EXPRESSIONS)
    ours, theirs = (
        np.mean([confusion_matrix(joined.labels, answers, size) for answers in side], axis=0)
        for side in (joined.first, joined.second)
    )
    support: NDArray[np.int64] = np.bincount(joined.labels, minlength=size)
    return 100 * (ours - theirs) / np.maximum(support, 1)[:, None], support


CURVES = {LOSS: "loss in training", SCORE: "accuracy on validation, %"}
"""What is drawn by epoch."""


def learning_curves(found: Comparison) -> Figure | None:
    """Draw loss and validation accuracy by epoch: a thin line for each seed, a thick one for their mean."""
    trained = [one for one in found.configurations if any(run.curves.get(SCORE) for run in one.runs)]
    if not trained:
        return None
    figure = canvas(8.5, 3.6 + legend_height(len(trained)), "Learning curves")
    panels = figure.subplots(1, len(CURVES))
    for axes, (key, title) in zip(panels, CURVES.items(), strict=True):
        for one in trained:
            colour, _, line = style_of(found, one)
            curves = [dict(run.curves[key]) for run in one.runs if run.curves.get(key)]
            scale = 100 if key == SCORE else 1
            for curve in curves if len(curves) > 1 else []:
                axes.plot(
                    list(curve), [scale * value for value in curve.values()], line, color=colour, lw=0.8, alpha=0.4
                )
            epochs = sorted(set(curves[0]).intersection(*curves)) if curves else []
            mean = [scale * float(np.mean([curve[epoch] for curve in curves])) for epoch in epochs]
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, mean, line, color=colour, lw=2, marker=marker, label=one.short())
        axes.set(xlabel="epoch", title=title)
        axes.title.set_fontsize(10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    legend_below(figure, panels[0])
    return figure


def minutes(found: Comparison) -> Figure | None:
    """Draw accuracy against the minutes of training: a small mark for each run, a large one for their mean."""
    timed = [one for one in found.configurations if any(run.minutes for run in one.runs)]
    names = [name for name in found.titles if any(_timed(one, name) for one in timed)]
    if not names:
        return None
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = canvas(
        max(6.5, 3.2 * columns), 0.4 + 3.1 * lines + legend_height(len(timed)), "Accuracy and training time"
    )
    grid = figure.subplots(lines, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(names):
            axes.set_visible(False)
            continue
        for one in timed:
            _times(axes, _timed(one, names[number]), one.short(), *style_of(found, one)[:2])
        axes.set_title(found.titles[names[number]], fontsize=10)
        axes.set(xlabel="minutes", ylabel="accuracy, %")
        axes.set_xlim(left=0)
        axes.margins(0.12)
        axes.grid(alpha=0.3)
    legend_below(figure, grid.flat[0])
    return figure


def _timed(one: Configuration, name: str) -> list[tuple[float, float]]:
    key = metric(name, ACCURACY)
    return [(run.minutes, 100 * run.metrics[key]) for run in one.runs if run.minutes and key in run.metrics]


def _times(axes: Axes, points: Sequence[tuple[float, float]], label: str, colour: str, marker: str) -> None:
    x, y = (list(values) for values in zip(*points, strict=True)) if points else ([], [])
    if len(points) > 1:
        axes.plot(x, y, marker, color=colour, markersize=4, alpha=0.5)
        x, y = [float(np.mean(x))], [float(np.mean(y))]
    axes.plot(x, y, marker, color=colour, markersize=9, markeredgecolor="white", label=label)
