"""The geometry of framing: an upright or turned square in a picture, and the picture cut to it."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

LIMIT = 10.0
"""A frame's largest side, as a multiple of the picture's longest; beyond it a manifest is damaged."""


@dataclass(frozen=True)
class Frame:
    """A square in a picture, in pixels of the picture as displayed, from its upper left corner.

    Attributes:
        x: Horizontal place of the centre.
        y: Vertical place of the centre.
        side: Length of the sides.
        rotation: How far the square is turned clockwise, in degrees: the angle by which the head leans to the right of
            the picture.
    """

    x: float
    y: float
    side: float
    rotation: float = 0.0

    def __str__(self) -> str:
        """Return the four numbers with one digit after the point, as the manifest holds them."""
        return " ".join(f"{round(value, 1) + 0.0:.1f}" for value in (self.x, self.y, self.side, self.rotation))

    def as_written(self) -> "Frame":
        """Return the frame as it is once it has been written and read."""
        return Frame(*map(float, str(self).split()))


def read_frame(text: str, longest: int) -> Frame | None:
    """Return a manifest's frame; None where the whole picture is the frame.

    Args:
        text: Centre x, centre y, side and rotation; or empty.
        longest: The picture's longest side in pixels.

    Raises:
        ValueError: The text is no frame of such a picture.
    """
    if not text:
        return None
    x, y, side, rotation = map(float, text.split())
    reach = LIMIT * longest
    if not (0 < side <= reach and abs(x) <= reach and abs(y) <= reach and abs(rotation) <= 180):
        raise ValueError(f"no frame of a picture of {longest} pixels: {text}")
    return Frame(x, y, side, rotation)


def cut(picture: Image.Image, frame: Frame | None, side: int) -> Image.Image:
    """Return what a frame holds as a square picture, antialiased.

    The picture is turned upright about the frame's centre (bicubic) and then resized (bilinear, with a filter as wide
    as the reduction asks for). Beyond the picture its edge pixels go on: black corners would be edges to learn, and
    a mirrored border could hold a second mouth. Without a frame the whole picture is stretched to the square, as the
    2021 project did.

    Args:
        picture: RGB.
        frame: What to cut out, or None.
        side: Side of the result in pixels.
    """
    if frame is None:
        return picture.resize((side, side), Image.Resampling.BILINEAR)
    # Half the diagonal, and what the filters of both steps touch beyond it.
    reach = math.ceil(math.sqrt(2) * (frame.side / 2 + max(frame.side / side, 1))) + 2
    left, top = math.floor(frame.x) - reach, math.floor(frame.y) - reach
    columns = np.clip(np.arange(left, left + 2 * reach + 1), 0, picture.width - 1)
    rows = np.clip(np.arange(top, top + 2 * reach + 1), 0, picture.height - 1)
    around = Image.fromarray(np.asarray(picture)[rows[:, None], columns])
    x, y, half = frame.x - left, frame.y - top, frame.side / 2
    if frame.rotation:
        around = around.rotate(frame.rotation, Image.Resampling.BICUBIC, center=(x, y))
    return around.resize((side, side), Image.Resampling.BILINEAR, box=(x - half, y - half, x + half, y + half))
