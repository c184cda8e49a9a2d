"""Test any model on any prepared sets, in one tracked run."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fer.config.commands import EvaluateConfig
from fer.data.datasets.registry import resolve_prepared
from fer.errors import DataError
from fer.evaluation.report import Report, reports_table
from fer.pipeline.contamination import log_contamination, past_of
from fer.pipeline.evaluation import evaluate_sets, log_evaluations, table_reports
from fer.tracking.lifecycle import tracked
from fer.tracking.models import FetchedModel, fetch_classifier
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
    root = resolve_data_root(config.data_root)
    sets = resolve_prepared(config.dataset, root)
    device = pick_device(config.device)
    with tempfile.TemporaryDirectory() as folder:
        classifier, fetched = fetch_classifier(config.model, Path(folder))
    classifier = classifier.to(device)
    extra = {"arch": classifier.spec.arch, "data_root_used": root}
    with tracked("evaluate", config, f"evaluate {config.model}", extra) as run:
        run.tags(_origin(fetched, classifier.spec.trained_on))
        found = evaluate_sets(classifier, sets, root, device, config.batch_size)
        if not found:
            raise DataError(f"none of {', '.join(dataset.name for dataset in sets)} has test images")
        log_evaluations(run, found, root, fetched.model_id)
        log_contamination(run, found, past_of(classifier.spec, fetched.run_id), root, config.contamination)
        reports = table_reports(found)
        table = reports_table({config.model: reports})
        run.text(table + "\n", "table.txt")
    return EvaluateResult(run.id, reports, table, run.where())


def _origin(fetched: FetchedModel, trained_on: tuple[str, ...]) -> dict[str, str]:
    origin = {"model.trained_on": "+".join(trained_on), "model.id": fetched.model_id, "model.run": fetched.run_id}
    return {key: value for key, value in origin.items() if value}
