"""What the figures of a comparison share: the marks of each configuration, the canvas and its legend.

Ten configurations keep ten different pairs of colour and shape; the colours are Okabe and Ito's (2008), which
colour-blind readers can tell apart, with grey for black, which would vanish on a dark page. Names are never
read as mathematics.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer.comparison.comparing import Comparison
from fer.comparison.configurations import Configuration

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
