"""Read a model's specification, and check that its values make a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .json_files import check_kinds, read_object, shorten

KINDS: dict[str, Any] = {
    "arch": str,
    "arch_options": dict[str, Any],
    "crop_size": int,
    "expressions": tuple[str, ...],
    "framing": str,
    "image_size": int,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "temperature": float,
}
"""Fields of the specification that are read, and their kinds."""
SPEC_FRAMINGS = ("detect", "none")
LARGEST_IMAGE = 1024
"""Side of the input, in pixels, that no model exceeds."""


def read_specification(path: Path) -> dict[str, Any]:
    """Read a specification, of which more may be there than is read.

    Raises:
        OSError: It is missing or may not be read.
        ValueError: It is damaged; the message says how.
    """
    spec = read_object(path)
    missing = KINDS.keys() - spec.keys()
    if missing:
        raise ValueError(f"it has no {min(missing)}")
    check_kinds(spec, KINDS)
    check_ranges(spec)
    return spec


def check_ranges(spec: Mapping[str, Any]) -> None:
    """Check a specification whose values are each of their kind.

    Raises:
        ValueError: A value makes no model; the message names it.
    """
    size = spec["image_size"]
    requirements = {
        "image_size": (f"lie between 1 and {LARGEST_IMAGE}", 0 < size <= LARGEST_IMAGE),
        "crop_size": (f"lie between 1 and image_size ({size})", 0 < spec["crop_size"] <= size),
        "mean": ("hold 3 numbers", len(spec["mean"]) == 3),
        "std": ("hold 3 numbers above 0", len(spec["std"]) == 3 and min(spec["std"]) > 0),
        "temperature": ("be above 0", spec["temperature"] > 0),
        "framing": (f"be {' or '.join(SPEC_FRAMINGS)}", spec["framing"] in SPEC_FRAMINGS),
    }
    for name, (requirement, is_met) in requirements.items():
        if not is_met:
            raise ValueError(f"{name} must {requirement}, not {shorten(repr(spec[name]))}")
