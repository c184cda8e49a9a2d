"""Draw reports, training histories, features and data sets as matplotlib figures without global state.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart. At the default 100 dots per inch every
figure is about 800 pixels wide. Titles are wrapped and never read as mathematics, so any run name is safe.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image, ImageOps

from fer.evaluation.names import TRAINING_LOSS, VALIDATION_ACCURACY
from fer.evaluation.report import Report
from fer.expressions import EXPRESSIONS

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
POINTS = {
    "surprise": ("#E69F00", "o"),
    "fear": ("#CC79A7", "s"),
    "disgust": ("#009E73", "^"),
    "happiness": (ORANGE, "D"),
    "sadness": (BLUE, "v"),
    "anger": ("#000000", "X"),
    "neutral": ("#56B4E9", "P"),
}
"""Colour and shape of each expression's points; who cannot tell the colours apart sees the shapes."""


PANELS = {
    "loss": {TRAINING_LOSS, "validation/loss"},
    "accuracy": {VALIDATION_ACCURACY},
    "learning rate": {"lr"},
    "probes": {"validation/knn_accuracy", "validation/linear_accuracy"},
    "feature std": {"validation/feature_std"},
}
"""Keys of a training history, by the panel that shows them."""
STYLES = {TRAINING_LOSS: ("o-", BLUE), "lr": ("o-", GREY), "validation/knn_accuracy": ("o-", BLUE)}
"""Line and colour of some keys; all others are dashed."""


def _figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, sized in inches without its wrapped title, which adds a line's height for each line."""
    lines = textwrap.wrap(title, int(width * 9))
    figure = Figure(figsize=(width, height + 0.25 * len(lines)), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=12, parse_math=False)
    return figure


def confusion_figure(report: Report, title: str) -> Figure:
    """Draw the confusion matrix: counts and percentages of each true class, coloured by the percentage.

    A class without samples has a grey row of dashes.
    """
    counts = report.confusion
    support = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(support, 1)
    figure = _figure(8, 6.5, title)
    axes = figure.add_subplot()
    axes.set_facecolor("lightgrey")
    without_images = np.broadcast_to(support == 0, counts.shape)
    image = axes.imshow(np.ma.masked_where(without_images, fractions), cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), count in np.ndenumerate(counts):
        fraction = fractions[true, predicted]
        text = f"{count}\n{fraction:.0%}" if support[true, 0] else "-"
        # Black cannot be read on the darkest blues.
        color = "white" if fraction > 0.7 else "black"
        axes.text(predicted, true, text, ha="center", va="center", fontsize=9, color=color)
    ticks = range(len(report.expressions))
    axes.set_xticks(ticks, report.expressions, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [f"{name} ({report.support[name]})" for name in report.expressions])
    axes.set_xlabel("predicted expression")
    axes.set_ylabel("true expression (images)")
    axes.set_title(
        f"images {report.count}, accuracy {report.accuracy:.1%}, mean of classes {report.mean_class_accuracy:.1%}",
        fontsize=10,
    )
    figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the true expression")
    return figure


def reliability_figure(report: Report, title: str, uncalibrated: float | None = None) -> Figure:
    """Draw accuracy against confidence by bin, above the number of images in each bin; the ECE is stated.

    Args:
        report: Holds the bins.
        title: Stands above the figure.
        uncalibrated: The ECE before temperature scaling, stated beside it; None without scaling.
    """
    filled = [entry for entry in report.bins if entry.count]
    middles = [(entry.low + entry.high) / 2 for entry in filled]
    width = 1 / len(report.bins)
    accuracy = np.array([entry.accuracy for entry in filled])
    confidence = np.array([entry.confidence for entry in filled])
    figure = _figure(8, 6.5, title)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.bar(middles, accuracy, width, color=BLUE, edgecolor="white", label="accuracy")
    upper.bar(
        middles,
        confidence - accuracy,
        width * 0.9,
        bottom=accuracy,
        hatch="//",
        edgecolor=ORANGE,
        facecolor="none",
        label="gap to mean confidence",
    )
    upper.plot([0, 1], [0, 1], "--", color=GREY, label="perfect calibration")
    upper.set(xlim=(0, 1), ylim=(0, 1.03), ylabel="fraction of right predictions")
    before = "" if uncalibrated is None else f" ({uncalibrated:.3f} before temperature scaling)"
    upper.set_title(f"images {report.count}, expected calibration error {report.ece:.3f}{before}", fontsize=10, pad=28)
    upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    bars = lower.bar(middles, [entry.count for entry in filled], width, color=GREY, edgecolor="white")
    lower.bar_label(bars, fontsize=8, padding=1)
    lower.set(xlabel="confidence of the prediction", ylabel="images")
    lower.margins(y=0.25)
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    return figure


def _curve(axes: Axes, history: Sequence[Mapping[str, float]], key: str, style: str, color: str) -> None:
    """Draw one key of the history; an epoch without it is skipped, and one point alone still shows."""
    points = [(epoch, row[key]) for epoch, row in enumerate(history, start=1) if key in row]
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, style, color=color, markersize=4, label=key)


