"""Frame every face alike: whichever set it comes from, eyes and mouth stand where FER+'s do.

The main face is detected, turned upright by its eyes and cut to a square. Sets that come framed (RAF-DB's aligned
pictures, FER+) and drawn faces, which no detector was made for, stay as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from fer.data.manifest import ImageRow
from fer.portable.detection import Detector, Face
from fer.portable.framing import Frame, frame_of, main_face
from fer.portable.images import read_rgb
from fer.utils.parallel import decode_within_budget, thread_pool

DETECTED = "detected"
FIXED = "fixed box"
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
    rows: Sequence[ImageRow], paths: Sequence[Path], framing: Framing, detector: Detector, title: str
) -> list[ImageRow]:
    """Add the frames to a set's rows, detecting faces on all cores.

    Where no face is found, the frame is the median of the faces found at that camera angle (of all, if at none), and
    the whole picture in a set without any face.

    Args:
        rows: Pictures as they come.
        paths: Their files.
        framing: How the set is framed.
        detector: Finds the faces.
        title: The set's name for the progress bar.
    """

    def detect(row: ImageRow, path: Path) -> Face | None:
        if row.angle in framing.fixed:
            return None
        faces = decode_within_budget(path, lambda: detector.faces(np.asarray(read_rgb(path))))
        return main_face(faces, row.width, row.height)

    with thread_pool() as executor:
        faces = list(tqdm(executor.map(detect, rows, paths), f"frame {title}", len(rows), unit="image"))
    by_angle: dict[str, list[Frame]] = {}
    for row, face in zip(rows, faces, strict=True):
        if face:
            by_angle.setdefault(row.angle, []).append(_relative(frame_of(face), row))
    framed = []
    for row, face in zip(rows, faces, strict=True):
        framed.append(_with_face(row, face, detector) if face else _without_face(row, by_angle, framing))
    return framed


def _relative(frame: Frame, row: ImageRow) -> Frame:
    """Return a frame in fractions of its picture's width, height and shorter side."""
    return Frame(frame.x / row.width, frame.y / row.height, frame.side / min(row.width, row.height))


def _with_face(row: ImageRow, face: Face, detector: Detector) -> ImageRow:
    return replace(
        row,
        frame=str(frame_of(face)),
        framed=DETECTED,
        landmarks=" ".join(f"{value:.1f}" for value in face.landmarks.flat),
        detector=f"{detector.name} {detector.version}, score {face.score:.2f}",
    )


def _without_face(row: ImageRow, by_angle: Mapping[str, Sequence[Frame]], framing: Framing) -> ImageRow:
    """Frame a picture by the relative frames of the others, given by camera angle."""
    frames = by_angle.get(row.angle) or list(chain.from_iterable(by_angle.values()))
    if not frames:
        return replace(row, framed=f"{NOT_FOUND}, whole picture")
    # The median holds where the detector mistook something else for a face, which a mean would not.
    x = median(frame.x for frame in frames)
    y = median(frame.y for frame in frames)
    side = median(frame.side for frame in frames)
    framed = f"{NOT_FOUND}, median frame"
    if row.angle in framing.fixed:
        x = 0.5
        side *= framing.fixed[row.angle]
        framed = FIXED
    frame = Frame(x * row.width, y * row.height, side * min(row.width, row.height))
    return replace(row, frame=str(frame), framed=framed)
