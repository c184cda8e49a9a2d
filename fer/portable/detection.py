"""Finding faces: what a detector gives, and CenterFace, the one in use.

Xu, Yan, Yang, Sun & Ye, "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019 (MIT,
github.com/Star-Clouds/CenterFace).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INPUT, OUTPUTS = "input.1", ("537", "538", "539", "540")
"""Names in the file: RGB in [0, 255]; heat map of centres, logarithms of sizes, offsets of centres, landmarks."""
STRIDE, MULTIPLE = 4, 32
"""Pixels a side of an output's cell, and what the input's sides must be multiples of."""
SMALLEST, LARGEST = 192, 640
"""The longest side is brought into this range: tiny faces are missed, and large pictures take long."""
BORDER = 0.4
"""Border, as a share of the longest side, for the last look at a picture in which no face was found."""
LEAST_SCORE, MOST_OVERLAP = 0.5, 0.3
"""Score that makes a face, and intersection over union from which the weaker of two faces is dropped."""


@dataclass(frozen=True)
class Face:
    """A face in a picture; positions are (x, y) in pixels from the picture's upper left corner.

    Attributes:
        box: Left, top, right, bottom; may reach beyond the picture.
        score: The detector's confidence in [0, 1].
        landmarks: `(5, 2)`: the eye at the left of the picture, the eye at the right, nose, and the mouth's corners.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float64]


class Detector(Protocol):
    """What framing asks of a detector; several threads may share one."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """Its version: other versions may find other faces."""

    def faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture `(H, W, 3)`, RGB in [0, 255], best score first."""


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
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # else it warns of every weight that the file lists among its inputs
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.version = version

    def faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture `(H, W, 3)`, RGB in [0, 255], best score first.

        A picture in which none is found is looked at again smaller, where a face fills less of the network's view, and
        then with a border.
        """
        longest = max(picture.shape[:2])
        side = min(max(longest, SMALLEST), LARGEST)
        looks = [(side, 0.0), (SMALLEST, 0.0), (SMALLEST, BORDER)]
        for size, border in looks if side > SMALLEST else looks[1:]:
            if found := self._look(_scaled(picture, size / longest), round(border * size)):
                return [_moved(face, longest / size) for face in found]
        return []

    def _look(self, picture: NDArray[np.uint8], border: int) -> list[Face]:
        """Return the faces of a picture as it is, continued by a border and to sides the network takes."""
        after = [border + -(size + 2 * border) % MULTIPLE for size in picture.shape[:2]]
        wide = np.pad(picture, ((border, after[0]), (border, after[1]), (0, 0)), mode="edge")
        batch = wide.transpose(2, 0, 1)[None].astype(np.float32)
        heat, sizes, offsets, landmarks = self._session.run(OUTPUTS, {INPUT: batch})
        return [
            Face((left - border, top - border, right - border, bottom - border), score, points - border)
            for (left, top, right, bottom), score, points in decode(heat[0, 0], sizes[0], offsets[0], landmarks[0])
        ]


Decoded = tuple[tuple[float, float, float, float], float, NDArray[np.float64]]


def decode(
    heat: NDArray[np.float32], sizes: NDArray[np.float32], offsets: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> list[Decoded]:
    """Return the faces that the network's outputs tell of, best score first.

    A cell's face is centred half a cell and its offset into the cell; its size is the exponential of the output, in
    cells; its landmarks stand in shares of its box. Pairs of outputs are (vertical, horizontal).

    Args:
        heat: `(h, w)`, scores in [0, 1].
        sizes: `(2, h, w)`.
        offsets: `(2, h, w)`.
        landmarks: `(10, h, w)`.

    Returns:
        (left, top, right, bottom), score and landmarks `(5, 2)` as (x, y), in pixels of the input.
    """
    cells = np.argwhere(heat > LEAST_SCORE)
    cells = cells[np.argsort(-heat[cells[:, 0], cells[:, 1]], kind="stable")]
    down, across = cells.T
    span = STRIDE * np.exp(sizes[:, down, across].T.astype(np.float64))
    first = STRIDE * (cells + offsets[:, down, across].T + 0.5) - span / 2
    points = first[:, None] + span[:, None] * landmarks[:, down, across].T.reshape(-1, 5, 2)
    boxes = np.concatenate([first[:, ::-1], (first + span)[:, ::-1]], axis=1)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not kept or overlaps(boxes[index], boxes[kept]).max() < MOST_OVERLAP:
            kept.append(index)
    return [(tuple(boxes[n].tolist()), float(heat[down[n], across[n]]), points[n, :, ::-1]) for n in kept]


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of a box (left, top, right, bottom) with each of `(N, 4)` others."""
    corners = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.prod(np.maximum(corners, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    shares: NDArray[np.float64] = common / (np.prod(box[2:] - box[:2]) + areas - common)
    return shares


def _scaled(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return picture
    height, width = (max(1, round(size * scale)) for size in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _moved(face: Face, scale: float) -> Face:
    """Return a face of the scaled picture in pixels of the picture itself."""
    left, top, right, bottom = (scale * value for value in face.box)
    return Face((left, top, right, bottom), face.score, scale * face.landmarks)