def learning_curves(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw losses, validation figures and learning rate by epoch, a panel for each kind that was recorded.

    Args:
        history: One mapping for each epoch, from the first on, with any of `train/loss`, `validation/loss`,
            `validation/accuracy` (in [0, 1]), `lr`, and of a pre-training's probes.
        title: Stands above the figure.

    Raises:
        ValueError: No epoch holds any of these keys.
    """
    recorded: set[str] = set().union(*history)
    panels = [panel for panel, keys in PANELS.items() if keys & recorded]
    if not panels:
        raise ValueError("history holds no epoch with a loss, an accuracy or a learning rate, so there is no curve")
    figure = _figure(8, 0.8 + 2.3 * len(panels), title)
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        for key in sorted(PANELS[panel]):
            _curve(axes, history, key, *STYLES.get(key, ("s--", ORANGE)))
        axes.set_ylabel(panel)
        axes.grid(alpha=0.3)
        if panel in ("loss", "probes"):
            axes.legend()
        elif panel == "accuracy":
            _mark_best(axes, history)
    rows[-1].set_xlabel("epoch")
    rows[-1].set_xlim(0.5, len(history) + 0.5)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _mark_best(axes: Axes, history: Sequence[Mapping[str, float]]) -> None:
    """Point out the first epoch of the highest validation accuracy."""
    key = VALIDATION_ACCURACY
    best, epoch = max((row[key], -number) for number, row in enumerate(history, start=1) if key in row)
    axes.plot(-epoch, best, "*", color="black", markersize=11)
    axes.set_title(f"best validation accuracy {best:.1%} at epoch {-epoch}", fontsize=10)


def contact_sheet(pictures: Mapping[str, Sequence[Image.Image]], title: str, thumb: int = 64) -> Figure:
    """Lay out pictures in one labelled row per expression, each fitted into a white square of `thumb` pixels.

    Args:
        pictures: The pictures of each expression, of any mode and size; transparent parts become white.
        title: Stands above the sheet.
        thumb: Side of a picture, in pixels at 100 dots per inch.

    Raises:
        ValueError: There is no expression at all.
    """
    if not pictures:
        raise ValueError("pictures hold no expression, so there is no sheet to draw")
    columns = max(1, *(len(row) for row in pictures.values()))
    sheet = Image.new("RGB", (columns * thumb, len(pictures) * thumb), "white")
    for y, row in enumerate(pictures.values()):
        for x, picture in enumerate(row):
            # Two pixels of white on each side keep neighbours apart.
            fitted = ImageOps.contain(picture.convert("RGBA"), (thumb - 4, thumb - 4))
            left = x * thumb + (thumb - fitted.width) // 2
            top = y * thumb + (thumb - fitted.height) // 2
            sheet.paste(fitted, (left, top), mask=fitted)
    figure = _figure(max(6.0, sheet.width / 100 + 1.2), sheet.height / 100 + 0.2, title)
    axes = figure.add_subplot()
    axes.imshow(np.asarray(sheet))
    axes.set_xticks([])
    axes.set_yticks(
        [(y + 0.5) * thumb for y in range(len(pictures))],
        [f"{name} ({len(row)})" if row else f"{name} (none)" for name, row in pictures.items()],
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def feature_map_figure(points: ArrayLike, expressions: Sequence[str], title: str) -> Figure:
    """Draw a map of features, each image a point in the colour and shape of its expression.

    Args:
        points: Positions `(N, 2)` whose axes have no meaning, such as t-SNE's.
        expressions: The true expression of each image, by name.
        title: Stands above the map.

    Raises:
        ValueError: There is no point, a shape is wrong, or a name is no expression.
    """
    positions = np.asarray(points, dtype=np.float64)
    names = np.asarray(expressions, dtype=str)
    if not len(names) or positions.shape != (len(names), 2):
        raise ValueError(f"points must be ({len(names) or 'N'}, 2), a row per expression given, not {positions.shape}")
    if unknown := set(names.tolist()) - set(EXPRESSIONS):
        raise ValueError(f"expressions hold {', '.join(sorted(unknown))}, but there are {', '.join(EXPRESSIONS)} only")
    figure = _figure(8, 7, title)
    axes = figure.add_subplot()
    # Many points are drawn small, so that those below stay visible.
    size = float(np.clip(8000 / len(names), 8, 40))
    for name in EXPRESSIONS:
        inside = names == name
        if not inside.any():
            continue
        colour, shape = POINTS[name]
        label = f"{name} ({inside.sum()})"
        x, y = positions[inside].T
        axes.scatter(x, y, s=size, color=colour, marker=shape, linewidths=0, alpha=0.7, label=label)
    axes.set_xticks([])
    axes.set_yticks([])
    enlarged = (40 / size) ** 0.5
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, markerscale=enlarged)
    return figure
