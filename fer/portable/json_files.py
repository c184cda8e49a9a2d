"""Read and check JSON files that somebody may have damaged or edited."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

MAX_BYTES = 20_000_000
"""Of a file; the largest, the summary of a prepared set, has less than a tenth."""
MAX_NUMBER = 2**31
"""Whole numbers lie below it, and numbers below its square."""
MAX_QUOTE = 100
"""Characters that a message quotes at most."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: It is missing or may not be read.
        ValueError: It is not JSON in UTF-8, is huge, is nested too deep, or holds NaN or infinity; the message says so
            briefly.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    return parse_json(content)


def parse_json(content: bytes | str) -> Any:
    """Return what a JSON text holds; errors as of `read_json`."""
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None
    except ValueError as error:
        raise ValueError(shorten(str(error))) from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of names and values; errors as of `read_json`, also where it holds something else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not names and values")
    return content


def check_kinds(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Check that values are of their kinds.

    Args:
        values: By name; those without a kind are not looked at.
        kinds: By name: `str`, `int` (from 0), `float` (finite), `dict[str, Any]` (of plain values), or `tuple[X, ...]`
            of one of these, which may be a list too.

    Raises:
        ValueError: One is not; the message names it.
    """
    for name, kind in kinds.items():
        if name in values and not _is_of_kind(values[name], kind):
            raise ValueError(f"{name} must be {_describe(kind)}, not {shorten(repr(values[name]))}")


def _is_of_kind(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        part = get_args(kind)[0]
        return isinstance(value, list | tuple) and all(_is_of_kind(item, part) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(isinstance(item, bool | int | float | str) for item in value.values())
    # To Python true and false are whole numbers.
    if kind is str or isinstance(value, bool):
        return kind is str and isinstance(value, str)
    if kind is int:
        return isinstance(value, int) and 0 <= value < MAX_NUMBER
    # Compared instead of converted, because a float cannot hold every whole number; NaN is not between either.
    return isinstance(value, int | float) and -(MAX_NUMBER**2) < value < MAX_NUMBER**2


def _describe(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list, each {_describe(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "names and plain values"
    return {str: "text", int: "a whole number from 0", float: "a number"}[kind]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def shorten(text: str) -> str:
    """Return a text in one line of at most `MAX_QUOTE` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_QUOTE else f"{line[: MAX_QUOTE - 3]}..."
