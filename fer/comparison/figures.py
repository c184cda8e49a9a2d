"""Draw the figures of a comparison as matplotlib `Figure` objects without global state."""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer.comparison.comparing import Comparison
from fer.comparison.grouping import Configuration, style
from fer.comparison.runs import MEASURES, OVERALL, SharedImages, align
from fer.comparison.table import Row
from fer.evaluation.figures import heatmap, new_figure
from fer.evaluation.metrics import Floats, Ints, confusion_matrix
from fer.evaluation.names import ACCURACY, TRAINING_LOSS, VALIDATION_ACCURACY, metric_key
from fer.expressions import EXPRESSIONS

TITLES = {
    "per_class": "Accuracy by expression",
    "confusion_difference": "Difference of the confusion matrices",
    "learning_curves": "Learning curves",
    "minutes": "Accuracy against training time",
}
"""Titles by the beginning of a figure's name, before a dash and the data set."""
COLUMNS = 3
"""Panels beside each other at most."""
CURVES = {TRAINING_LOSS: "loss in training", VALIDATION_ACCURACY: "accuracy on validation"}
"""Titles of the metrics that are drawn by epoch."""


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Return every figure that the comparison has the data for, by name."""
    drawn: dict[str, Figure | None] = {}
    for dataset in comparison.titles:
        drawn[f"per_class-{dataset}"] = per_class(comparison, dataset)
        drawn[f"confusion_difference-{dataset}"] = confusion_difference(comparison, dataset)
    drawn["learning_curves"] = learning_curves(comparison)
    drawn["minutes"] = minutes(comparison)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def svg(figure: Figure) -> str:
    """Return a figure as SVG, equal for equal figures."""
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "fer"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def per_class(comparison: Comparison, dataset: str) -> Figure:
    """Draw every configuration's accuracy by expression and overall as a dot with its 95 % interval."""
    rows = [row for row in comparison.rows if row.subset == dataset]
    # Inches between two configurations and between two measures.
    distance = 0.16 if len(rows) < 5 else 0.11
    pitch = distance * len(rows) + 0.2
    height = 0.6 + pitch * len(MEASURES) + _legend_height(len(rows))
    figure = new_figure(9.5, height, f"{comparison.titles[dataset]}: accuracy by expression")
    axes = figure.add_subplot()
    for number, row in enumerate(rows):
        from_middle = number - (len(rows) - 1) / 2
        _dots(axes, row, offset=from_middle * distance / pitch)
    support = next((row.support for row in rows if row.support), {})
    names = dict(zip(MEASURES, (*EXPRESSIONS, *OVERALL.values()), strict=True))
    names |= {name: f"{name} ({count})" for name, count in support.items()}
    axes.set_yticks(range(len(MEASURES)), list(names.values()))
    axes.set_ylim(len(MEASURES) - 0.5, -0.5)
    # Means over all stand apart from the expressions.
    axes.axhline(len(EXPRESSIONS) - 0.5, color="#999999", linewidth=1.2)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("accuracy in per cent, with 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    _legend_below(figure, axes)
    return figure


def _dots(axes: Axes, row: Row, offset: float) -> None:
    """Draw a row of the table: filled dots with intervals, and what was reported of the same as hollow ones."""
    colour, marker, _ = style(row.configuration)
    label: str | None = row.configuration.short_label()
    for position, measure in enumerate(MEASURES):
        y = position + offset
        measurement = row.measurements[measure]
        if measurement.interval:
            ends = [100 * end for end in measurement.interval]
            axes.plot(ends, [y, y], "-", color=colour, linewidth=1.6)
        if measurement.value is not None:
            percent = 100 * measurement.value
            axes.plot(percent, y, marker, color=colour, markersize=5, label=label)
            # A label at every dot would be a line of the legend each.
            label = None
        if measurement.reported is not None:
            percent = 100 * measurement.reported
            axes.plot(percent, y, marker, color=colour, markerfacecolor="white")


def confusion_difference(comparison: Comparison, dataset: str) -> Figure | None:
    """Draw how the others' confusion matrices differ from the baseline's, in points of each true class.

    Without a baseline the first configuration with predictions stands for it. The images are those both have; several
    seeds are averaged. None where no two have predictions on the data set.
    """
    predicted = [one for one in comparison.configurations if one.predictions(dataset)]
    reference = comparison.baseline or next(iter(predicted), None)
    if reference not in predicted:
        return None
    changes: dict[Configuration, tuple[Floats, Ints]] = {}
    for one in predicted:
        images = align(one.predictions(dataset), reference.predictions(dataset))
        if one is not reference and images.comparable:
            changes[one] = _confusion_change(images)
    if not changes:
        return None
    title = f"{comparison.titles[dataset]}: answers compared with those of {reference.short_label()}"
    figure, panels = _panels(len(changes), title, size=(3.6, 3.6))
    # One scale for all panels, and none on which differences of a few images look great.
    limit = max(5.0, *(float(np.abs(change).max()) for change, _ in changes.values()))
    for axes, (one, (change, support)) in zip(panels, changes.items(), strict=True):
        texts = {cell: _whole_points(value) for cell, value in np.ndenumerate(change)}
        limits = (-limit, limit)
        image = heatmap(axes, change, texts, support, cmap="RdBu", limits=limits, fontsize=7.5)
        axes.set_title(one.short_label(34), fontsize=9, parse_math=False)
        axes.tick_params(labelsize=8)
        axes.set(xlabel="answer", ylabel="true expression")
    label = "points of the true expression; blue: more often"
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label=label)
    return figure


