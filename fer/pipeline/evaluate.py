"""Test any model on any prepared sets, in one tracked run, and log what came out."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer.config.commands import EvaluateConfig
from fer.data.datasets.registry import resolve_prepared
from fer.data.prepared import preparation_counts
from fer.errors import DataError
from fer.evaluation.datasets import (
    Evaluation,
    all_figures,
    evaluate_sets,
    flat_reports,
    predictions_csv,
    report_json,
)
from fer.evaluation.report import Report, confusion_csv, reports_table
from fer.models.backbones import ModelSpec
from fer.pipeline.contamination import log_contamination, seen_images
from fer.pipeline.context import log_dataset
from fer.tracking.lifecycle import tracked
from fer.tracking.models import FetchedModel
from fer.tracking.names import PART, PREDICTIONS_FILE, TESTED_DIGEST, dataset_tag, evaluation_path
from fer.tracking.runs import TrackedRun
from fer.training.devices import pick_device
from fer.utils.paths import resolve_data_root


@dataclass(frozen=True)
class EvaluateResult:
    """What `evaluate` measured.

    Attributes:
        run_id: The MLflow run.
        reports: By data set.
        table: The reports as text.
        where: Lines that tell a person where to look.
    """

    run_id: str
    reports: dict[str, Report]
    table: str
    where: str


def evaluate_model(config: EvaluateConfig) -> EvaluateResult:
    """Test a model on the sets a configuration names, in one tracked run.

    Raises:
        ConfigError: A name is unknown.
        DataError: A set is not prepared, or none has a test image.
        ModelError: The model does not exist or does not fit.
    """
    from fer.tracking.models import fetch_classifier

    root = resolve_data_root(config.data_root)
    sets = resolve_prepared(config.dataset, root)
    device = pick_device(config.device)
    with tempfile.TemporaryDirectory() as folder:
        classifier, fetched = fetch_classifier(config.model, Path(folder))
    classifier = classifier.to(device)
    resolved = {"arch": classifier.spec.arch, "data_root_used": root}
    with tracked("evaluate", config, f"evaluate {config.model}", resolved) as run:
        run.tags(_origin_tags(fetched, classifier.spec))
        evaluations = evaluate_sets(classifier, sets, root, device, config.batch_size)
        if not evaluations:
            raise DataError(f"none of {', '.join(dataset.name for dataset in sets)} has test images")
        log_evaluations(run, evaluations, root, fetched.model_id)
        seen = seen_images(classifier.spec, fetched.run_id)
        log_contamination(run, evaluations, seen, root, config.contamination)
        reports = flat_reports(evaluations)
        table = reports_table({config.model: reports})
        run.text(table + "\n", "table.txt")
    return EvaluateResult(run.id, reports, table, run.where())


def _origin_tags(fetched: FetchedModel, spec: ModelSpec) -> dict[str, str]:
    tags = {
        "model.trained_on": "+".join(spec.trained_on),
        "model.id": fetched.model_id,
        "model.run": fetched.run_id,
    }
    return {key: value for key, value in tags.items() if value}


def log_evaluations(run: TrackedRun, evaluations: Mapping[str, Evaluation], root: Path, model_id: str = "") -> None:
    """Log every set's figures, plots and predictions; figures are tied to the logged model where there is one."""
    for name, evaluation in evaluations.items():
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
        _log_artifacts(run, name, evaluation)


def _log_artifacts(run: TrackedRun, name: str, evaluation: Evaluation) -> None:
    from fer.evaluation.figures import confusion_figure, reliability_figure

    result = evaluation.report
    run.json(report_json(evaluation), evaluation_path(name, "report.json"))
    for group, of_group in evaluation.groups.items():
        run.json(of_group.to_dict(), evaluation_path(name, f"report-{group}.json"))
    run.text(confusion_csv(result), evaluation_path(name, "confusion.csv"))
    predictions = predictions_csv(evaluation.manifest, evaluation.probabilities)
    run.text(predictions, evaluation_path(name, PREDICTIONS_FILE))
    title = f"{evaluation.dataset.title}, {evaluation.part} set"
    run.figure(confusion_figure(result, title), evaluation_path(name, "confusion.png"))
    before = evaluation.uncalibrated.ece if evaluation.uncalibrated else None
    run.figure(reliability_figure(result, title, before), evaluation_path(name, "reliability.png"))
