"""The registered model's own code: logged beside the weights, it needs neither this project nor a pickle.

Input: a table with the column `image`, each a picture's bytes in base64. Output: one row per picture with the number of
its input row, the expression, one probability per expression, and `error`, a sentence where the row is no picture.
"""

import base64
import binascii
import io
import json
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
import torchvision
from mlflow.pyfunc.model import PythonModel
from PIL import Image, ImageOps
from safetensors.torch import load_file

MAX_PIXELS = 50_000_000
BATCH = 32


class ServedModel(PythonModel):
    """Expression recognition on encoded pictures."""

    def load_context(self, context: Any) -> None:
        """Rebuild the trunk and load its weights.

        Args:
            context: MLflow's; its artifact `classifier` is a folder of `model.json` and `model.safetensors`.
        """
        folder = Path(context.artifacts["classifier"])
        self.spec = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.expressions: list[str] = self.spec["expressions"]
        self.trunk = torchvision.models.get_model(
            self.spec["arch"], weights=None, num_classes=len(self.expressions), **self.spec["arch_options"]
        )
        state = load_file(folder / "model.safetensors")
        self.trunk.load_state_dict({name.removeprefix("trunk."): tensor for name, tensor in state.items()})
        self.trunk.eval()

    # MLflow reads the annotation of `model_input` and warns of any but a few kinds.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row for every picture.

        Args:
            context: Not used.
            model_input: Table with the column `image`: base64 text, or bytes when called in Python.
            params: Not used.
        """
        rows: list[dict[str, Any]] = []
        pending: list[tuple[int, np.ndarray[Any, Any]]] = []
        for number, value in enumerate(model_input["image"]):
            rows.append({"input_row": number, "expression": None} | dict.fromkeys(self.expressions) | {"error": None})
            try:
                pending.append((number, self._pixels(value)))
            except ValueError as error:
                rows[number]["error"] = str(error)
        for start in range(0, len(pending), BATCH):
            chunk = pending[start : start + BATCH]
            for (number, _), scores in zip(chunk, self._probabilities([pixels for _, pixels in chunk]), strict=True):
                rows[number]["expression"] = self.expressions[int(scores.argmax())]
                rows[number].update(zip(self.expressions, scores.tolist(), strict=True))
        table = pd.DataFrame(rows, columns=["input_row", "expression", *self.expressions, "error"], dtype=object)
        return table.astype({"input_row": "int64"})

    def _pixels(self, value: Any) -> np.ndarray[Any, Any]:
        """Return a picture as uint8 `(S, S, 3)`.

        Raises:
            ValueError: With a sentence fit for whoever sent the row.
        """
        side = self.spec["image_size"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                image: Image.Image = Image.open(io.BytesIO(_content(value)))
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError("the picture is too large")
                image = ImageOps.exif_transpose(image)
            except (OSError, SyntaxError, EOFError, Image.DecompressionBombError):
                raise ValueError("the row is not a readable picture") from None
        return np.asarray(_rgb(image).resize((side, side), Image.Resampling.BILINEAR))

    @torch.inference_mode()
    def _probabilities(self, pictures: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(self.spec["mean"]).view(1, 3, 1, 1)
        std = torch.tensor(self.spec["std"]).view(1, 3, 1, 1)
        scores: np.ndarray[Any, Any] = self.trunk((pixels - mean) / std).softmax(1).numpy()
        return scores


def _content(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("the row holds no text: send the picture's bytes in base64")
    try:
        return base64.b64decode(value.rsplit(",", 1)[-1], validate=True)  # a data URL has a head before the comma
    except (binascii.Error, ValueError):
        raise ValueError("the row is not base64: send the picture's bytes in base64") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


mlflow.models.set_model(ServedModel())
