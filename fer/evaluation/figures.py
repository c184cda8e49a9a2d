"""Draw reports, training histories, features and data sets as matplotlib figures without global state.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart. At the default 100 dots per inch every
figure is about 800 pixels wide. Titles are wrapped and never read as mathematics, so any run name is safe.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from fer.evaluation.metrics import Floats, Ints
from fer.evaluation.report import Report
from fer.expressions import EXPRESSIONS

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, sized in inches without its wrapped title, which adds a line's height for each line."""
    lines = textwrap.wrap(title, int(width * 9))
    figure = Figure(figsize=(width, height + 0.25 * len(lines)), layout="constrained")
    # Names may hold dollar signs, which are no formulas.
    figure.suptitle("\n".join(lines), fontsize=12, parse_math=False)
    return figure


def heatmap(
    axes: Axes,
    values: Floats,
    texts: Mapping[tuple[int, ...], str],
    support: Ints,
    cmap: str,
    limits: tuple[float, float],
    fontsize: float,
) -> AxesImage:
    """Draw a value for each pair of true and predicted expression; one without images has a grey row of dashes.

    Args:
        axes: Where to draw.
        values: `(7, 7)`, true expressions in rows.
        texts: What each cell says, by its indices.
        support: Images of each true expression, `(7,)`.
        cmap: Name of the colour scale.
        limits: The values at its ends.
        fontsize: Of the cells' texts, in points.
    """
    low, high = limits
    absent = np.broadcast_to(support[:, None] == 0, values.shape)
    axes.set_facecolor("lightgrey")
    image = axes.imshow(np.ma.masked_where(absent, values), cmap=cmap, vmin=low, vmax=high)
    for (true, predicted), value in np.ndenumerate(values):
        text = texts[true, predicted] if support[true] else "-"
        # Black cannot be read on the darkest colours.
        color = "white" if abs(value) > 0.68 * high else "black"
        axes.text(predicted, true, text, ha="center", va="center", fontsize=fontsize, color=color)
    axes.set_xticks(range(len(EXPRESSIONS)), EXPRESSIONS, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(EXPRESSIONS)), EXPRESSIONS)
    return image


def confusion_figure(report: Report, title: str) -> Figure:
    """Draw the confusion matrix: counts and percentages of each true class, coloured by the percentage."""
    counts = report.confusion
    support = counts.sum(axis=1)
    fractions = counts / np.maximum(support, 1)[:, None]
    texts = {cell: f"{count}\n{fractions[cell]:.0%}" for cell, count in np.ndenumerate(counts)}
    figure = new_figure(8, 6.5, title)
    axes = figure.add_subplot()
    image = heatmap(axes, fractions, texts, support, cmap="Blues", limits=(0, 1), fontsize=9)
    axes.set_yticks(range(len(EXPRESSIONS)), [f"{name} ({count})" for name, count in report.support.items()])
    axes.set_xlabel("predicted expression")
    axes.set_ylabel("true expression (images)")
    accuracies = f"accuracy {report.accuracy:.1%}, class mean {report.class_mean:.1%}"
    axes.set_title(f"images {report.count}, {accuracies}", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the true expression")
    return figure


def small_confusion_figure(report: Report) -> Figure:
    """Draw the confusion matrix so that it can be read at 256 pixels: percentages of each true class, short names."""
    support = report.confusion.sum(axis=1)
    fractions = report.confusion / np.maximum(support, 1)[:, None]
    texts = {cell: f"{100 * fraction:.0f}" for cell, fraction in np.ndenumerate(fractions)}
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.add_subplot()
    heatmap(axes, fractions, texts, support, cmap="Blues", limits=(0, 1), fontsize=13)
    names = [name[:3] for name in EXPRESSIONS]
    axes.set_xticks(range(len(names)), names, rotation=0, fontsize=12)
    axes.set_yticks(range(len(names)), names, fontsize=12)
    axes.set_xlabel(f"predicted; accuracy {report.accuracy:.1%}", fontsize=13)
    axes.set_ylabel("true expression, % of its images", fontsize=13)
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
    figure = new_figure(8, 6.5, title)
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
    error = f"expected calibration error {report.ece:.3f}"
    if uncalibrated is not None:
        error += f" ({uncalibrated:.3f} before temperature scaling)"
    # Room for the legend, which would hide bars within the axes.
    upper.set_title(f"images {report.count}, {error}", fontsize=10, pad=28)
    upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    counts = [entry.count for entry in filled]
    bars = lower.bar(middles, counts, width, color=GREY, edgecolor="white")
    lower.bar_label(bars, fontsize=8, padding=1)
    lower.set(xlabel="confidence of the prediction", ylabel="images")
    lower.margins(y=0.25)
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    return figure


def contact_sheet(pictures: Mapping[str, Sequence[Image.Image]], title: str, thumb: int = 64) -> Figure:
    """Lay out pictures in one labelled row per expression, each fitted into a white square of `thumb` pixels.

    Args:
        pictures: The pictures of each expression, of any mode and size; transparent parts become white.
        title: Stands above the sheet.
        thumb: Side of a picture, in pixels at 100 dots per inch.
    """
    # One at least, for a set without pictures.
    columns = max(1, *(len(row) for row in pictures.values()))
    sheet = Image.new("RGB", (columns * thumb, len(pictures) * thumb), "white")
    for y, row in enumerate(pictures.values()):
        for x, picture in enumerate(row):
            # Two pixels of white on each side keep neighbours apart.
            fitted = ImageOps.contain(picture.convert("RGBA"), (thumb - 4, thumb - 4))
            left = x * thumb + (thumb - fitted.width) // 2
            top = y * thumb + (thumb - fitted.height) // 2
            sheet.paste(fitted, (left, top), mask=fitted)
    figure = new_figure(max(6.0, sheet.width / 100 + 1.5), sheet.height / 100 + 0.2, title)
    axes = figure.add_subplot()
    axes.imshow(np.asarray(sheet))
    axes.set_xticks([])
    middles = [(y + 0.5) * thumb for y in range(len(pictures))]
    axes.set_yticks(middles, [f"{name} ({len(row) or 'none'})" for name, row in pictures.items()])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
