"""Assemble what a run's page shows of each tested set: figures, plots, and the surest mistakes."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fer.attribution.artifact import PAGE, credits_of
from fer.attribution.credits import Credit
from fer.data.framing import read_thumbnail
from fer.data.manifest import ImageRow, Manifest
from fer.evaluation.datasets import Evaluation, flat_reports
from fer.evaluation.names import IMAGES, UNCONTAMINATED, metric_key
from fer.expressions import EXPRESSIONS
from fer.model_card.run_report import Plot, ShownMistake, ShownSet
from fer.pipeline.contamination import Contamination
from fer.portable.images import UnusableImage
from fer.tracking.names import ATTRIBUTION, CONFUSION_PLOT, RELIABILITY_PLOT, evaluation_path
from fer.tracking.runs import TrackedRun

MISTAKES = 12
"""Mistakes of each set that are shown."""
SIDE = 96
"""Longest side of their pictures, in pixels."""
QUALITY = 80
"""Of their JPEGs."""


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

    They show wrong labels, odd pictures, and what a classifier really looks at.

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


def plots(run: TrackedRun, titles: Mapping[str, str]) -> list[Plot]:
    """Return figures that a run has logged, those that it has.

    Args:
        run: The run.
        titles: What each shows, by artifact path.
    """
    return [Plot(title, run.figures[path]) for path, title in titles.items() if path in run.figures]


def shown_sets(
    run: TrackedRun,
    evaluations: Mapping[str, Evaluation],
    contamination: Mapping[str, Contamination],
    root: Path,
) -> list[ShownSet]:
    """Return what a run's page shows of each tested set.

    Args:
        run: The run, which has logged the sets' figures.
        evaluations: By the sets' names.
        contamination: Likewise.
        root: The data root.

    Raises:
        DataError: A picture can no longer be read, or the record of credits is damaged.
    """
    tested = []
    for name, evaluation in evaluations.items():
        title = f"{evaluation.dataset.title}, {evaluation.part} set"
        titles = {
            evaluation_path(name, CONFUSION_PLOT): f"Confusion matrix: {title}",
            evaluation_path(name, RELIABILITY_PLOT): f"Confidence and accuracy: {title}",
        }
        mistakes, hidden = _shown_mistakes(evaluation, root)
        seen = contamination[name]
        credits = f"{ATTRIBUTION}/{PAGE} among this run's artifacts names authors and licences of its pictures"
        tested.append(
            ShownSet(
                title=title,
                reports=flat_reports({name: evaluation}),
                contamination=seen.message,
                seen=bool(seen.matches),
                unseen=_unseen(seen) if seen.matches else {},
                plots=plots(run, titles),
                mistakes=mistakes,
                hidden=hidden,
                credits=credits if evaluation.dataset.credits else "",
            )
        )
    return tested


def _unseen(seen: Contamination) -> dict[str, float]:
    """Return the figures on images that were not seen, by measure; none where no image is left."""
    if metric_key(UNCONTAMINATED, IMAGES) not in seen.figures:
        return {}
    prefix = f"{UNCONTAMINATED}/"
    return {key.removeprefix(prefix): value for key, value in seen.figures.items() if key.startswith(prefix)}


def _shown_mistakes(evaluation: Evaluation, root: Path) -> tuple[list[ShownMistake], str]:
    """Return the surest mistakes on a set, with their pictures where these may be shown; and why not, if so."""
    mistakes = most_confident_mistakes(evaluation, MISTAKES)
    credits, hidden = _credits(evaluation, mistakes, root)
    pictures = [b""] * len(mistakes)
    if not hidden:
        try:
            pictures = [_jpeg(read_thumbnail(mistake.image, root, SIDE)) for mistake in mistakes]
        except UnusableImage:
            hidden = "one of them can no longer be read"
    shown = []
    for mistake, picture in zip(mistakes, pictures, strict=True):
        image = mistake.image
        credit = None if hidden else credits.get(image.path)
        shown.append(
            ShownMistake(image.path, image.expression, mistake.predicted, mistake.probability, picture, credit)
        )
    return shown, hidden


def _credits(evaluation: Evaluation, mistakes: Sequence[Mistake], root: Path) -> tuple[dict[str, Credit], str]:
    """Return the credits with which the pictures may be shown, by path; and why they may not, if so."""
    dataset = evaluation.dataset
    if dataset.showable:
        return {}, ""
    if not dataset.credits:
        return {}, f"those of {dataset.title} may not be"
    images = Manifest(dataset.name, tuple(mistake.image for mistake in mistakes))
    credits = credits_of(images, root)
    unresolved = sum(not credit.resolved for credit in credits.values())
    # A picture without its author's name may not be shown, though it may be tested on.
    if unresolved:
        return {}, f"the authors of {unresolved} of them are unresolved, and fer attribution refresh looks them up"
    return credits, ""


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="JPEG", quality=QUALITY)
    return content.getvalue()
