"""Test a classifier on prepared sets: predictions, their figures, and the files in which they are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer.data.datasets.base import DataSet
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import PackedImages, pack
from fer.evaluation.calibration import Calibration, calibration, corrected_prior, softmax_with_temperature
from fer.evaluation.inference import outputs
from fer.evaluation.report import UNIFORM_PRIOR, Report, report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.utils.paths import manifest_path
from fer.utils.tables import csv_text


@dataclass(frozen=True)
class Evaluation:
    """A classifier's predictions on one set.

    Attributes:
        dataset: The set.
        part: Which part of it was tested: `test` or `whole`.
        manifest: The tested images.
        probabilities: float64 `(N, 7)`, in the manifest's order.
        report: Their figures.
        groups: The same by camera angle, for sets that tell it.
        uniform_prior: The figures with the class prior corrected from training's to a uniform one; None where
            training's is not known.
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


def select_test_split(dataset: DataSet, manifest: Manifest, trained_on: Sequence[str]) -> tuple[str, Manifest]:
    """Return the name of the part of a set that a model may be tested on, and that part.

    Args:
        dataset: The set.
        manifest: All its images.
        trained_on: Names of the sets the model was trained on.
    """
    # Where people do not occur twice, the whole set is a zero-shot test for a model that never saw it.
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
    spec = classifier.spec
    evaluations: dict[str, Evaluation] = {}
    for dataset in sets:
        manifest = read_manifest(manifest_path(root, dataset.name))
        part, tested = select_test_split(dataset, manifest, spec.trained_on)
        if not tested.images:
            continue
        # As sharp as the training faces and as the registered model cuts them, whatever this set's own size.
        images = PackedImages([(manifest, pack(manifest, root, spec.crop_size))], device)
        indices = images.indices("test") if part == "test" else torch.arange(len(images.rows))
        scores = outputs(classifier, images, indices, spec.image_size, batch_size).numpy()
        evaluations[dataset.name] = evaluate_logits(dataset, part, tested, scores, spec)
    return evaluations


def evaluate_logits(
    dataset: DataSet, part: str, tested: Manifest, scores: NDArray[np.float32], spec: ModelSpec
) -> Evaluation:
    """Calibrate a classifier's outputs on a set and compute their figures.

    Args:
        dataset: The set.
        part: Which part of it was tested.
        tested: The tested images.
        scores: Outputs before the softmax, `(N, 7)`, in the manifest's order.
        spec: The classifier's; gives temperature and training prior.
    """
    labels = np.array([EXPRESSIONS.index(row.expression) for row in tested.images])
    probabilities = softmax_with_temperature(scores, spec.temperature)
    persons = _persons(tested)
    uniform_prior = None
    if spec.training_prior:
        corrected = corrected_prior(probabilities, spec.training_prior)
        uniform_prior = report(labels, corrected, persons=persons)
    uncalibrated = None
    if spec.temperature != 1:
        uncalibrated = calibration(labels, softmax_with_temperature(scores))
    return Evaluation(
        dataset=dataset,
        part=part,
        manifest=tested,
        probabilities=probabilities,
        report=report(labels, probabilities, persons=persons),
        groups=reports_by_angle(dataset, tested, labels, probabilities),
        uniform_prior=uniform_prior,
        uncalibrated=uncalibrated,
    )


def reports_by_angle(
    dataset: DataSet, tested: Manifest, labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, Report]:
    """Report every group of camera angles that occurs, such as `frontal`; none for sets without angles."""
    groups = np.array([dataset.angle_groups.get(row.angle, "") for row in tested.images])
    persons = _persons(tested)
    reports = {}
    for group in dict.fromkeys(dataset.angle_groups.values()):
        inside = groups == group
        if inside.any():
            persons_inside = None if persons is None else np.asarray(persons)[inside].tolist()
            reports[group] = report(labels[inside], probabilities[inside], persons=persons_inside)
    return reports


def _persons(tested: Manifest) -> list[str] | None:
    """Return who is on each image, or None unless every image tells it."""
    persons = [row.person for row in tested.images]
    return persons if all(persons) else None


def flat_reports(evaluations: Mapping[str, Evaluation]) -> dict[str, Report]:
    """Return all reports, named as in metrics: `kdef`, `kdef/uniform_prior`, and of its groups `kdef/frontal`."""
    reports: dict[str, Report] = {}
    for name, evaluation in evaluations.items():
        reports[name] = evaluation.report
        if evaluation.uniform_prior:
            reports[f"{name}/{UNIFORM_PRIOR}"] = evaluation.uniform_prior
        for group, of_group in evaluation.groups.items():
            reports[f"{name}/{group}"] = of_group
    return reports


def all_figures(name: str, evaluation: Evaluation) -> dict[str, float]:
    """Return a set's metrics by full name, such as `kdef/frontal/accuracy/fear` or `kdef/uncalibrated/nll`."""
    figures: dict[str, float] = {}
    for row, of_row in flat_reports({name: evaluation}).items():
        for key, value in of_row.scalars().items():
            # Of the corrected predictions the accuracies only: their images and support are the set's.
            if not row.endswith(f"/{UNIFORM_PRIOR}") or "accuracy" in key:
                figures[f"{row}/{key}"] = value
    if evaluation.uncalibrated:
        figures |= {f"{name}/uncalibrated/{key}": value for key, value in vars(evaluation.uncalibrated).items()}
    return figures


def report_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the set's report as JSON takes it, with what else is known of the predictions under its own keys."""
    content = evaluation.report.to_dict()
    if evaluation.uniform_prior:
        content[UNIFORM_PRIOR] = evaluation.uniform_prior.to_dict()
    if evaluation.uncalibrated:
        content["uncalibrated"] = vars(evaluation.uncalibrated)
    return content


def confusion_csv(result: Report) -> str:
    """Return the confusion matrix as CSV: a row per true expression, a column per prediction."""
    rows: list[list[object]] = [["true", *result.expressions]]
    for name, counts in zip(result.expressions, result.confusion.tolist(), strict=True):
        rows.append([name, *counts])
    return csv_text(rows)


def predictions_csv(tested: Manifest, probabilities: NDArray[np.float64]) -> str:
    """Return a row per image: path, identity, truth, prediction and probabilities, so that runs can be compared.

    Args:
        tested: The images.
        probabilities: `(N, 7)`, in their order.
    """
    rows: list[list[object]] = [["path", "sha256", "person", "angle", "true", "predicted", *EXPRESSIONS]]
    for row, of_row in zip(tested.images, probabilities, strict=True):
        predicted = EXPRESSIONS[int(of_row.argmax())]
        numbers = [f"{probability:.6f}" for probability in of_row]
        rows.append([row.path, row.sha256, row.person, row.angle, row.expression, predicted, *numbers])
    return csv_text(rows)
