"""Test a classifier on prepared sets: its outputs, their figures, and the files in which they are kept.

Whatever precision a network was trained in, it is validated, calibrated and tested in fp32, in which the registered
model answers too: a figure that was logged is the model's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.data.batches import evaluation_batches
from fer.data.datasets.base import DataSet
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import PackedImages, pack
from fer.evaluation.calibration import Calibration, calibration, corrected_prior, softmax_with_temperature
from fer.evaluation.metrics import Floats, Ints
from fer.evaluation.names import (
    METRICS,
    PREDICTION_COLUMNS,
    UNCALIBRATED,
    UNIFORM_PRIOR,
    metric_key,
)
from fer.evaluation.report import Report, report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.training.devices import full_fp32
from fer.utils.paths import manifest_path
from fer.utils.rendering import csv_text


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
    probabilities: Floats
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


@torch.inference_mode()
def outputs(
    network: nn.Module,
    images: PackedImages,
    indices: Tensor,
    image_size: int,
    batch_size: int,
) -> Tensor:
    """Return what a network makes of some images in their order, float32 `(N, ...)` on the CPU.

    Args:
        network: In evaluation mode, on the images' device; maps `(N, 3, H, W)` in [0, 255] to scores or features.
        images: The images.
        indices: Which of them, int64 `(N,)`.
        image_size: Side of the network's input.
        batch_size: Images per step.
    """
    rows = []
    # Outputs leave the device batch by batch, since a large set's features need not fit beside the images.
    with full_fp32():
        for batch in evaluation_batches(images, indices, image_size, batch_size):
            rows.append(network(batch.images).cpu())
    return torch.cat(rows)


def evaluate_sets(
    classifier: Classifier,
    sets: Sequence[DataSet],
    root: Path,
    device: torch.device,
    batch_size: int,
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
        # A set may hold training images alone.
        if not tested.images:
            continue
        # As sharp as the training faces and as the registered model cuts them, whatever this set's own size.
        packed = pack(manifest, root, spec.crop_size)
        images = PackedImages([(manifest, packed)], device)
        indices = images.indices("test") if part == "test" else torch.arange(len(images.rows))
        scores = outputs(classifier, images, indices, spec.image_size, batch_size).numpy()
        evaluations[dataset.name] = evaluate_logits(dataset, part, tested, scores, spec)
    return evaluations


def evaluate_logits(
    dataset: DataSet,
    part: str,
    tested: Manifest,
    scores: NDArray[np.float32],
    spec: ModelSpec,
) -> Evaluation:
    """Calibrate a classifier's outputs on a set and compute their figures.

    Args:
        dataset: The set.
        part: Which part of it was tested.
        tested: The tested images.
        scores: Outputs before the softmax, `(N, 7)`, in the manifest's order.
        spec: The classifier's; gives temperature and training prior.
    """
    labels = _labels(tested)
    probabilities = softmax_with_temperature(scores, spec.temperature)
    persons = _persons(tested)
    uniform_prior = None
    if spec.training_prior:
        corrected = corrected_prior(probabilities, spec.training_prior)
        uniform_prior = report(labels, corrected, persons)
    uncalibrated = None
    # At temperature 1 the two would be equal.
    if spec.temperature != 1:
        uncalibrated = calibration(labels, softmax_with_temperature(scores))
    return Evaluation(
        dataset=dataset,
        part=part,
        manifest=tested,
        probabilities=probabilities,
        report=report(labels, probabilities, persons),
        groups=reports_by_angle(dataset, tested, probabilities),
        uniform_prior=uniform_prior,
        uncalibrated=uncalibrated,
    )


def reports_by_angle(dataset: DataSet, tested: Manifest, probabilities: Floats) -> dict[str, Report]:
    """Report every group of camera angles that occurs, such as `frontal`; none for sets without angles."""
    group_of = [dataset.angle_groups.get(row.angle) for row in tested.images]
    reports = {}
    for group in dict.fromkeys(dataset.angle_groups.values()):
        inside = [index for index, other in enumerate(group_of) if other == group]
        if inside:
            images = Manifest(tested.dataset, tuple(tested.images[index] for index in inside))
            reports[group] = report(_labels(images), probabilities[inside], _persons(images))
    return reports


def _labels(tested: Manifest) -> Ints:
    return np.array([EXPRESSIONS.index(row.expression) for row in tested.images])


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


def metrics(name: str, evaluation: Evaluation) -> dict[str, float]:
    """Return the few figures of a set that are metrics of its run, such as `kdef/fear`."""
    figures = evaluation.report.scalars()
    return {metric_key(name, measure): figures[measure] for measure in METRICS if measure in figures}


def report_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the set's report as JSON takes it, with all else that is known of the predictions under its own keys.

    Flat, its figures bear the names of `flat_reports`: `frontal/fear`, `uncalibrated/nll`.
    """
    content = evaluation.report.to_dict()
    if evaluation.uniform_prior:
        content[UNIFORM_PRIOR] = evaluation.uniform_prior.to_dict()
    if evaluation.uncalibrated:
        content[UNCALIBRATED] = vars(evaluation.uncalibrated)
    for group, of_group in evaluation.groups.items():
        content[group] = of_group.to_dict()
    return content


def predictions_csv(tested: Manifest, probabilities: Floats) -> str:
    """Return a row per image: path, identity, truth, prediction and probabilities, so that runs can be compared.

    Args:
        tested: The images.
        probabilities: `(N, 7)`, in their order.
    """
    rows: list[list[object]] = [[*PREDICTION_COLUMNS, *EXPRESSIONS]]
    for row, of_row in zip(tested.images, probabilities, strict=True):
        predicted = EXPRESSIONS[int(of_row.argmax())]
        # Six digits keep the order of classes and the sum within 1e-5.
        numbers = [f"{probability:.6f}" for probability in of_row]
        image = [row.path, row.sha256, row.person, row.angle, row.expression]
        rows.append([*image, predicted, *numbers])
    return csv_text(rows)
