"""Predictions of a logged model: encoded pictures in, a row for every face out, and a sentence where there is none."""

import base64
import binascii
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .classifier import PortableClassifier
from .detection import CenterFace
from .framing import FramedFace, framed_faces
from .images import MAX_PIXELS, UnusableImage, decode_rgb

FRAMINGS = ("auto", "none")
BOX = ("box_left", "box_top", "box_right", "box_bottom")
SEND = "send the picture's bytes in base64"
NO_FACE = "no face was found: give the params framing=none to take the whole picture as one face"
FAILED = "the picture could not be processed: the reason is in the log of the model"

Row = dict[str, Any]


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
        try:
            picture = decode_rgb(decode_value(value))
        except UnusableImage as error:
            fault = "too large" if str(error).startswith("huge") else "not readable"
            raise UnusableRow(f"the picture is {fault}: send a JPEG or PNG of at most {MAX_PIXELS} pixels") from None
        detects = framing == "auto" and self._classifier.framing == "detect"
        faces = framed_faces(picture, self._classifier.crop_size, self._detector if detects else None)
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
    """
    if isinstance(value, bytes):
        return value
    # Tables have NaN where JSON has null.
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise UnusableRow(f"the row is empty: {SEND}")
    if not isinstance(value, str):
        raise UnusableRow(f"the row holds no text: {SEND}")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        # Mail and shells wrap base64 into lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableRow(f"the row is not base64: {SEND}") from None
