"""Pictures of what was recognised: boxes on the picture and a card for each face below it, drawn with Pillow alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SMALLEST, LARGEST = 640, 1600
"""A picture's longest side is brought into this range, so that the text on it can be read."""
CARDS = 24
"""Faces with a card; all have a box."""
FONT, LINE, PAD = 16, 23, 12
"""Size of the cards' letters, height of their lines and their margin, in pixels."""
CARD_HEIGHT, SQUARE = 8 * LINE + 2 * PAD, 8 * LINE
BARS = 260
"""Least width of a card's bars and their names."""
INK, PAPER, FAINT = (32, 32, 32), (250, 250, 250), (214, 214, 214)
MARK, BLUE, ORANGE = (240, 228, 66), (0, 114, 178), (213, 94, 0)
"""Of Okabe and Ito's colours (2008), which colour-blind readers can tell apart."""

Box = tuple[float, float, float, float]


class Shown(Protocol):
    """What a drawing needs of a recognised face."""

    @property
    def box(self) -> Box:
        """Left, top, right, bottom, in pixels of the upright picture; may reach beyond it."""

    @property
    def crop(self) -> NDArray[np.uint8]:
        """The framed face, `(S, S, 3)`."""

    @property
    def expression(self) -> str:
        """The answer."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """By expression, in [0, 1]."""


def annotated(picture: Image.Image, faces: Sequence[Shown], maps: Sequence[NDArray[np.float32]] = ()) -> Image.Image:
    """Return a picture with its faces marked and, below it, a card for each of the first `CARDS` of them.

    Args:
        picture: Upright, RGB, of any size; it is shown with its longest side between `SMALLEST` and `LARGEST`.
        faces: What was found, in the order of their numbers.
        maps: Saliency `(S, S)` in [0, 1] of the first faces, shown on their cards; may be fewer or none.
    """
    upper = boxed(picture, faces)
    width, count = max(upper.width, SMALLEST), min(len(faces), CARDS)
    least = (2 if maps else 1) * (SQUARE + PAD) + BARS + 2 * PAD
    columns = max(1, min(count, width // least))
    note = "no face found" if not faces else f"and {len(faces) - CARDS} more" if len(faces) > CARDS else ""
    height = upper.height + -(-count // columns) * CARD_HEIGHT + (LINE + 2 * PAD if note else 0)
    sheet = Image.new("RGB", (width, height), PAPER)
    sheet.paste(upper, ((width - upper.width) // 2, 0))
    for index, face in enumerate(faces[:CARDS]):
        left, top = index % columns * (width // columns), index // columns * CARD_HEIGHT + upper.height
        found = maps[index] if index < len(maps) else None
        sheet.paste(_card(index + 1, face, found, width // columns), (left, top))
    if note:
        ImageDraw.Draw(sheet).text((PAD, height - LINE - PAD), note, INK, ImageFont.load_default(FONT))
    return sheet


def overlay(crop: NDArray[np.uint8], saliency: NDArray[np.float32], side: int) -> Image.Image:
    """Return a face in grey, `side` pixels wide, the more orange the higher its saliency.

    Args:
        crop: uint8 `(S, S, 3)`.
        saliency: `(S, S)` in [0, 1].
        side: Side of the result.
    """
    grey = _enlarged(Image.fromarray(crop), side).convert("L").convert("RGB")
    mask = Image.fromarray((255 * 0.8 * saliency.clip(0, 1)).astype(np.uint8))
    return Image.composite(Image.new("RGB", grey.size, ORANGE), grey, _enlarged(mask, side))


def boxed(picture: Image.Image, faces: Sequence[Shown]) -> Image.Image:
    """Return a picture with a box around each face and its number, answer and probability beside it.

    Where the words would cover another face, the number stands alone.

    Args:
        picture: As `annotated` takes it and shows it.
        faces: What was found, in the order of their numbers.
    """
    longest = max(picture.size)
    scale = min(max(longest, SMALLEST), LARGEST) / longest
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    shown = picture.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(shown)
    letters = min(max(max(size) / 45, FONT), 2 * FONT)
    font = ImageFont.load_default(letters)
    boxes = [_inside([value * scale for value in face.box], size) for face in faces]
    line = max(2, round(max(size) / 400))
    for box in boxes:
        draw.rectangle(box, outline=INK, width=line + 2)
        draw.rectangle([box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1], outline=MARK, width=line)
    labels: list[Box] = []
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True), start=1):
        share = face.probabilities[face.expression]
        others = labels + [other for other in boxes if other is not box]
        for text, taken in (
            (f"{number} {face.expression} {share:.0%}", others),
            (str(number), labels),
            (str(number), []),
        ):
            width, height = draw.textlength(text, font) + 10, letters * 1.5
            place = _free_place(width, height, box, size, taken)
            if place:
                labels.append(place)
                _label(draw, text, share, place, font)
                break
    return shown


def _label(
    draw: ImageDraw.ImageDraw, text: str, share: float, place: Box, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    """Write a label, its lower edge a bar as long as the share."""
    left, top, right, bottom = place
    bar = max(3, round((bottom - top) / 6))
    draw.rectangle(place, fill=MARK)
    draw.text(((left + right) / 2, (top + bottom - bar) / 2), text, INK, font, anchor="mm")
    draw.rectangle((left, bottom - bar, right, bottom), fill=FAINT)
    draw.rectangle((left, bottom - bar, left + share * (right - left), bottom), fill=BLUE)


def _free_place(width: float, height: float, box: Box, size: tuple[int, int], taken: Sequence[Box]) -> Box | None:
    """Return where a label fits beside a box, inside the picture and clear of what is taken; None if nowhere."""

    def places() -> Iterator[Box]:
        left = max(0.0, min(box[0], size[0] - width))
        for top in (box[1] - height, box[3], box[1]):
            inside = max(0.0, min(top, size[1] - height))
            yield left, inside, left + width, inside + height

    return next((place for place in places() if not any(_meet(place, other) for other in taken)), None)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Sequence[float], size: tuple[int, int]) -> Box:
    """Return the part of a box that lies in the picture, at least three pixels wide and high so that it shows."""
    left, right = (max(0.0, min(value, size[0] - 1)) for value in (box[0], box[2]))
    top, bottom = (max(0.0, min(value, size[1] - 1)) for value in (box[1], box[3]))
    return left, top, max(right, left + 2), max(bottom, top + 2)


def _card(number: int, face: Shown, saliency: NDArray[np.float32] | None, width: int) -> Image.Image:
    """Return a face's number, crop, saliency where there is one, and a bar for every expression."""
    sheet = Image.new("RGB", (width, CARD_HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    sheet.paste(_enlarged(Image.fromarray(face.crop), SQUARE), (PAD, PAD))
    left = SQUARE + 2 * PAD
    if saliency is not None:
        sheet.paste(overlay(face.crop, saliency, SQUARE), (left, PAD))
        left += SQUARE + PAD
    draw.text((left, PAD + LINE / 2), f"face {number}: {face.expression}", INK, font, anchor="lm")
    names = max(draw.textlength(name, font) for name in face.probabilities) + 8
    start, end = left + names, width - PAD - draw.textlength("100%", font) - 8
    for row, (name, share) in enumerate(face.probabilities.items(), start=1):
        middle = PAD + row * LINE + LINE / 2
        draw.text((left, middle), name, INK, font, anchor="lm")
        draw.rectangle((start, middle - 6, end, middle + 6), fill=FAINT)
        if share * (end - start) >= 1:
            draw.rectangle((start, middle - 6, start + share * (end - start), middle + 6), fill=BLUE)
        draw.text((width - PAD, middle), f"{share:.0%}", INK, font, anchor="rm")
    return sheet


def _enlarged(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BICUBIC)
