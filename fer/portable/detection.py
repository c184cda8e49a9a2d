"""Detect faces: the interface of detectors, and CenterFace, the one in use.

Xu, Yan, Yang, Sun & Ye, "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019 (MIT,
github.com/Star-Clouds/CenterFace).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INPUT = "input.1"
"""Name in the file of the input: RGB in [0, 255]."""
OUTPUTS = ("537", "538", "539", "540")
"""Names in the file: heat map of centres, logarithms of sizes, offsets of centres, landmarks."""
STRIDE = 4
"""Pixels a side of an output's cell."""
MULTIPLE = 32
"""The input's sides must be multiples of it."""
MIN_SIDE, MAX_SIDE = 192, 640
"""The longest side is brought into this range: tiny faces are missed, and large pictures take long."""
BORDER = 0.4
"""Border, as a fraction of the longest side, for the last look at a picture in which no face was found."""
MIN_SCORE = 0.5
"""Score from which it is a face."""
MAX_OVERLAP = 0.3
"""Intersection over union from which the weaker of two faces is dropped."""

NETWORK_BYTES_PER_PIXEL = 250
"""Memory that the network takes for each pixel of its input; measured are 210."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Face:
    """A face in a picture; positions are (x, y) in pixels from the picture's upper left corner.

    Attributes:
        box: Left, top, right, bottom; may reach beyond the picture.
        score: The detector's confidence in [0, 1].
        landmarks: `(5, 2)`: the eye at the left of the picture, the eye at the right, nose, and the mouth's corners.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float64]


class Detector(Protocol):
    """Finds faces for framing; several threads may share one."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """Its version: other versions may find other faces."""

    def faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture `(H, W, 3)`, RGB in [0, 255], best score first."""


def detection_memory(width: int, height: int) -> int:
    """Return the bytes that looking for faces takes beside a picture of so many pixels, as an upper bound."""
    longest = max(width, height)
    scale = min(max(longest, MIN_SIDE), MAX_SIDE) / longest
    look = (width * scale + MULTIPLE) * (height * scale + MULTIPLE)
    bordered = (MIN_SIDE * (1 + 2 * BORDER) + MULTIPLE) ** 2
    return round(NETWORK_BYTES_PER_PIXEL * max(look, bordered))


class CenterFace:
    """CenterFace on ONNX Runtime: on the CPU, one thread for each call.

    Args:
        model: CenterFace as an ONNX file whose input may have any size.
        version: The version of these weights.

    Raises:
        ImportError: The package onnxruntime is missing.
    """

    name = "CenterFace"

    def __init__(self, model: bytes, version: str = "") -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        # Callers look at several pictures at once; more threads for each would only compete.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # else it warns of every weight that the file lists among its inputs
        self._session = onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
        )
        self.version = version

    def faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture `(H, W, 3)`, RGB in [0, 255], best score first.

        A picture in which none is found is looked at again smaller, where a face fills less of the network's view, and
        then with a border.
        """
        longest = max(picture.shape[:2])
        side = min(max(longest, MIN_SIDE), MAX_SIDE)
        looks = [(MIN_SIDE, 0.0), (MIN_SIDE, BORDER)]
        if side > MIN_SIDE:
            looks.insert(0, (side, 0.0))
        for size, border in looks:
            faces = self._look(_resize(picture, size / longest), round(border * size))
            if faces:
                return [_moved(face, 0, longest / size) for face in faces]
        return []

    def _look(self, picture: NDArray[np.uint8], border: int) -> list[Face]:
        """Return the faces of a picture as it is, continued by a border and to sides the network takes."""
        below, right = (border + -(size + 2 * border) % MULTIPLE for size in picture.shape[:2])
        # The picture's edge goes on, for a black border would be an edge of its own.
        padded = np.pad(picture, ((border, below), (border, right), (0, 0)), mode="edge")
        batch = padded.transpose(2, 0, 1)[None].astype(np.float32)
        heat, sizes, offsets, landmarks = self._session.run(OUTPUTS, {INPUT: batch})
        faces = decode(heat[0, 0], sizes[0], offsets[0], landmarks[0])
        return [_moved(face, -border, 1) for face in faces]


def decode(
    heat: NDArray[np.float32],
    sizes: NDArray[np.float32],
    offsets: NDArray[np.float32],
    landmarks: NDArray[np.float32],
) -> list[Face]:
    """Decode the network's outputs into faces, best score first.

    A cell's face is centred half a cell and its offset into the cell; its size is the exponential of the output, in
    cells; its landmarks stand in fractions of its box. Pairs of outputs are (vertical, horizontal).

    Args:
        heat: `(h, w)`, scores in [0, 1].
        sizes: `(2, h, w)`.
        offsets: `(2, h, w)`.
        landmarks: `(10, h, w)`.

    Returns:
        Faces in pixels of the input.
    """
    # (row, column) of every cell that holds the centre of a face.
    cells = np.argwhere(heat > MIN_SCORE)
    scores = heat[cells[:, 0], cells[:, 1]]
    order = np.argsort(-scores, kind="stable")
    cells = cells[order]
    scores = scores[order]
    down, across = cells.T
    extents = STRIDE * np.exp(sizes[:, down, across].T.astype(np.float64))
    centres = STRIDE * (cells + offsets[:, down, across].T + 0.5)
    corners = centres - extents / 2
    fractions = landmarks[:, down, across].T.reshape(-1, 5, 2)
    points = corners[:, None] + extents[:, None] * fractions
    # From (vertical, horizontal) to (x, y).
    boxes = np.concatenate([corners[:, ::-1], (corners + extents)[:, ::-1]], axis=1)
    points = points[:, :, ::-1]
    # Non-maximum suppression: neighbouring cells see one face.
    kept: list[int] = []
    for index, box in enumerate(boxes):
        if not kept or overlaps(box, boxes[kept]).max() < MAX_OVERLAP:
            kept.append(index)
    return [Face(tuple(boxes[n].tolist()), float(scores[n]), points[n]) for n in kept]


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of a box (left, top, right, bottom) with each of `(N, 4)` others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - common
    ratios: NDArray[np.float64] = common / union
    return ratios


def _resize(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return picture
    height, width = (max(1, round(size * scale)) for size in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _moved(face: Face, pixels: float, scale: float) -> Face:
    """Return a face moved to the right and down, then enlarged with its picture."""
    left, top, right, bottom = (scale * (value + pixels) for value in face.box)
    landmarks = scale * (face.landmarks + pixels)
    return Face((left, top, right, bottom), face.score, landmarks)
