"""The classifier as a logged model keeps it: safetensors and a JSON specification, rebuilt on a torchvision trunk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional as F

WEIGHTS, SPEC = "model.safetensors", "model.json"
BATCH = 32
"""Faces that are classified at once."""


class PortableClassifier:
    """A classifier of face crops, on the CPU.

    Args:
        folder: Holds `WEIGHTS` and `SPEC`.

    Attributes:
        expressions: Names of the outputs, in order.
        crop_size: Side of the crops in pixels.
        framing: `detect`, framed faces, or `none`, whole pictures as squares.
    """

    def __init__(self, folder: Path) -> None:
        spec: dict[str, Any] = json.loads((folder / SPEC).read_text(encoding="utf-8"))
        self.expressions: list[str] = spec["expressions"]
        self.crop_size: int = spec["crop_size"]
        self._image_size: int = spec["image_size"]
        self.framing: str = spec["framing"]
        self._temperature: float = spec.get("temperature", 1.0)
        self._mean, self._std = (255 * torch.tensor(spec[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        self._trunk = torchvision.models.get_model(
            spec["arch"], weights=None, num_classes=len(self.expressions), **spec["arch_options"]
        )
        state = load_file(folder / WEIGHTS)
        self._trunk.load_state_dict({name.removeprefix("trunk."): tensor for name, tensor in state.items()})
        self._trunk.eval()

    @torch.inference_mode()
    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return the probabilities of crops `(S, S, 3)`, RGB in [0, 255]: `(N, 7)`, rows sum to 1."""
        rows = [np.empty((0, len(self.expressions)))]
        for start in range(0, len(crops), BATCH):
            pixels = torch.from_numpy(np.stack(crops[start : start + BATCH])).permute(0, 3, 1, 2).float()
            if self.crop_size != self._image_size:
                # Cut as small as the training faces and then enlarged as they were: no sharper than the model knows.
                size = (self._image_size, self._image_size)
                pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
            scores = self._trunk((pixels - self._mean) / self._std).double() / self._temperature
            rows.append(scores.softmax(1).numpy())
        return np.concatenate(rows)