def _confusion_change(images: SharedImages) -> tuple[Floats, Ints]:
    """Return the difference of the confusion matrices in points of each true class `(7, 7)`, and images by class."""
    size = len(EXPRESSIONS)
    means = []
    for side in (images.first, images.second):
        by_run = [confusion_matrix(images.labels, predicted, size) for predicted in side]
        means.append(np.mean(by_run, axis=0))
    support = np.bincount(images.labels, minlength=size).astype(np.int64)
    return 100 * (means[0] - means[1]) / np.maximum(support, 1)[:, None], support


def _whole_points(difference: float) -> str:
    # What rounds to zero has no sign.
    return f"{difference:+.0f}".replace("+0", "0").replace("-0", "0")


def learning_curves(comparison: Comparison) -> Figure | None:
    """Draw loss and validation accuracy by epoch: a thin line for each seed, a thick one for their mean."""
    trained = []
    for one in comparison.configurations:
        if any(run.curves.get(VALIDATION_ACCURACY) for run in one.runs):
            trained.append(one)
    if not trained:
        return None
    figure = new_figure(8.5, 3.3 + _legend_height(len(trained)), TITLES["learning_curves"])
    panels = figure.subplots(1, len(CURVES))
    for axes, (key, title) in zip(panels, CURVES.items(), strict=True):
        for one in trained:
            _mean_curve(axes, one, key)
        axes.set_xlabel("epoch")
        axes.set_title(title, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    _legend_below(figure, panels[0])
    return figure


def _mean_curve(axes: Axes, one: Configuration, key: str) -> None:
    """Draw a configuration's curves of a metric, and their mean at the epochs that all of them have."""
    colour, _, line = style(one)
    curves = [dict(run.curves[key]) for run in one.runs if run.curves.get(key)]
    for curve in curves:
        epochs, values = list(curve), list(curve.values())
        axes.plot(epochs, values, line, color=colour, lw=0.8, alpha=0.4)
    # A mean over some of the seeds would jump where one of them ends.
    epochs = sorted(set(curves[0]).intersection(*curves)) if curves else []
    means = [float(np.mean([curve[epoch] for curve in curves])) for epoch in epochs]
    # A line of one point shows nothing.
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, means, line, color=colour, lw=2, marker=marker, label=one.short_label())


def minutes(comparison: Comparison) -> Figure | None:
    """Draw accuracy against the minutes of training: a small mark for each run, a large one for their mean."""
    timed = [one for one in comparison.configurations if any(run.minutes for run in one.runs)]
    datasets = []
    for dataset in comparison.titles:
        if any(_times(one, dataset) for one in timed):
            datasets.append(dataset)
    if not datasets:
        return None
    figure, panels = _panels(len(datasets), TITLES["minutes"], size=(3.2, 3.1), legend=len(timed))
    for axes, dataset in zip(panels, datasets, strict=True):
        for one in timed:
            points = np.array(_times(one, dataset)).reshape(-1, 2)
            # Without points too, so that the legend names the configuration.
            mean = points.mean(axis=0, keepdims=True) if len(points) else points
            colour, marker, _ = style(one)
            axes.plot(*points.T, marker, color=colour, markersize=4, alpha=0.5)
            axes.plot(*mean.T, marker, color=colour, markersize=9, label=one.short_label())
        axes.set_title(comparison.titles[dataset], fontsize=10)
        axes.set(xlabel="minutes", ylabel="accuracy, %")
        axes.set_xlim(left=0)
        axes.margins(0.12)
        axes.grid(alpha=0.3)
    _legend_below(figure, panels[0])
    return figure


def _times(one: Configuration, dataset: str) -> list[tuple[float, float]]:
    """Return minutes and accuracy in per cent of the runs that have both."""
    times = []
    for run in one.runs:
        accuracy = run.metrics.get(metric_key(dataset, ACCURACY))
        if run.minutes and accuracy is not None:
            times.append((run.minutes, 100 * accuracy))
    return times


def _panels(
    count: int,
    title: str,
    size: tuple[float, float],
    legend: int = 0,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels of a size in inches, and room for a legend of so many entries."""
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    width = max(6.5, size[0] * columns)
    figure = new_figure(width, size[1] * lines + _legend_height(legend), title)
    axes = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for empty in axes[count:]:
        empty.set_visible(False)
    return figure, axes[:count]


def _legend_height(entries: int) -> float:
    """Return the inches that a legend of two columns takes."""
    return 0.22 * -(-entries // 2)


def _legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of these axes below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
