"""Tell whether a model has seen the images it is tested on, and what its figures are without them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer.data.datasets.base import DataSet
from fer.data.manifest import read_manifest
from fer.errors import DataError
from fer.evaluation.metrics import confusion_matrix, mean_class_accuracy
from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    CONTAMINATED_IMAGES,
    IMAGES,
    PRETRAINING_CONTAMINATED_IMAGES,
    UNCONTAMINATED,
    metric_key,
)
from fer.expressions import EXPRESSIONS
from fer.models.backbones import ModelSpec
from fer.models.initial_weights import InitialWeights
from fer.tracking.names import CONTAMINATION_FILE, PRETRAINING_IMAGES, TRAINING_IMAGES, evaluation_path
from fer.utils.paths import manifest_path
from fer.utils.rendering import csv_text

# The search for copies is imported where it is made: with `contamination=skip` a training needs none of it.
if TYPE_CHECKING:
    from fer.contamination.matching import Match
    from fer.contamination.signatures import ImageSignatures
    from fer.evaluation.datasets import Evaluation

COLUMNS = ("test", "training_set", "training", "labels", "kind", "correlation")


@dataclass(frozen=True)
class SeenImages:
    """The images a model has seen.

    Attributes:
        training: `<set>/<digest>` of the training splits it saw with labels; a training on a part of one counts as on
            all of it.
        pretraining: Likewise what its encoder saw without labels.
    """

    training: tuple[str, ...]
    pretraining: tuple[str, ...]

    def after(self, splits: tuple[str, ...], labels: bool) -> "SeenImages":
        """Return what a model has seen after a training on more splits, with or without their labels."""
        field = "training" if labels else "pretraining"
        # A second training on the same split adds nothing.
        together = dict.fromkeys(getattr(self, field) + splits)
        return replace(self, **{field: tuple(together)})

    def tags(self) -> dict[str, str]:
        """Return the tags of a run whose model has seen them."""
        splits = {TRAINING_IMAGES: self.training, PRETRAINING_IMAGES: self.pretraining}
        return {key: ",".join(names) for key, names in splits.items() if names}


def store_signatures(sets: Sequence[DataSet], root: Path, look: bool = True) -> tuple[str, ...]:
    """Store signatures of the training images, by which they are known again; return `<set>/<digest>` of each split.

    Args:
        sets: Prepared sets.
        root: The data root.
        look: Whether to look at the pictures at all; a later test can still do so.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """
    names = []
    for dataset in sets:
        manifest = read_manifest(manifest_path(root, dataset.name))
        split = manifest.of("train")
        names.append(f"{split.dataset}/{split.digest}")
        if look:
            from fer.contamination.signatures import image_signatures

            image_signatures(split, root)
    return tuple(names)


def seen_images(model: ModelSpec | InitialWeights, run_id: str = "") -> SeenImages:
    """Return what a model has seen, by itself or, where it does not say, by the run it came from.

    Args:
        model: Its specification, or the weights that were made of it.
        run_id: The run, or empty.
    """
    seen = SeenImages(model.training_images, model.pretraining_images)
    if run_id and not seen.tags():
        # Reading runs brings all of `compare` along.
        from fer.tracking.provenance import images_of_run

        seen = SeenImages(*images_of_run(run_id))
    return seen


@dataclass(frozen=True)
class Contamination:
    """Which test images of a set a model has seen.

    Attributes:
        message: One sentence: how many and what its accuracy is without them, or why that is not known.
        figures: Counts, and accuracies without them, under their names within the set; empty where nothing is known.
        matches: The matches as CSV; empty where there are none.
    """

    message: str
    figures: Mapping[str, float] = field(default_factory=dict)
    matches: str = ""


def find_contamination(
    evaluations: Mapping[str, "Evaluation"],
    seen: SeenImages,
    root: Path,
    option: str = "check",
) -> dict[str, Contamination]:
    """Tell by set which tested images a model has seen, and its accuracy without them; print what is to be known.

    Args:
        evaluations: By the sets' names.
        seen: What the model has seen.
        root: The data root.
        option: `check` or `skip`.
    """
    # A set that was not looked at must not seem clean, so each one has a sentence.
    if option == "skip":
        return dict.fromkeys(evaluations, Contamination("not looked for: contamination=skip"))
    try:
        training, pretraining = _load_all_signatures(seen, root)
    except (LookupError, DataError) as unknown:
        return dict.fromkeys(evaluations, Contamination(f"unknown: {unknown}"))
    by_set = {}
    for name, evaluation in evaluations.items():
        try:
            labelled = _matches(evaluation, training, root)
            unlabelled = _matches(evaluation, pretraining, root)
        except DataError as unknown:
            # The pictures are gone or the disk is full: no reason to lose a training and its figures.
            by_set[name] = Contamination(f"unknown: {unknown}")
            print(f"warning: {name}: whether the model has seen its images is unknown: {unknown}")
            continue
        figures = contamination_figures(evaluation, labelled, unlabelled)
        message = _message(evaluation, figures, [*labelled, *unlabelled])
        matches = matches_csv(labelled, unlabelled) if labelled or unlabelled else ""
        by_set[name] = Contamination(message, figures, matches)
        if matches:
            print(f"warning: {name}: {message}")
    return by_set


def _load_all_signatures(seen: SeenImages, root: Path) -> tuple[list["ImageSignatures"], list["ImageSignatures"]]:
    """Return the signatures of the images seen with labels and without; raise a LookupError that says why not."""
    from fer.contamination.signatures import load_signatures

    if not seen.training:
        raise LookupError("the model does not say which images it was trained on")
    loaded = {}
    for name in seen.training + seen.pretraining:
        dataset, _, digest = name.partition("/")
        signatures = load_signatures(dataset, digest, root)
        # One that is missing makes all figures doubtful: its images may be those of the test.
        if signatures is None:
            raise LookupError(f"the data root holds no training images of {dataset} with digest {digest}")
        loaded[name] = signatures
    labelled = [loaded[name] for name in seen.training]
    unlabelled = [loaded[name] for name in seen.pretraining]
    return labelled, unlabelled


def _matches(evaluation: "Evaluation", splits: Sequence["ImageSignatures"], root: Path) -> list["Match"]:
    from fer.contamination.matching import cached_matches

    matches: list[Match] = []
    for signatures in splits:
        matches += cached_matches(evaluation.manifest, signatures, root)
    return matches


def contamination_figures(
    evaluation: "Evaluation",
    labelled: Sequence["Match"],
    unlabelled: Sequence["Match"],
) -> dict[str, float]:
    """Count the seen images of a set and compute the accuracies without them; absent where no image is left.

    Args:
        evaluation: The model's predictions on the set.
        labelled: Test images that training saw with labels.
        unlabelled: Test images that pre-training saw without labels.
    """
    # A test image may match several training images, and counts once.
    seen_labelled = {match.test for match in labelled}
    seen_unlabelled = {match.test for match in unlabelled}
    figures = {CONTAMINATED_IMAGES: float(len(seen_labelled))}
    if seen_unlabelled:
        figures[PRETRAINING_CONTAMINATED_IMAGES] = float(len(seen_unlabelled))
    rows = evaluation.manifest.images
    seen = seen_labelled | seen_unlabelled
    clean = np.array([row.path not in seen for row in rows])
    if clean.any():
        labels = np.array([EXPRESSIONS.index(row.expression) for row in rows])
        predictions = evaluation.probabilities.argmax(axis=1)
        confusion = confusion_matrix(labels[clean], predictions[clean], len(EXPRESSIONS))
        images = confusion.sum()
        figures[metric_key(UNCONTAMINATED, IMAGES)] = float(images)
        figures[metric_key(UNCONTAMINATED, ACCURACY)] = float(confusion.diagonal().sum() / images)
        figures[metric_key(UNCONTAMINATED, CLASS_MEAN)] = float(mean_class_accuracy(confusion))
    return figures


def _message(evaluation: "Evaluation", figures: Mapping[str, float], matches: Sequence["Match"]) -> str:
    count = len({match.test for match in matches})
    total = len(evaluation.manifest.images)
    if not count:
        return f"none of {total} images was seen in training"
    # An image that matches several training images in the same way counts once.
    pairs = {(match.test, match.kind) for match in matches}
    by_kind = Counter(kind for _, kind in pairs)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(by_kind.items()))
    unlabelled = figures.get(PRETRAINING_CONTAMINATED_IMAGES)
    by_encoder = f", {unlabelled:.0f} of them by the encoder without labels" if unlabelled else ""
    clean = figures.get(metric_key(UNCONTAMINATED, ACCURACY))
    rest = "no other image is left" if clean is None else f"{100 * clean:.1f} % without them"
    return (
        f"{count} of {total} images seen in training{by_encoder} ({kinds}): "
        f"accuracy {100 * evaluation.report.accuracy:.1f} %, {rest}; "
        f"{evaluation_path(evaluation.dataset.name, CONTAMINATION_FILE)} lists them"
    )


def matches_csv(labelled: Sequence["Match"], unlabelled: Sequence["Match"]) -> str:
    """Return a row per match: test image, training set and image, whether labels were seen, kind and correlation."""
    rows = [COLUMNS]
    for matches, labels in ((labelled, "seen"), (unlabelled, "not seen")):
        for match in matches:
            # Persons were compared by name, without a correlation.
            correlation = "" if match.correlation is None else f"{match.correlation:.4f}"
            pair = (match.test, match.dataset, match.training)
            rows.append((*pair, labels, match.kind, correlation))
    return csv_text(rows)
