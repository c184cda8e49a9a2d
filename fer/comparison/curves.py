"""The figures of a comparison that show training: curves by epoch, and accuracy against the time it took."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer.comparison.canvas import canvas, legend_below, legend_height, style_of
from fer.comparison.comparing import Comparison
from fer.comparison.configurations import LOSS, SCORE, Configuration
from fer.comparison.tables import ACCURACY, metric

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
