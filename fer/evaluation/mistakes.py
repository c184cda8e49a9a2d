"""Find the mistakes a classifier is surest of: they show wrong labels, odd pictures, and what it really looks at."""

from dataclasses import dataclass

import numpy as np

from fer.data.manifest import ImageRow
from fer.evaluation.datasets import Evaluation
from fer.expressions import EXPRESSIONS


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image.

    Attributes:
        image: The image, with its true expression.
        predicted: The predicted expression.
        probability: Of the prediction, in [0, 1].
    """

    image: ImageRow
    predicted: str
    probability: float


def most_confident_mistakes(evaluation: Evaluation, count: int) -> list[Mistake]:
    """Return the wrong predictions of the highest probability, the surest first, equal ones as in the manifest.

    Args:
        evaluation: The predictions.
        count: Return so many at most.
    """
    images = evaluation.manifest.images
    predicted = evaluation.probabilities.argmax(axis=1)
    truth = np.array([EXPRESSIONS.index(image.expression) for image in images])
    highest = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    surest = wrong[np.argsort(-highest[wrong], kind="stable")][:count]
    return [Mistake(images[index], EXPRESSIONS[predicted[index]], float(highest[index])) for index in surest]
