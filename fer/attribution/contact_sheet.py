"""Draw contact sheets that carry the credits of their pictures: numbers on them, credits in small type below."""

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
from fer.attribution.formats import LEFT_TO_RIGHT, credit_line, sanitize
from fer.evaluation.figures import contact_sheet

FONT_SIZE = 7.0
"""Points of the small type: letters of about 7 pixels at 100 dots per inch."""
LINE_HEIGHT = FONT_SIZE * 1.4 / 72
MARGIN = 0.15
"""Inches around each of the two columns."""


@dataclass(frozen=True)
class CreditedPicture:
    """A picture and its credit."""

    picture: Image.Image
    credit: Credit


def credited_sheet(rows: Mapping[str, Sequence[CreditedPicture]], title: str, thumb: int = 64) -> Figure:
    """Lay out pictures as `contact_sheet` does, numbered row by row, with every picture's credit below.

    Args:
        rows: The pictures of each expression with their credits.
        title: Stands above the sheet.
        thumb: Side of a picture, in pixels at 100 dots per inch.

    Raises:
        ValueError: There is no expression at all.
    """
    pictures = {name: [item.picture for item in row] for name, row in rows.items()}
    figure = contact_sheet(pictures, title, thumb)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    texts: list[str] = []
    for y, row in enumerate(rows.values()):
        for x, item in enumerate(row):
            number = len(texts) + 1
            corner = (x * thumb + 2, y * thumb + 2)
            figure.axes[0].text(*corner, str(number), fontsize=FONT_SIZE, va="top", bbox=box, color="black")
            texts.append(f"{number}  {_drawable_line(item.credit)}")
    _write_below(figure, texts)
    return figure


def _write_below(figure: Figure, texts: Sequence[str]) -> None:
    """Make a figure taller and write texts under it in two columns."""
    width, height = figure.get_size_inches()
    column_width = (width - 3 * MARGIN) / 2
    wrapped = [_wrap(text, column_width) for text in texts]
    half = sum(map(len, wrapped)) / 2
    left: list[str] = []
    right: list[str] = []
    for lines in wrapped:
        # A credit is not broken between columns, so that its number stands above all of it.
        (right if len(left) >= half else left).extend(lines)
    below = max(len(left), len(right)) * LINE_HEIGHT + 2 * MARGIN
    total = height + below
    figure.set_size_inches(width, total)
    # The sheet keeps its size: it gets the part of the taller figure that was the whole one.
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(rect=(0, below / total, 1, height / total))
    for x, lines in ((MARGIN, left), (2 * MARGIN + column_width, right)):
        for index, line in enumerate(lines):
            y = below - MARGIN - index * LINE_HEIGHT
            position = (x / width, y / total)
            figure.text(*position, LEFT_TO_RIGHT + line, fontsize=FONT_SIZE, va="top", parse_math=False)


def _wrap(text: str, inches: float) -> list[str]:
    """Break a text into lines that fit, between words or, in a word longer than a line, anywhere."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _width(longer) <= inches:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for sign in word:
            if _width(lines[-1] + sign) > inches:
                lines.append("")
            lines[-1] += sign
    return lines


def _width(text: str) -> float:
    """Return the inches of a text; joined letters, as in Persian, take less."""
    return sum(map(_advance, text))


@cache
def _advance(sign: str) -> float:
    font = _font()
    # As it is drawn at 100 dots per inch; FreeType measures in 64ths of a pixel.
    font.set_size(FONT_SIZE, 100)
    return font.load_char(ord(sign), flags=LoadFlags.DEFAULT).horiAdvance / 64 / 100


def _font() -> FT2Font:
    return get_font(findfont(FontProperties()))


def _drawable_line(credit: Credit) -> str:
    """Return a credit in one line; one with letters the font lacks gives the page that names title and author."""
    text = credit_line(credit)
    known = _font().get_charmap()
    if all(ord(sign) in known or unicodedata.category(sign) == "Cf" for sign in text):
        return text
    shown = sanitize(credit)
    return f"title and author: {shown.page}, {shown.licence}, {shown.changes}"
