"""Predictions of a logged model: encoded pictures in, a row for every face out, and a sentence where there is none.

The classifier is safetensors and a JSON specification, rebuilt by torchvision.
"""

import base64
import binascii
import logging
import math
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional as F

from .detection import CenterFace, detection_memory
from .framing import FramedFace, framed_faces
from .images import MAX_BYTES, MAX_PIXELS, UnusableImage, decode
from .memory import open_within_budget
from .specification import read_specification

WEIGHTS = "model.safetensors"
SPEC = "model.json"
BATCH = 32
"""Faces that are classified at once."""
FRAMINGS = ("auto", "none")
BOX = ("box_left", "box_top", "box_right", "box_bottom")
BLANKS = dict.fromkeys(map(ord, string.whitespace))
LONGEST_TEXT = 2 * MAX_BYTES
"""Characters of the longest picture in base64, which takes 4 for 3 bytes, with its breaks of lines."""
SEND = "send the picture's bytes in base64"
NO_FACE = "no face was found: give the params framing=none to take the whole picture as one face"
FAILED = "the picture could not be processed: the reason is in the log of the model"

Row = dict[str, Any]


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
                spec["arch"],
                weights=None,
                num_classes=len(self.expressions),
                **spec["arch_options"],
            )
            state = load_file(folder / WEIGHTS)
            # The project's classifier holds the backbone behind its normalisation, as a part of this name.
            tensors = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
            self._backbone.load_state_dict(tensors)
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


def _read_spec(path: Path) -> dict[str, Any]:
    """Read a model's specification and check it.

    Raises:
        UnusableModel: It is missing or damaged.
    """
    try:
        return read_specification(path)
    except (OSError, ValueError) as error:
        raise UnusableModel(f"{path} is damaged ({error}): log or download the model again") from None


class UnusableRow(Exception):
    """A row without a prediction; the message is a sentence for whoever sent it."""


class Predictor:
    """A model with its detector.

    Args:
        classifier: Folder of the classifier.
        detector: CenterFace as an ONNX file whose input may have any size.

    Attributes:
        columns: Names of the columns of rows, in order.
    """

    def __init__(self, classifier: Path, detector: Path) -> None:
        self._classifier = PortableClassifier(classifier)
        self._detector = CenterFace(detector.read_bytes())
        self.columns = ["input_row", "expression", *self._classifier.expressions, *BOX, "face_score", "error"]

    def rows(self, values: Iterable[Any], framing: str) -> list[Row]:
        """Return a row for every face, those of one picture together and its main face first.

        Args:
            values: Pictures, each as base64 text, with a data URL's head or without, or as bytes.
            framing: `auto`: as the model was trained, framed faces or whole pictures; `none`: whole pictures.

        Returns:
            Values by column; None in all but `input_row` and `error` where a picture gives no prediction.
        """
        rows: list[Row] = []
        for number, value in enumerate(values):
            rows += self._rows_of(number, value, framing)
        return rows

    def refusal(self, number: int, message: str) -> Row:
        """Return the row of a picture without a prediction."""
        return dict.fromkeys(self.columns) | {"input_row": number, "error": message}

    def _rows_of(self, number: int, value: Any, framing: str) -> list[Row]:
        """Return the rows of one picture."""
        try:
            faces = self._faces(value, framing)
            probabilities = self._classifier.probabilities([face.crop for face in faces])
        except UnusableRow as error:
            return [self.refusal(number, str(error))]
        except Exception:
            # Whatever happens, the other rows get their predictions, and the reason stays on this machine.
            logging.getLogger(__name__).exception("row %d failed", number)
            return [self.refusal(number, FAILED)]
        return [self._row(number, face, row.tolist()) for face, row in zip(faces, probabilities, strict=True)]

    def _faces(self, value: Any, framing: str) -> list[FramedFace]:
        if framing not in FRAMINGS:
            raise UnusableRow(f"the params framing must be {' or '.join(FRAMINGS)}")
        detects = framing == "auto" and self._classifier.framing == "detect"
        detector = self._detector if detects else None
        try:
            faces = open_within_budget(
                decode_value(value),
                lambda image: framed_faces(decode(image)[0], self._classifier.crop_size, detector),
                detection_memory if detects else None,
            )
        except UnusableImage as error:
            fault = "too large" if str(error).startswith("huge") else "not readable"
            raise UnusableRow(f"the picture is {fault}: send a JPEG or PNG of at most {MAX_PIXELS} pixels") from None
        if not faces:
            raise UnusableRow(NO_FACE)
        return faces

    def _row(self, number: int, face: FramedFace, probabilities: list[float]) -> Row:
        by_name = dict(zip(self._classifier.expressions, probabilities, strict=True))
        return {
            "input_row": number,
            "expression": max(by_name, key=by_name.__getitem__),
            **by_name,
            **dict(zip(BOX, face.box, strict=True)),
            "face_score": face.score,
            "error": None,
        }


def decode_value(value: Any) -> bytes:
    """Return the bytes of a picture that a row holds.

    Raises:
        UnusableRow: It holds neither bytes nor base64.
        UnusableImage: It holds more than any picture has.
    """
    if isinstance(value, bytes):
        return value
    # Tables have NaN where JSON has null. Of other kinds, such as arrays, not even that can be asked.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise UnusableRow(f"the row is empty: {SEND}")
    if not isinstance(value, str):
        raise UnusableRow(f"the row holds no text: {SEND}")
    if not value:
        raise UnusableRow(f"the row is empty: {SEND}")
    if len(value) > LONGEST_TEXT:
        raise UnusableImage(f"huge text of {len(value)} characters")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        # Mail and shells wrap base64 into lines. Split at each blank, a text of blanks would take fifty times its size.
        return base64.b64decode(text.translate(BLANKS), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableRow(f"the row is not base64: {SEND}") from None
