"""What `finetune` and `evaluate` share: test a classifier on prepared sets and log what came out."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer.data.batches import PackedImages
from fer.data.datasets.base import DataSet
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import pack, packed_side
from fer.data.prepared import preparation_counts
from fer.evaluation.calibration import Calibration, calibration, corrected_prior, softmax_with_temperature
from fer.evaluation.figures import confusion_figure, reliability_figure
from fer.evaluation.inference import outputs
from fer.evaluation.report import UNIFORM_PRIOR, Report, report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.pipeline.inputs import log_dataset
from fer.tracking.names import PART, PREDICTIONS_FILE, TESTED_DIGEST, dataset_tag, evaluation_path
from fer.tracking.runs import TrackedRun
from fer.utils.paths import manifest_path


@dataclass(frozen=True)
class Evaluation:
    """A classifier's answers on one set.

    Attributes:
        dataset: The set.
        part: Which part of it was tested: `test` or `whole`.
        manifest: The tested images.
        probabilities: float64 `(N, 7)`, in the manifest's order.
        report: What they are worth.
        groups: The same by camera angle, for sets that tell it.
        uniform_prior: What the answers are worth with the class prior corrected from training's to a uniform one; None
            where training's is not known.
        uncalibrated: Belief in the probabilities without the model's temperature; None for a model that has none.
    """

    dataset: DataSet
    part: str
    manifest: Manifest
    probabilities: NDArray[np.float64]
    report: Report
    groups: dict[str, Report]
    uniform_prior: Report | None = None
    uncalibrated: Calibration | None = None


def testable(dataset: DataSet, manifest: Manifest, trained_on: Sequence[str]) -> tuple[str, Manifest]:
    """Return which part of a set a model may be tested on, and that part.

    A set split by person is a zero-shot test as a whole for a model that never saw it; any other set, and any model
    that saw it, is tested on the test part only.

    Args:
        dataset: The set.
        manifest: All its images.
        trained_on: Names of the sets the model was trained on.
    """
    if dataset.person_split and dataset.name not in trained_on:
        return "whole", manifest
    return "test", manifest.of("test")


def evaluate_sets(
    classifier: Classifier, sets: Sequence[DataSet], root: Path, device: torch.device, batch_size: int
) -> dict[str, Evaluation]:
    """Test a classifier on every one of these sets that has test images.

    Args:
        classifier: In evaluation mode, on the device.
        sets: Prepared sets.
        root: The data root.
        device: Where to compute.
        batch_size: Images per step.

    Returns:
        Evaluations by the sets' names.
    """
    found: dict[str, Evaluation] = {}
    for dataset in sets:
        whole = read_manifest(manifest_path(root, dataset.name))
        part, tested = testable(dataset, whole, classifier.spec.trained_on)
        if not tested.images:
            continue
        # As sharp as the training faces and as the registered model cuts them, whatever this set's own size.
        images = PackedImages([(whole, pack(whole, root, classifier.spec.crop_size))], device)
        indices = images.indices("test") if part == "test" else torch.arange(len(images.rows))
        scores = outputs(classifier, images, indices, classifier.spec.image_size, batch_size).numpy()
        found[dataset.name] = judged(dataset, part, tested, scores, classifier.spec)
    return found


def judged(dataset: DataSet, part: str, tested: Manifest, scores: NDArray[np.float32], spec: ModelSpec) -> Evaluation:
    """Return what a classifier's scores on a set are worth.

    Args:
        dataset: The set.
        part: Which part of it was tested.
        tested: The tested images.
        scores: Outputs before the softmax, `(N, 7)`, in the manifest's order.
        spec: The classifier's; gives temperature and training prior.
    """
    labels = np.array([EXPRESSIONS.index(row.expression) for row in tested.images])
    shares = softmax_with_temperature(scores, spec.temperature)
    persons, prior = _persons(tested), spec.training_prior
    return Evaluation(
        dataset, part, tested, shares, report(labels, shares, persons=persons),
        by_angle(dataset, tested, labels, shares),
        uniform_prior=report(labels, corrected_prior(shares, prior), persons=persons) if prior else None,
        uncalibrated=calibration(labels, softmax_with_temperature(scores)) if spec.temperature != 1 else None,
    )  # fmt: skip


def by_angle(
    dataset: DataSet, tested: Manifest, labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, Report]:
    """Return a report for every group of camera angles that occurs, such as `frontal`; none for sets without angles."""
    angles = np.array([dataset.angle_groups.get(row.angle, "") for row in tested.images])
    persons = _persons(tested)
    found = {}
    for group in dict.fromkeys(dataset.angle_groups.values()):
        inside = angles == group
        if inside.any():
            shown = None if persons is None else np.asarray(persons)[inside].tolist()
            found[group] = report(labels[inside], scores[inside], persons=shown)
    return found


def _persons(tested: Manifest) -> list[str] | None:
    """Return who is on each image, or None unless every image tells it."""
    persons = [row.person for row in tested.images]
    return persons if all(persons) else None


def table_reports(found: Mapping[str, Evaluation]) -> dict[str, Report]:
    """Return all reports, named as in metrics: `kdef`, `kdef/uniform_prior`, and of its groups `kdef/frontal`."""
    rows: dict[str, Report] = {}
    for name, evaluation in found.items():
        rows[name] = evaluation.report
        if evaluation.uniform_prior:
            rows[f"{name}/{UNIFORM_PRIOR}"] = evaluation.uniform_prior
        rows |= {f"{name}/{group}": part for group, part in evaluation.groups.items()}
    return rows


def open_images(
    sets: Sequence[tuple[DataSet, Manifest]], root: Path, image_size: int, device: torch.device
) -> PackedImages:
    """Return the images of whole sets to train on, packed at the size that suits the network."""
    packed = [
        (manifest, pack(manifest, root, packed_side(dataset.native_side, image_size))) for dataset, manifest in sets
    ]
    return PackedImages(packed, device)


def log_evaluations(run: TrackedRun, found: Mapping[str, Evaluation], root: Path, model_id: str = "") -> None:
    """Log every set's figures, plots and answers; figures are tied to the logged model where there is one."""
    for name, evaluation in found.items():
        result = evaluation.report
        figures = all_figures(name, evaluation)
        handle = log_dataset(run, evaluation.manifest, root, f"evaluation, {evaluation.part} set")
        if model_id:
            run.model_metrics(figures, model_id, handle)
        else:
            run.metrics(figures)
        run.metrics({f"{name}/{key}": count for key, count in preparation_counts(root, name).items()})
        run.tags(
            {
                dataset_tag(name, PART): evaluation.part,
                dataset_tag(name, TESTED_DIGEST): evaluation.manifest.digest,
            }
        )
        run.json(report_json(evaluation), evaluation_path(name, "report.json"))
        for group, part in evaluation.groups.items():
            run.json(part.to_dict(), evaluation_path(name, f"report-{group}.json"))
        run.text(confusion_csv(result), evaluation_path(name, "confusion.csv"))
        predictions = predictions_csv(evaluation.manifest, evaluation.probabilities)
        run.text(predictions, evaluation_path(name, PREDICTIONS_FILE))
        title = f"{evaluation.dataset.title}, {evaluation.part} set"
        run.figure(confusion_figure(result, title), evaluation_path(name, "confusion.png"))
        before = evaluation.uncalibrated.ece if evaluation.uncalibrated else None
        run.figure(reliability_figure(result, title, before), evaluation_path(name, "reliability.png"))


def all_figures(name: str, evaluation: Evaluation) -> dict[str, float]:
    """Return a set's metrics by full name, such as `kdef/frontal/accuracy/fear` or `kdef/uncalibrated/nll`."""
    figures = {
        f"{place}/{key}": value
        for place, part in table_reports({name: evaluation}).items()
        for key, value in part.scalars().items()
        # Of the corrected answers the accuracies only: their images and support are the set's.
        if not place.endswith(f"/{UNIFORM_PRIOR}") or "accuracy" in key
    }
    if evaluation.uncalibrated:
        figures |= {f"{name}/uncalibrated/{key}": value for key, value in vars(evaluation.uncalibrated).items()}
    return figures


def report_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the set's report as JSON takes it, with what else is known of the same answers under its own keys."""
    content = evaluation.report.to_dict()
    if evaluation.uniform_prior:
        content[UNIFORM_PRIOR] = evaluation.uniform_prior.to_dict()
    if evaluation.uncalibrated:
        content["uncalibrated"] = vars(evaluation.uncalibrated)
    return content


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
