"""Annotated pictures: boxes on the picture and a card for each face below it, drawn with Pillow alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fer.prediction.recogniser import Box, RecognisedFace

MIN_SIDE = 640
MAX_SIDE = 1600
"""A picture's longest side is brought into this range, so that the text on it can be read."""
MAX_CARDS = 24
"""Faces with a card; all have a box."""
FONT_SIZE = 16
LINE_HEIGHT = 23
MARGIN = 12
CROP_SIDE = 8 * LINE_HEIGHT
CARD_HEIGHT = CROP_SIDE + 2 * MARGIN
"""Measures of a card in pixels: a line for its title and one for each expression, as high as the face beside them."""
MIN_BARS_WIDTH = 260
BLACK = (32, 32, 32)
WHITE = (250, 250, 250)
GREY = (214, 214, 214)
YELLOW = (240, 228, 66)
BLUE = (0, 114, 178)
ORANGE = (213, 94, 0)
"""The colourful ones are of Okabe and Ito's (2008), which colour-blind readers can tell apart."""

SaliencyMap = NDArray[np.float32]


def annotate_picture(
    picture: Image.Image,
    faces: Sequence[RecognisedFace],
    maps: Sequence[SaliencyMap] = (),
) -> Image.Image:
    """Draw a picture with its faces marked and, below it, a card for each of the first `MAX_CARDS` of them.

    Args:
        picture: Upright, RGB, of any size; it is shown with its longest side between `MIN_SIDE` and `MAX_SIDE`.
        faces: The faces, in the order of their numbers.
        maps: Saliency `(S, S)` in [0, 1] of the first faces, shown on their cards; may be fewer or none.
    """
    upper = draw_boxes(picture, faces)
    width = max(upper.width, MIN_SIDE)
    cards = faces[:MAX_CARDS]
    pictures_width = (2 if maps else 1) * (CROP_SIDE + MARGIN)
    min_card_width = pictures_width + MIN_BARS_WIDTH + 2 * MARGIN
    # Side by side where there is room, so that a group's sheet does not become a long strip.
    columns = max(1, min(len(cards), width // min_card_width))
    card_width = width // columns
    card_rows = -(-len(cards) // columns)

    note = "" if faces else "no face found"
    if len(faces) > MAX_CARDS:
        note = f"and {len(faces) - MAX_CARDS} more"
    note_height = LINE_HEIGHT + 2 * MARGIN if note else 0

    height = upper.height + card_rows * CARD_HEIGHT + note_height
    sheet = Image.new("RGB", (width, height), WHITE)
    sheet.paste(upper, ((width - upper.width) // 2, 0))
    for index, face in enumerate(cards):
        row, column = divmod(index, columns)
        saliency = maps[index] if index < len(maps) else None
        card = _draw_card(index + 1, face, saliency, card_width)
        sheet.paste(card, (column * card_width, upper.height + row * CARD_HEIGHT))
    if note:
        corner = (MARGIN, height - LINE_HEIGHT - MARGIN)
        ImageDraw.Draw(sheet).text(corner, note, BLACK, ImageFont.load_default(FONT_SIZE))
    return sheet


def overlay_saliency(crop: NDArray[np.uint8], saliency: SaliencyMap, side: int) -> Image.Image:
    """Draw a face in grey, `side` pixels wide, the more orange the higher its saliency.

    Args:
        crop: uint8 `(S, S, 3)`.
        saliency: `(S, S)` in [0, 1].
        side: Side of the result.
    """
    grey = _resize(Image.fromarray(crop), side).convert("L").convert("RGB")
    # At most 80 %, so that the face shows through.
    mask = Image.fromarray((255 * 0.8 * saliency.clip(0, 1)).astype(np.uint8))
    orange = Image.new("RGB", grey.size, ORANGE)
    return Image.composite(orange, grey, _resize(mask, side))


def draw_boxes(picture: Image.Image, faces: Sequence[RecognisedFace]) -> Image.Image:
    """Draw a box around each face, with its number, expression and probability beside it.

    Args:
        picture: As `annotate_picture` takes and shows it.
        faces: The faces, in the order of their numbers.
    """
    # Annotations have one size in pixels, so the picture is brought to theirs, not they to the picture's.
    longest = max(picture.size)
    scale = min(max(longest, MIN_SIDE), MAX_SIDE) / longest
    width = max(1, round(picture.width * scale))
    height = max(1, round(picture.height * scale))
    shown = picture.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(shown)
    boxes = [_clip_box(face.box, scale, shown.size) for face in faces]
    line = max(2, round(max(shown.size) / 400))
    for left, top, right, bottom in boxes:
        # The dark edge around the yellow line makes it show on a light picture.
        draw.rectangle((left, top, right, bottom), outline=BLACK, width=line + 2)
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=YELLOW, width=line)
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True), start=1):
        others = [other for other in boxes if other is not box]
        _draw_label(draw, number, face, box, others, shown.size)
    return shown


def _draw_label(
    draw: ImageDraw.ImageDraw,
    number: int,
    face: RecognisedFace,
    box: Box,
    others: Sequence[Box],
    size: tuple[int, int],
) -> None:
    """Label a face above its box: in words where these cover neither another face nor its label, else by its number.

    A face at the picture's upper edge has its label inside the box.
    """
    # Larger on large pictures, which screens show reduced.
    font_size = min(max(max(size) / 45, FONT_SIZE), 2 * FONT_SIZE)
    font = ImageFont.load_default(font_size)
    height = 1.5 * font_size

    def place(text: str) -> Box:
        width = draw.textlength(text, font) + 10
        left = max(0.0, min(box[0], size[0] - width))
        top = max(0.0, box[1] - height)
        return left, top, left + width, top + height

    text = f"{number} {face.expression} {face.probabilities[face.expression]:.0%}"
    # Another face's label stands on its box.
    occupied = [(left, top - height, right, bottom) for left, top, right, bottom in others]
    if any(_overlap(place(text), other) for other in occupied):
        text = str(number)
    left, top, right, bottom = place(text)
    draw.rectangle((left, top, right, bottom), fill=YELLOW)
    draw.text(((left + right) / 2, (top + bottom) / 2), text, BLACK, font, anchor="mm")


def _overlap(first: Box, second: Box) -> bool:
    horizontally = first[0] < second[2] and second[0] < first[2]
    vertically = first[1] < second[3] and second[1] < first[3]
    return horizontally and vertically


def _clip_box(box: Box, scale: float, size: tuple[int, int]) -> Box:
    """Return the part of a box that lies in the picture, at least three pixels wide and high so that it shows."""
    width, height = size
    # A face at the edge may reach beyond it, where nothing would be drawn.
    left, right = (max(0.0, min(value * scale, width - 1)) for value in (box[0], box[2]))
    top, bottom = (max(0.0, min(value * scale, height - 1)) for value in (box[1], box[3]))
    return left, top, max(right, left + 2), max(bottom, top + 2)


def _draw_card(number: int, face: RecognisedFace, saliency: SaliencyMap | None, width: int) -> Image.Image:
    """Draw a face's number, crop, saliency where there is one, and a bar for every expression."""
    card = Image.new("RGB", (width, CARD_HEIGHT), WHITE)
    draw = ImageDraw.Draw(card)
    font = ImageFont.load_default(FONT_SIZE)
    card.paste(_resize(Image.fromarray(face.crop), CROP_SIDE), (MARGIN, MARGIN))
    left = MARGIN + CROP_SIDE + MARGIN
    if saliency is not None:
        card.paste(overlay_saliency(face.crop, saliency, CROP_SIDE), (left, MARGIN))
        left += CROP_SIDE + MARGIN
    draw.text((left, MARGIN + LINE_HEIGHT / 2), f"face {number}: {face.expression}", BLACK, font, anchor="lm")

    right = width - MARGIN
    bar_left = left + max(draw.textlength(name, font) for name in face.probabilities) + 8
    bar_right = right - draw.textlength("100%", font) - 8
    for row, (name, probability) in enumerate(face.probabilities.items(), start=1):
        middle = MARGIN + (row + 0.5) * LINE_HEIGHT
        draw.text((left, middle), name, BLACK, font, anchor="lm")
        _draw_bar(draw, (bar_left, middle - 6, bar_right, middle + 6), probability)
        draw.text((right, middle), f"{probability:.0%}", BLACK, font, anchor="rm")
    return card


def _draw_bar(draw: ImageDraw.ImageDraw, box: Box, fraction: float) -> None:
    left, top, right, bottom = box
    length = fraction * (right - left)
    draw.rectangle(box, fill=GREY)
    # Pillow draws both ends of a rectangle, so a bar of no length would be one pixel wide.
    if length >= 1:
        draw.rectangle((left, top, left + length, bottom), fill=BLUE)


def _resize(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BICUBIC)
