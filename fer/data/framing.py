"""One framing for every face: whichever set it comes from, eyes and mouth stand where FER+'s do.

The main face is detected, turned upright by its eyes and cut to a square. Sets that come framed (RAF-DB's aligned
pictures, FER+) and drawn faces, which no detector was made for, stay as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from fer.data.manifest import ImageRow
from fer.portable.detection import Detector, Face
from fer.portable.framing import Frame, frame_of, main_face
from fer.portable.images import read_rgb
from fer.utils.parallel import decode_within_budget, thread_pool

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
        faces = decode_within_budget(place, lambda: detector.faces(np.asarray(read_rgb(place))))
        return main_face(faces, row.width, row.height)

    with thread_pool() as pool:
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
