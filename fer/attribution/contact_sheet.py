"""Contact sheets that carry the credits of their pictures: numbers on the pictures, credits in small type below."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from fer.attribution.credits import Credit
from fer.attribution.formats import LEFT_TO_RIGHT, cleaned, line
from fer.evaluation.figures import contact_sheet

SIZE = 7.0
"""Points of the small type: letters of about 7 pixels at 100 dots per inch."""
LINE = SIZE * 1.4 / 72
MARGIN = 0.15
"""Inches from one line to the next, and around each of the two columns."""


@dataclass(frozen=True)
class Credited:
    """A picture and its credit."""

    picture: Image.Image
    credit: Credit


def credited_sheet(rows: Mapping[str, Sequence[Credited]], title: str, thumb: int = 64) -> Figure:
    """Lay out pictures as `contact_sheet` does, numbered row by row, with every picture's credit below.

    Args:
        rows: The pictures of each expression with their credits.
        title: Stands above the sheet.
        thumb: Side of a picture, in pixels at 100 dots per inch.

    Raises:
        ValueError: There is no expression at all.
    """
    figure = contact_sheet({name: [item.picture for item in row] for name, row in rows.items()}, title, thumb)
    places = [(x, y) for y, row in enumerate(rows.values()) for x in range(len(row))]
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for number, (x, y) in enumerate(places, start=1):
        place = (x * thumb + 2, y * thumb + 2)
        figure.axes[0].text(*place, str(number), fontsize=SIZE, va="top", bbox=ground, color="black")
    credits = [item.credit for row in rows.values() for item in row]
    _write_below(figure, [f"{number}  {_drawn(credit)}" for number, credit in enumerate(credits, start=1)])
    return figure


def _write_below(figure: Figure, texts: Sequence[str]) -> None:
    """Make a figure taller and write texts under it in two columns."""
    width, height = figure.get_size_inches()
    column = (width - 3 * MARGIN) / 2
    blocks = [_wrapped(text, column) for text in texts]
    half = sum(map(len, blocks)) / 2
    columns: tuple[list[list[str]], list[list[str]]] = ([], [])
    for block in blocks:
        columns[sum(map(len, columns[0])) >= half].append(block)
    below = max(sum(map(len, blocks)) for blocks in columns) * LINE + 2 * MARGIN
    whole = height + below
    figure.set_size_inches(width, whole)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(rect=(0, below / whole, 1, height / whole))
    for side, chosen in enumerate(columns):
        top = below - MARGIN
        for text in (text for block in chosen for text in block):
            x = MARGIN + side * (column + MARGIN)
            figure.text(x / width, top / whole, LEFT_TO_RIGHT + text, fontsize=SIZE, va="top", parse_math=False)
            top -= LINE


def _wrapped(text: str, inches: float) -> list[str]:
    """Break a text into lines that fit, between words or, in a word longer than a line, anywhere."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _inches(longer) <= inches:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for sign in word:
            if _inches(lines[-1] + sign) > inches:
                lines.append("")
            lines[-1] += sign
    return lines


def _inches(text: str) -> float:
    return sum(map(_advance, text))


@cache
def _advance(sign: str) -> float:
    """Return a sign's width in inches, as it is drawn at 100 dots per inch; joined letters take less."""
    font = _font()
    font.set_size(SIZE, 100)
    return font.load_char(ord(sign), flags=LoadFlags.DEFAULT).horiAdvance / 64 / 100


def _font() -> FT2Font:
    return get_font(findfont(FontProperties()))


def _drawn(credit: Credit) -> str:
    """Return a credit in one line; one with letters the font lacks gives the page that names title and author."""
    text, shown = line(credit), cleaned(credit)
    known = _font().get_charmap()
    if all(ord(sign) in known or unicodedata.category(sign) == "Cf" for sign in text):
        return text
    return f"title and author: {shown.page}, {shown.licence}, {shown.changes}"
