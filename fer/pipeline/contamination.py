"""Whether a model has seen the images it is tested on: what trainings remember, and what tests report of it."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.contamination.matching import Match, cached_matches
from fer.contamination.signatures import ImageSignatures, image_signatures, load_signatures
from fer.data.datasets.base import DataSet
from fer.data.manifest import read_manifest
from fer.errors import DataError
from fer.evaluation.metrics import confusion_matrix, mean_class_accuracy
from fer.expressions import EXPRESSIONS
from fer.models.backbones import ModelSpec
from fer.models.initial_weights import InitialWeights
from fer.pipeline.evaluation import Evaluation
from fer.tracking.names import CONTAMINATION, PRETRAINING_IMAGES, TRAINING_IMAGES, dataset_tag, evaluation_path
from fer.tracking.provenance import images_of_run
from fer.tracking.runs import TrackedRun
from fer.utils.paths import manifest_path

FILE = "contamination.csv"
"""Name of the list of matches among a set's artifacts."""


@dataclass(frozen=True)
class Past:
    """The images a model has seen.

    Attributes:
        training: `<set>/<digest>` of the training splits it saw with labels; a training on a part of one counts as on
            all of it.
        pretraining: Likewise what its encoder saw without labels.
    """

    training: tuple[str, ...]
    pretraining: tuple[str, ...]

    def and_then(self, images: tuple[str, ...], labels: bool) -> "Past":
        """Return the past after a training on more images, with or without their labels."""
        if labels:
            return Past(tuple(dict.fromkeys(self.training + images)), self.pretraining)
        return Past(self.training, tuple(dict.fromkeys(self.pretraining + images)))

    def tags(self) -> dict[str, str]:
        """Return what a run's tags say of it."""
        named = {TRAINING_IMAGES: self.training, PRETRAINING_IMAGES: self.pretraining}
        return {key: ",".join(images) for key, images in named.items() if images}


def remember(sets: Sequence[DataSet], root: Path, option: str = "check") -> tuple[str, ...]:
    """Make sure that the images of prepared sets' training splits can be known again; return `<set>/<digest>` of each.

    Args:
        sets: Prepared sets.
        root: The data root.
        option: `check`, or `skip`: return the names alone; a later test can still look at the pictures.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """
    parts = [read_manifest(manifest_path(root, dataset.name)).of("train") for dataset in sets]
    if option != "skip":
        for part in parts:
            image_signatures(part, root)
    return tuple(f"{part.dataset}/{part.digest}" for part in parts)


def past_of(model: ModelSpec | InitialWeights, run_id: str = "") -> Past:
    """Return what a model has seen, by itself or, where it does not say, by the run it came from.

    Args:
        model: Its specification, or the start that was made of it.
        run_id: The run, or empty.
    """
    past = Past(model.training_images, model.pretraining_images)
    return Past(*images_of_run(run_id)) if past == Past((), ()) and run_id else past


def log_contamination(
    run: TrackedRun, found: Mapping[str, Evaluation], past: Past, root: Path, option: str = "check"
) -> None:
    """Report which tested images the model has seen, and its accuracy without them.

    Args:
        run: The run.
        found: Evaluations by the sets' names.
        past: What the model has seen.
        root: The data root.
        option: `check` or `skip`.
    """
    if option == "skip":
        run.tags({dataset_tag(name, CONTAMINATION): "not looked for: contamination=skip" for name in found})
        return
    try:
        training, pretraining = _known(past, root)
    except (LookupError, DataError) as unknown:
        run.tags({dataset_tag(name, CONTAMINATION): f"unknown: {unknown}" for name in found})
        return
    for name, evaluation in found.items():
        manifest = evaluation.manifest
        try:
            seen = [match for prints in training for match in cached_matches(manifest, prints, root)]
            unlabelled = [match for prints in pretraining for match in cached_matches(manifest, prints, root)]
        except DataError as unknown:
            # The pictures are gone or the disk is full: no reason to lose a training and its figures.
            run.tags({dataset_tag(name, CONTAMINATION): f"unknown: {unknown}"})
            print(f"warning: {name}: whether the model has seen its images is unknown: {unknown}")
            continue
        figures = contamination_figures(evaluation, seen, unlabelled)
        run.metrics({f"{name}/{key}": value for key, value in figures.items()})
        sentence = _in_words(evaluation, figures, [*seen, *unlabelled])
        run.tags({dataset_tag(name, CONTAMINATION): sentence})
        if seen or unlabelled:
            run.text(matches_csv(seen, unlabelled), evaluation_path(name, FILE))
            print(f"warning: {name}: {sentence}")


