"""An evaluation's answers as CSV, for people and for `compare`."""

import csv
import io

import numpy as np
from numpy.typing import NDArray

from fer.data.manifest import Manifest
from fer.expressions import EXPRESSIONS
from fer.report import Report


def confusion_csv(result: Report) -> str:
    """Return the confusion matrix as CSV: a row per true expression, a column per answer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true", *result.expressions])
    writer.writerows([name, *row] for name, row in zip(result.expressions, result.confusion.tolist(), strict=True))
    return text.getvalue()


def predictions_csv(tested: Manifest, probabilities: NDArray[np.float64]) -> str:
    """Return a row per image: its place, identity, truth, answer and probabilities, so that runs can be compared.

    Args:
        tested: The images.
        probabilities: `(N, 7)`, in their order.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "sha256", "person", "angle", "true", "predicted", *EXPRESSIONS])
    for row, scores in zip(tested.images, probabilities, strict=True):
        answer = EXPRESSIONS[int(scores.argmax())]
        shares = [f"{score:.6f}" for score in scores]
        writer.writerow([row.path, row.sha256, row.person, row.angle, row.expression, answer, *shares])
    return text.getvalue()
