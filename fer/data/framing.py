"""One framing for every face: whichever set it comes from, eyes and mouth stand where FER+'s do.

The main face is detected, turned upright by its eyes and cut to a square. Sets that come framed (RAF-DB's aligned
pictures, FER+) and drawn faces, which no detector was made for, stay as they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from fer.data.detection import Detector, Face
from fer.data.frames import Frame
from fer.data.images import read_rgb
from fer.data.manifest import ImageRow
from fer.data.threads import all_cores

EYES_TO_MOUTH = 0.364
"""Distance from the middle of the eyes to the middle of the mouth, as a share of the frame's side.

The median over FER+'s training pictures, as `python benchmarks/framing.py` measures it. The distance between the eyes
would do for frontal faces, but it shrinks as a head turns: its logarithm varies 1.7 times as much over FER+.
"""
DETECTED, FIXED = "detected", "fixed box"
NOT_FOUND = "not found"
"""Beginning of how a picture is framed in which no face was found."""


@dataclass(frozen=True)
class Framing:
    """How a set is framed whose pictures do not come framed.

    Attributes:
        fixed: Camera angles at which detectors fail, each with the side of its fixed box as a multiple of the median
            frame's. The box stands in the picture's middle, at the median frame's height.
    """

    fixed: Mapping[str, float] = field(default_factory=dict)


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


def main_face(faces: Sequence[Face], width: int, height: int) -> Face | None:
    """Return the face a picture is of: the largest, where size counts less away from the middle.

    A face's area is multiplied by 1 in the picture's centre, falling in a straight line to 0 in its corners.
    """

    def weight(face: Face) -> float:
        left, top, right, bottom = face.box
        away = math.dist(((left + right) / 2, (top + bottom) / 2), (width / 2, height / 2))
        return (right - left) * (bottom - top) * max(1 - away / math.hypot(width / 2, height / 2), 0)

    # Landmarks in one point, or strewn beyond the picture, would make no frame.
    usable = (face for face in faces if 1 <= eyes_to_mouth(face) <= max(width, height))
    return max(usable, key=weight, default=None)


def frame_all(
    rows: Sequence[ImageRow], places: Sequence[Path], framing: Framing, detector: Detector, title: str
) -> list[ImageRow]:
    """Return a set's rows with their frames, detecting on all cores.

    Where no face is found, the frame is the median of the faces found at that camera angle (of all, if at none), and
    the whole picture in a set without any face.

    Args:
        rows: Pictures as they come.
        places: Their files.
        framing: How the set is framed.
        detector: Finds the faces.
        title: The set's name for the progress bar.
    """

    def look(row: ImageRow, place: Path) -> Face | None:
        if row.angle in framing.fixed:
            return None
        return main_face(detector.faces(np.asarray(read_rgb(place))), row.width, row.height)

    with all_cores() as pool:
        found = list(tqdm(pool.map(look, rows, places), f"frame {title}", len(rows), unit="image"))
    shares: dict[str, list[tuple[float, ...]]] = {}
    for row, face in zip(rows, found, strict=True):
        if face:
            frame, short = frame_of(face), min(row.width, row.height)
            shares.setdefault(row.angle, []).append((frame.x / row.width, frame.y / row.height, frame.side / short))
    return [_framed(row, face, shares, framing, detector) for row, face in zip(rows, found, strict=True)]


def _framed(
    row: ImageRow,
    face: Face | None,
    shares: Mapping[str, Sequence[tuple[float, ...]]],
    framing: Framing,
    detector: Detector,
) -> ImageRow:
    """Return a row with its frame, given (x, y, side) of all frames found, as shares of their pictures, by angle."""
    if face:
        return replace(
            row,
            frame=str(frame_of(face)),
            framed=DETECTED,
            landmarks=" ".join(f"{value:.1f}" for value in face.landmarks.flat),
            detector=f"{detector.name} {detector.version}, score {face.score:.2f}",
        )
    known = shares.get(row.angle) or [one for several in shares.values() for one in several]
    if not known:
        return replace(row, framed=f"{NOT_FOUND}, whole picture")
    x, y, side = (median(column) for column in zip(*known, strict=True))
    how = f"{NOT_FOUND}, median frame"
    if row.angle in framing.fixed:
        x, side, how = 0.5, side * framing.fixed[row.angle], FIXED
    return replace(row, frame=str(Frame(x * row.width, y * row.height, side * min(row.width, row.height))), framed=how)
