"""Frame faces: the square of a picture in which eyes and mouth stand where FER+'s do, and the picture cut to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .detection import Box, Detector, Face

EYES_TO_MOUTH = 0.364
"""Distance from the middle of the eyes to the middle of the mouth, as a fraction of the frame's side.

The median over FER+'s training pictures, as `python benchmarks/framing.py` measures it. The distance between the eyes
would do for frontal faces, but it shrinks as a head turns: its logarithm varies 1.7 times as much over FER+.
"""
MAX_REACH = 10.0
"""A frame's largest side, as a multiple of the picture's longest; beyond it a manifest is damaged."""

MAX_EXTENSION = 4
"""Pixels around a frame's centre that are looked at, as a multiple of the picture's: a frame 1.4 times as long as a
square picture has as many. A picture with a larger frame, which faces hardly have, is made smaller first."""
SMALL_WINDOW = 2**18
"""Pixels that are no matter in any picture."""


@dataclass(frozen=True)
class Frame:
    """A square in a picture, in pixels of the picture as displayed, from its upper left corner.

    Attributes:
        x: Horizontal position of the centre.
        y: Vertical position of the centre.
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
        # Adding 0 turns -0.0 into 0.0.
        numbers = (self.x, self.y, self.side, self.rotation)
        return " ".join(f"{round(number, 1) + 0.0:.1f}" for number in numbers)

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
    reach = MAX_REACH * longest
    is_near = 0 < side <= reach and abs(x) <= reach and abs(y) <= reach
    if not (is_near and abs(rotation) <= 180):
        raise ValueError(f"no frame of a picture of {longest} pixels: {text}")
    return Frame(x, y, side, rotation)


def cut(picture: Image.Image, frame: Frame | None, side: int) -> Image.Image:
    """Return the content of a frame as a square picture, antialiased.

    The picture is turned upright about the frame's centre (bicubic) and then resized (bilinear, with a filter as wide
    as the reduction asks for). Beyond the picture its edge pixels go on: black corners would be edges to learn, and
    a mirrored border could hold a second mouth. Without a frame the whole picture is stretched to the square, as the
    2021 project did.

    Args:
        picture: RGB.
        frame: The square to cut out, or None.
        side: Side of the result in pixels.
    """
    if frame is None:
        return picture.resize((side, side), Image.Resampling.BILINEAR)
    picture, frame = _within_memory(picture, frame, side)
    reach = _reach(frame, side)
    left = math.floor(frame.x) - reach
    top = math.floor(frame.y) - reach
    columns = np.clip(np.arange(left, left + 2 * reach + 1), 0, picture.width - 1)
    rows = np.clip(np.arange(top, top + 2 * reach + 1), 0, picture.height - 1)
    around = Image.fromarray(np.asarray(picture)[rows[:, None], columns])
    x = frame.x - left
    y = frame.y - top
    half = frame.side / 2
    if frame.rotation:
        around = around.rotate(frame.rotation, Image.Resampling.BICUBIC, center=(x, y))
    box = (x - half, y - half, x + half, y + half)
    return around.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _reach(frame: Frame, side: int) -> int:
    """Return how far from a frame's centre pixels are needed to cut it out as a square of `side` pixels."""
    # Half the diagonal, and the pixels that the filters of both steps touch beyond it.
    return math.ceil(math.sqrt(2) * (frame.side / 2 + max(frame.side / side, 1))) + 2


def _within_memory(picture: Image.Image, frame: Frame, side: int) -> tuple[Image.Image, Frame]:
    """Return a picture and its frame, both made smaller where the frame's surroundings would fill the memory."""
    most = max(MAX_EXTENSION * picture.width * picture.height, SMALL_WINDOW)
    factor = math.ceil(2 * _reach(frame, side) / math.sqrt(most))
    if factor <= 1:
        return picture, frame
    return picture.reduce(factor), Frame(frame.x / factor, frame.y / factor, frame.side / factor, frame.rotation)


@dataclass(frozen=True)
class FramedFace:
    """A face of a picture as networks see it.

    Attributes:
        box: Left, top, right, bottom in pixels of the picture as displayed; may reach beyond it.
        score: The detector's confidence in [0, 1]; 1 for a whole picture.
        crop: Content of the frame, `(S, S, 3)`, RGB in [0, 255].
    """

    box: Box
    score: float
    crop: NDArray[np.uint8]


def framed_faces(picture: Image.Image, side: int, detector: Detector | None) -> list[FramedFace]:
    """Return the faces of a picture, its main face first, cut as prepared sets are.

    Args:
        picture: RGB.
        side: Side of the crops in pixels.
        detector: Finds the faces; None takes the whole picture as one face, stretched to a square.
    """
    if detector is None:
        width, height = picture.size
        box = (0.0, 0.0, float(width), float(height))
        crop = np.array(cut(picture, None, side))
        return [FramedFace(box, score=1.0, crop=crop)]
    framed = []
    for face in usable_faces(detector.faces(np.asarray(picture)), *picture.size):
        # As the manifest holds it, so that a served picture gives the crop that training saw, to the bit.
        frame = frame_of(face).as_written()
        crop = np.array(cut(picture, frame, side))
        framed.append(FramedFace(face.box, face.score, crop))
    return framed


def eyes_to_mouth(face: Face) -> float:
    """Return the distance from the middle of the eyes to the middle of the mouth, in pixels."""
    left_eye, right_eye, _, left_corner, right_corner = face.landmarks
    return math.dist((left_eye + right_eye) / 2, (left_corner + right_corner) / 2)


def frame_of(face: Face) -> Frame:
    """Return the frame of a detected face: about the centre of its box, upright by its eyes, sized by eyes and mouth.

    Over FER+, whose frames come from a detector too, the box's centre strays from the frame's by 5 % of the side
    (standard deviation), the middle of the eyes from its own position by 7.5 %, for in profiles it stands far ahead.
    """
    left, top, right, bottom = face.box
    across, down = face.landmarks[1] - face.landmarks[0]
    return Frame(
        x=(left + right) / 2,
        y=(top + bottom) / 2,
        side=eyes_to_mouth(face) / EYES_TO_MOUTH,
        rotation=math.degrees(math.atan2(down, across)),
    )


def usable_faces(faces: Sequence[Face], width: int, height: int) -> list[Face]:
    """Return the faces that make a frame, the main face of the picture first.

    That is the largest, where size counts less away from the middle: a face's area is multiplied by 1 in the picture's
    centre, falling in a straight line to 0 in its corners.
    """
    centre = (width / 2, height / 2)

    def weight(face: Face) -> float:
        left, top, right, bottom = face.box
        area = (right - left) * (bottom - top)
        distance = math.dist(((left + right) / 2, (top + bottom) / 2), centre)
        return area * max(1 - distance / math.hypot(*centre), 0)

    # Landmarks in one point, or strewn beyond the picture, would make no frame.
    usable = (face for face in faces if 1 <= eyes_to_mouth(face) <= max(width, height))
    return sorted(usable, key=weight, reverse=True)


def main_face(faces: Sequence[Face], width: int, height: int) -> Face | None:
    """Return the main face of a picture, if there is any."""
    return next(iter(usable_faces(faces, width, height)), None)
