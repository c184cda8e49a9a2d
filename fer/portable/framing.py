"""From detected faces to frames: eyes and mouth stand where FER+'s do, and the main face comes first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .detection import Detector, Face
from .frames import Frame, cut

EYES_TO_MOUTH = 0.364
"""Distance from the middle of the eyes to the middle of the mouth, as a share of the frame's side.

The median over FER+'s training pictures, as `python benchmarks/framing.py` measures it. The distance between the eyes
would do for frontal faces, but it shrinks as a head turns: its logarithm varies 1.7 times as much over FER+.
"""


@dataclass(frozen=True)
class FramedFace:
    """A face of a picture as networks see it.

    Attributes:
        box: Left, top, right, bottom in pixels of the picture as displayed; may reach beyond it.
        score: The detector's confidence in [0, 1]; 1 for a whole picture.
        crop: What the frame holds, `(S, S, 3)`, RGB in [0, 255].
    """

    box: tuple[float, float, float, float]
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
        return [FramedFace((0.0, 0.0, float(width), float(height)), 1.0, np.array(cut(picture, None, side)))]
    found = usable_faces(detector.faces(np.asarray(picture)), *picture.size)
    return [
        FramedFace(face.box, face.score, np.array(cut(picture, frame_of(face).as_written(), side))) for face in found
    ]


def eyes_to_mouth(face: Face) -> float:
    """Return the distance from the middle of the eyes to the middle of the mouth, in pixels."""
    left, right, _, *corners = face.landmarks
    return math.dist((left + right) / 2, (corners[0] + corners[1]) / 2)


def frame_of(face: Face) -> Frame:
    """Return the frame of a detected face: about the centre of its box, upright by its eyes, sized by eyes and mouth.

    Over FER+, whose frames come from a detector too, the box's centre strays from the frame's by 5 % of the side
    (standard deviation), the middle of the eyes from its own place by 7.5 %, for in profiles it stands far ahead.
    """
    left, top, right, bottom = face.box
    across, down = face.landmarks[1] - face.landmarks[0]
    side, rotation = eyes_to_mouth(face) / EYES_TO_MOUTH, math.degrees(math.atan2(down, across))
    return Frame((left + right) / 2, (top + bottom) / 2, side, rotation)


def usable_faces(faces: Sequence[Face], width: int, height: int) -> list[Face]:
    """Return the faces that make a frame, the one the picture is of first.

    That is the largest, where size counts less away from the middle: a face's area is multiplied by 1 in the picture's
    centre, falling in a straight line to 0 in its corners.
    """

    def weight(face: Face) -> float:
        left, top, right, bottom = face.box
        away = math.dist(((left + right) / 2, (top + bottom) / 2), (width / 2, height / 2))
        return (right - left) * (bottom - top) * max(1 - away / math.hypot(width / 2, height / 2), 0)

    # Landmarks in one point, or strewn beyond the picture, would make no frame.
    usable = (face for face in faces if 1 <= eyes_to_mouth(face) <= max(width, height))
    return sorted(usable, key=weight, reverse=True)


def main_face(faces: Sequence[Face], width: int, height: int) -> Face | None:
    """Return the face a picture is of, if any."""
    return next(iter(usable_faces(faces, width, height)), None)