def _known(past: Past, root: Path) -> tuple[list[ImageSignatures], list[ImageSignatures]]:
    """Return the images seen with labels and without; raise a LookupError that says why they cannot be known."""
    if not past.training:
        raise LookupError("the model does not say which images it was trained on")
    found = {}
    for name in past.training + past.pretraining:
        dataset, _, digest = name.partition("/")
        prints = load_signatures(dataset, digest, root)
        if prints is None:
            raise LookupError(f"the data root holds no training images of {dataset} with digest {digest}")
        found[name] = prints
    return [found[name] for name in past.training], [found[name] for name in past.pretraining]


def contamination_figures(
    evaluation: Evaluation, seen: Sequence[Match], unlabelled: Sequence[Match]
) -> dict[str, float]:
    """Return how many images of a set were seen, and the accuracies without them; absent where no image is left.

    Args:
        evaluation: The model's answers on the set.
        seen: Test images that training saw with labels.
        unlabelled: Test images that pre-training saw without labels.
    """
    paths = [row.path for row in evaluation.manifest.images]
    labelled, plain = {match.test for match in seen}, {match.test for match in unlabelled}
    figures = {"contaminated/images": float(len(labelled))}
    if plain:
        figures["contaminated/pretraining_images"] = float(len(plain))
    kept: NDArray[np.bool_] = np.array([path not in labelled | plain for path in paths])
    if kept.any():
        truth = np.array([EXPRESSIONS.index(row.expression) for row in evaluation.manifest.images])[kept]
        counts = confusion_matrix(truth, evaluation.probabilities.argmax(axis=1)[kept], len(EXPRESSIONS))
        figures["uncontaminated/images"] = float(len(truth))
        figures["uncontaminated/accuracy"] = float(counts.diagonal().sum() / len(truth))
        figures["uncontaminated/mean_class_accuracy"] = float(mean_class_accuracy(counts))
    return figures


def _in_words(evaluation: Evaluation, figures: Mapping[str, float], matches: Sequence[Match]) -> str:
    count, total = len({match.test for match in matches}), len(evaluation.manifest.images)
    if not count:
        return f"none of {total} images was seen in training"
    by_kind = Counter(kind for _, kind in {(match.test, match.kind) for match in matches})
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(by_kind.items()))
    clean = figures.get("uncontaminated/accuracy")
    rest = "no other image is left" if clean is None else f"{100 * clean:.1f} % without them"
    plain = int(figures.get("contaminated/pretraining_images", 0))
    by_encoder = f", {plain} of them by the encoder without labels" if plain else ""
    return (
        f"{count} of {total} images seen in training{by_encoder} ({kinds}): accuracy "
        f"{100 * evaluation.report.accuracy:.1f} %, {rest}; {evaluation_path(evaluation.dataset.name, FILE)} lists them"
    )


def matches_csv(seen: Sequence[Match], unlabelled: Sequence[Match]) -> str:
    """Return a row per match: test image, training set and image, whether labels were seen, kind and correlation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["test", "training_set", "training", "labels", "kind", "correlation"])
    for matches, labels in ((seen, "seen"), (unlabelled, "not seen")):
        for match in matches:
            correlation = "" if match.correlation is None else f"{match.correlation:.4f}"
            writer.writerow([match.test, match.dataset, match.training, labels, match.kind, correlation])
    return text.getvalue()
