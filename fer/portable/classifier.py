"""Classify face crops with a logged model: safetensors and a JSON specification, rebuilt by torchvision."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional as F

from .json_files import check_kinds, read_object, shorten

WEIGHTS = "model.safetensors"
SPEC = "model.json"
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
FRAMINGS = ("detect", "none")
LARGEST_IMAGE = 1024
"""Side of the input, in pixels, that no model exceeds."""
BATCH = 32
"""Faces that are classified at once."""


class UnusableModel(Exception):
    """A folder that holds no model that can be rebuilt; the message is a sentence that names it."""


class PortableClassifier:
    """A classifier of face crops, on the CPU.

    Args:
        folder: Holds `WEIGHTS` and `SPEC`.

    Attributes:
        expressions: Names of the outputs, in order.
        crop_size: Side of the crops in pixels.
        framing: `detect`, framed faces, or `none`, whole pictures as squares.

    Raises:
        UnusableModel: The files are missing or damaged, or do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        spec = _read_spec(folder / SPEC)
        self.expressions: list[str] = spec["expressions"]
        self.crop_size: int = spec["crop_size"]
        self._image_size: int = spec["image_size"]
        self.framing: str = spec["framing"]
        self._temperature: float = spec["temperature"]
        # The specification's are of pixels in [0, 1].
        self._mean = 255 * torch.tensor(spec["mean"]).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(spec["std"]).view(1, 3, 1, 1)
        try:
            self._backbone = torchvision.models.get_model(
                spec["arch"], weights=None, num_classes=len(self.expressions), **spec["arch_options"]
            )
            state = load_file(folder / WEIGHTS)
            self._backbone.load_state_dict({name.removeprefix("backbone."): tensor for name, tensor in state.items()})
        except Exception as error:
            # torchvision, torch and safetensors raise many kinds for what does not fit.
            raise UnusableModel(f"{folder} holds no model: {' '.join(str(error).split())[:160]}") from None
        self._backbone.eval()

    @torch.inference_mode()
    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return the probabilities of crops `(S, S, 3)`, RGB in [0, 255]: `(N, 7)`, rows sum to 1."""
        # An empty first part: without any crop there is still something to concatenate.
        rows = [np.empty((0, len(self.expressions)))]
        for start in range(0, len(crops), BATCH):
            batch = np.stack(crops[start : start + BATCH])
            pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
            if self.crop_size != self._image_size:
                # Cut as small as the training faces and then enlarged as they were: no sharper than the model knows.
                size = (self._image_size, self._image_size)
                pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
            logits = self._backbone((pixels - self._mean) / self._std).double()
            rows.append((logits / self._temperature).softmax(1).numpy())
        return np.concatenate(rows)


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
        "framing": (f"be {' or '.join(FRAMINGS)}", spec["framing"] in FRAMINGS),
    }
    for name, (requirement, is_met) in requirements.items():
        if not is_met:
            raise ValueError(f"{name} must {requirement}, not {shorten(repr(spec[name]))}")


def _read_spec(path: Path) -> dict[str, Any]:
    """Read a model's specification and check it.

    Raises:
        UnusableModel: It is missing or damaged.
    """
    try:
        spec = read_object(path)
        if missing := KINDS.keys() - spec.keys():
            raise ValueError(f"it has no {min(missing)}")
        check_kinds(spec, KINDS)
        check_ranges(spec)
    except (OSError, ValueError) as error:
        raise UnusableModel(f"{path} is damaged ({error}): log or download the model again") from None
    return spec
