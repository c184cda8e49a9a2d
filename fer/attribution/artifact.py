"""Write the credits of a prepared set as a page, as a table, and below the pictures of a contact sheet.

What stands in a credit was written by strangers, so `credits_of` makes plain text of every field first (tags gone,
scripts with what they hold), and each form escapes it; only http and https addresses become links.
"""

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from PIL import Image

from fer.attribution.credits import COMMONS, HAND, Credit, load_credits, sanitize
from fer.data.images import inspect
from fer.data.manifest import Manifest
from fer.errors import LONGEST_PATH, DataError, shortened
from fer.portable.images import UnusableImage
from fer.utils.rendering import csv_text, no_formula, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT_TO_RIGHT = "\u200e"
"""A mark without width; text after it goes on from left to right."""
PAGE, TABLE = "attribution.html", "attribution.csv"
"""Names of the two files of a run's attribution."""
REFRESH_HINT = "look them up with `fer attribution refresh`"
"""What to do about unresolved pictures."""
FONT = "monospace"
"""All letters are equally wide, so that a line's letters can be counted instead of measured."""
FONT_SIZE = 7.0
"""Points of the small type: letters of about 7 pixels at 100 dots per inch."""
LETTER_WIDTH = FONT_SIZE * 0.62 / 72
LINE_HEIGHT = FONT_SIZE * 1.4 / 72
"""Inches of a letter, rounded up to whole pixels as it is drawn, and of a line."""
MARGIN = 0.15
"""Inches around each of the two columns of credits."""


def credits_of(manifest: Manifest, root: Path) -> dict[str, Credit]:
    """Return the credit of every image by its path under the data root, sanitized; what is not known is unresolved.

    Raises:
        DataError: A picture can no longer be read, or the data root's record of credits is damaged.
    """
    known = load_credits(root)
    by_pixels = {credit.pixels: credit for credit in known.values()}
    credits: dict[str, Credit] = {}
    for row in manifest.images:
        # As the record names it: class folder and file.
        file = "/".join(row.path.split("/")[-2:])
        try:
            pixels = inspect(root / row.path).pixels
        except UnusableImage as fault:
            picture = shortened(str(root / row.path), LONGEST_PATH)
            raise DataError(f"{picture}: {fault}; run prepare again for {manifest.dataset!r}") from None
        credit = known.get(file)
        # A credit belongs to pixels: another picture under a known name must not get that one's author, and a file
        # that was renamed keeps its own.
        if credit is None or credit.pixels != pixels:
            unknown = Credit(file, pixels, notes=("the record of credits has no such picture",))
            credit = by_pixels.get(pixels, unknown)
        credits[row.path] = sanitize(credit)
    return credits


def summary(credits: Sequence[Credit]) -> str:
    """Return how many pictures there are and how many of them are unresolved, as a phrase."""
    unresolved = sum(not credit.resolved for credit in credits)
    entered = sum(credit.source == HAND for credit in credits)
    plural = "s" if len(credits) != 1 else ""
    by_hand = f", {entered} {HAND}" if entered else ""
    return f"{len(credits)} picture{plural} from Wikimedia Commons, {unresolved} unresolved{by_hand}"


def attribution_files(credits: Sequence[Credit]) -> dict[str, str]:
    """Return the files of a run's attribution by name: HTML for people, CSV for programs."""
    return {
        PAGE: attribution_page(credits),
        TABLE: attribution_table(credits),
    }


def attribution_page(credits: Sequence[Credit]) -> str:
    """Return the credits as one self-contained page, in light or dark as the reader's system, without any script."""
    return render(
        "attribution.html",
        title="Attribution of pictures from Wikimedia Commons",
        summary=summary(credits),
        unresolved=[credit for credit in credits if not credit.resolved],
        resolved=[credit for credit in credits if credit.resolved],
        commons=COMMONS,
        by_hand=HAND,
        site_of=site_of,
    )


def site_of(credit: Credit) -> str:
    """Return where a picture's page stands, which is another site only if a person said so."""
    host = urlsplit(credit.page).netloc
    return "Wikimedia Commons" if host == urlsplit(COMMONS).netloc else host


