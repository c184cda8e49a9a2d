"""Draw training histories and features as matplotlib figures, in the style of the figures of tests."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from fer.evaluation.figures import BLUE, ORANGE, new_figure
from fer.evaluation.names import (
    FEATURE_STD,
    KNN_ACCURACY,
    LEARNING_RATE,
    LINEAR_ACCURACY,
    RANK_ME,
    TRAINING_LOSS,
    VALIDATION_ACCURACY,
    VALIDATION_LOSS,
)

POINTS = {
    "surprise": ("#E69F00", "o"),
    "fear": ("#CC79A7", "s"),
    "disgust": ("#009E73", "^"),
    "happiness": (ORANGE, "D"),
    "sadness": (BLUE, "v"),
    "anger": ("#000000", "X"),
    "neutral": ("#56B4E9", "P"),
}
"""Colour and shape of each expression's points; the shapes are for those who see the colours alike."""
PANELS = {
    "loss": (TRAINING_LOSS, VALIDATION_LOSS),
    "accuracy": (VALIDATION_ACCURACY,),
    "learning rate": (LEARNING_RATE,),
    "probes": (KNN_ACCURACY, LINEAR_ACCURACY),
    "feature std": (FEATURE_STD,),
    "RankMe": (RANK_ME,),
}
"""Keys of a training history, by the panel that shows them."""
STYLES = (("o-", BLUE), ("s--", ORANGE))
"""Marker with line, and colour, of a panel's first and second key."""


def learning_curves(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw losses, validation figures and learning rate by epoch, a panel for each kind that was recorded.

    Args:
        history: Figures of each epoch, from the first on, under the keys of `PANELS`; one at least has a loss.
        title: Stands above the figure.
    """
    recorded: set[str] = set().union(*history)
    panels = {panel: keys for panel, keys in PANELS.items() if recorded.intersection(keys)}
    figure = new_figure(8, 0.8 + 2.3 * len(panels), title)
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (panel, keys) in zip(rows, panels.items(), strict=True):
        for key, (style, color) in zip(keys, STYLES, strict=False):
            # Not every epoch has every figure.
            points = {epoch: row[key] for epoch, row in enumerate(history, start=1) if key in row}
            if points:
                axes.plot(list(points), list(points.values()), style, color=color, markersize=4, label=key)
        axes.set_ylabel(panel)
        axes.grid(alpha=0.3)
        if len(keys) > 1:
            axes.legend()
        if VALIDATION_ACCURACY in keys:
            _mark_best(axes, history)
    rows[-1].set_xlabel("epoch")
    rows[-1].set_xlim(0.5, len(history) + 0.5)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _mark_best(axes: Axes, history: Sequence[Mapping[str, float]]) -> None:
    """Point out the first epoch of the highest validation accuracy; another score may have chosen the epoch."""
    values = [row.get(VALIDATION_ACCURACY, -1.0) for row in history]
    best = max(values)
    epoch = values.index(best) + 1
    axes.plot(epoch, best, "*", color="black", markersize=11)
    axes.set_title(f"best validation accuracy {best:.1%} at epoch {epoch}", fontsize=10)


def feature_map_figure(points: ArrayLike, expressions: Sequence[str], title: str) -> Figure:
    """Draw a map of features, each image a point in the colour and shape of its expression.

    Args:
        points: Positions `(N, 2)` whose axes have no meaning, such as t-SNE's.
        expressions: The true expression of each image, by name.
        title: Stands above the map.
    """
    positions, names = np.asarray(points), np.asarray(expressions)
    figure = new_figure(8, 7, title)
    axes = figure.add_subplot()
    # Many points are drawn small, so that those below stay visible.
    size = float(np.clip(8000 / len(names), 8, 40))
    for name, (colour, shape) in POINTS.items():
        x, y = positions[names == name].T
        if len(x):
            label = f"{name} ({len(x)})"
            axes.scatter(x, y, s=size, color=colour, marker=shape, linewidths=0, alpha=0.7, label=label)
    axes.set_xticks([])
    axes.set_yticks([])
    enlarged = (40 / size) ** 0.5
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, markerscale=enlarged)
    return figure
