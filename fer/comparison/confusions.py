"""The figure that shows how answers differ from the baseline's."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from fer.comparison.answers import Joined, join
from fer.comparison.canvas import canvas
from fer.comparison.comparing import Comparison
from fer.expressions import EXPRESSIONS
from fer.metrics import Floats, Ints, confusion_matrix


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