def attribution_table(credits: Sequence[Credit]) -> str:
    """Return the credits as CSV, a row per picture; several notes stand in one cell, with " | " between them."""
    rows = [["resolved", *(field.name for field in fields(Credit))]]
    for credit in credits:
        *texts, notes = astuple(credit)
        cells = [*texts, " | ".join(notes)]
        resolved = str(credit.resolved).lower()
        rows.append([resolved, *map(no_formula, cells)])
    return csv_text(rows)


def credit_line(credit: Credit) -> str:
    """Return a credit in one line, for a figure: title, author, licence and changes, or where to look for them."""
    if not credit.resolved:
        return f"not attributed: see {credit.page}"
    by_hand = f"credit {HAND}" if credit.source == HAND else ""
    parts = (credit.name, credit.author, credit.licence, credit.changes, by_hand)
    # The mark keeps fields in this order where two beside each other are written from right to left.
    return f"{LEFT_TO_RIGHT}, ".join(filter(None, parts))


def credited_sheet(
    pictures: Mapping[str, Sequence[Image.Image]],
    credits: Sequence[Credit],
    title: str,
    thumb: int = 64,
) -> "Figure":
    """Lay out pictures as `contact_sheet` does, numbered row by row, with every picture's credit in small type below.

    Args:
        pictures: Of each expression.
        credits: Of all these pictures, in the same order.
        title: Stands above the sheet.
        thumb: Side of a picture, in pixels at 100 dots per inch.
    """
    # Only `prepare` draws; whoever writes the page alone need not wait for Matplotlib.
    from fer.evaluation.figures import contact_sheet

    figure = contact_sheet(pictures, title, thumb)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    number = 0
    for y, row in enumerate(pictures.values()):
        for x in range(len(row)):
            number += 1
            figure.axes[0].text(
                x * thumb + 2,
                y * thumb + 2,
                str(number),
                fontsize=FONT_SIZE,
                va="top",
                bbox=box,
                color="black",
            )
    lines = [_drawable_line(credit) for credit in credits]
    numbered = [f"{number}  {line}" for number, line in enumerate(lines, start=1)]
    _write_below(figure, numbered)
    return figure


def _drawable_line(credit: Credit) -> str:
    """Return a credit in one line; one with letters the font lacks gives the page that names title and author."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=FONT)))
    text = credit_line(credit)
    drawable = font.get_charmap()
    missing = [sign for sign in text if ord(sign) not in drawable]
    # Marks of the category Cf steer how text is laid out and are never drawn.
    if all(unicodedata.category(sign) == "Cf" for sign in missing):
        return text
    return f"title and author: {credit.page}, {credit.licence}, {credit.changes}"


def _write_below(figure: "Figure", texts: Sequence[str]) -> None:
    """Make a figure taller and write texts under it in two columns."""
    width, height = figure.get_size_inches()
    column_width = (width - 3 * MARGIN) / 2
    letters = int(column_width / LETTER_WIDTH)
    wrapped = [textwrap.wrap(text, letters) for text in texts]
    half = sum(map(len, wrapped)) / 2
    left: list[str] = []
    right: list[str] = []
    for lines in wrapped:
        # A credit is not broken between columns, so that its number stands above all of it.
        column = right if len(left) >= half else left
        column.extend(lines)
    below = max(len(left), len(right)) * LINE_HEIGHT + 2 * MARGIN
    total = height + below
    figure.set_size_inches(width, total)
    # The sheet keeps its size: it gets the part of the taller figure that was the whole one.
    figure.set_layout_engine("constrained", rect=(0, below / total, 1, height / total))
    for x, lines in ((MARGIN, left), (2 * MARGIN + column_width, right)):
        for index, line in enumerate(lines):
            y = below - MARGIN - index * LINE_HEIGHT
            figure.text(
                x / width,
                y / total,
                LEFT_TO_RIGHT + line,
                fontsize=FONT_SIZE,
                family=FONT,
                va="top",
                parse_math=False,
            )
