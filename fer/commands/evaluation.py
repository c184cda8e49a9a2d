"""What `finetune` and `evaluate` share: test a classifier on prepared sets and log what came out."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fer.commands.crediting import log_input
from fer.data.batches import ImagePool
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import pack, packed_side
from fer.data.places import manifest_path
from fer.data.preparing import preparation_counts
from fer.data.sources import DataSet
from fer.expressions import EXPRESSIONS
from fer.figures import confusion_figure, reliability_figure
from fer.inference import probabilities
from fer.models.backbones import Classifier
from fer.report import Report, report
from fer.tracking.runs import TrackedRun


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
    """

    dataset: DataSet
    part: str
    manifest: Manifest
    probabilities: NDArray[np.float64]
    report: Report
    groups: dict[str, Report]


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
    classifier: Classifier, sets: Sequence[DataSet], root: Path, device: torch.device, batch_size: int, bf16: bool
) -> dict[str, Evaluation]:
    """Test a classifier on every one of these sets that has test images.

    Args:
        classifier: In evaluation mode, on the device.
        sets: Prepared sets.
        root: The data root.
        device: Where to compute.
        batch_size: Images per step.
        bf16: Whether to compute in bfloat16.

    Returns:
        Evaluations by the sets' names.
    """
    found: dict[str, Evaluation] = {}
    for dataset in sets:
        whole = read_manifest(manifest_path(root, dataset.name))
        part, tested = testable(dataset, whole, classifier.spec.trained_on)
        if not tested.images:
            continue
        pool = open_pool([(dataset, whole)], root, classifier.spec.image_size, device)
        members = pool.indices("test") if part == "test" else torch.arange(len(pool.rows))
        scores = probabilities(classifier, pool, members, classifier.spec.image_size, batch_size, bf16)
        labels = pool.labels[members].numpy()
        groups = by_angle(dataset, tested, labels, scores)
        found[dataset.name] = Evaluation(dataset, part, tested, scores, report(labels, scores), groups)
    return found


def by_angle(
    dataset: DataSet, tested: Manifest, labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, Report]:
    """Return a report for every group of camera angles that occurs, such as `frontal`; none for sets without angles."""
    angles = np.array([dataset.angle_groups.get(row.angle, "") for row in tested.images])
    present = [group for group in dict.fromkeys(dataset.angle_groups.values()) if (angles == group).any()]
    return {group: report(labels[angles == group], scores[angles == group]) for group in present}


def table_reports(found: Mapping[str, Evaluation]) -> dict[str, Report]:
    """Return the reports of sets and of their groups, named as in metrics: `kdef`, `kdef/frontal`."""
    rows: dict[str, Report] = {}
    for name, evaluation in found.items():
        rows[name] = evaluation.report
        rows |= {f"{name}/{group}": part for group, part in evaluation.groups.items()}
    return rows


def open_pool(sets: Sequence[tuple[DataSet, Manifest]], root: Path, image_size: int, device: torch.device) -> ImagePool:
    """Return the images of whole sets, packed at the size that suits the network."""
    packed = [
        (manifest, pack(manifest, root, packed_side(dataset.native_side, image_size))) for dataset, manifest in sets
    ]
    return ImagePool(packed, device)


def log_evaluations(run: TrackedRun, found: Mapping[str, Evaluation], root: Path, model_id: str = "") -> None:
    """Log every set's figures, plots and answers; figures are tied to the logged model where there is one."""
    for name, evaluation in found.items():
        result, folder = evaluation.report, f"evaluation/{name}"
        figures = {
            f"{place}/{key}": value
            for place, part in table_reports({name: evaluation}).items()
            for key, value in part.scalars().items()
        }
        handle = log_input(run, evaluation.manifest, root, f"evaluation, {evaluation.part} set")
        if model_id:
            run.model_metrics(figures, model_id, handle)
        else:
            run.metrics(figures)
        run.metrics({f"{name}/{key}": count for key, count in preparation_counts(root, name).items()})
        run.tags({f"{name}.part": evaluation.part, f"{name}.tested_digest": evaluation.manifest.digest})
        run.json(result.to_dict(), f"{folder}/report.json")
        for group, part in evaluation.groups.items():
            run.json(part.to_dict(), f"{folder}/report-{group}.json")
        run.text(confusion_csv(result), f"{folder}/confusion.csv")
        run.text(predictions_csv(evaluation), f"{folder}/predictions.csv")
        title = f"{evaluation.dataset.title}, {evaluation.part} set"
        run.figure(confusion_figure(result, title), f"{folder}/confusion.png")
        run.figure(reliability_figure(result, title), f"{folder}/reliability.png")


def confusion_csv(result: Report) -> str:
    """Return the confusion matrix as CSV: a row per true expression, a column per answer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true", *result.expressions])
    writer.writerows([name, *row] for name, row in zip(result.expressions, result.confusion.tolist(), strict=True))
    return text.getvalue()


def predictions_csv(evaluation: Evaluation) -> str:
    """Return a row per image: its place, identity, truth, answer and probabilities, so that runs can be compared."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "sha256", "person", "angle", "true", "predicted", *EXPRESSIONS])
    for row, scores in zip(evaluation.manifest.images, evaluation.probabilities, strict=True):
        answer = EXPRESSIONS[int(scores.argmax())]
        shares = [f"{score:.6f}" for score in scores]
        writer.writerow([row.path, row.sha256, row.person, row.angle, row.expression, answer, *shares])
    return text.getvalue()
