"""Test any model on any prepared sets, in one tracked run, and log what came out; calibrate a trained one."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from fer.config.commands import EvaluateConfig
from fer.data.datasets.registry import resolve_prepared
from fer.data.packing import PackedImages
from fer.data.prepared import preparation_counts
from fer.errors import DataError
from fer.evaluation.calibration import (
    calibration,
    fit_temperature,
    implied_prior,
    softmax_with_temperature,
)
from fer.evaluation.datasets import (
    Evaluation,
    evaluate_sets,
    flat_reports,
    metrics,
    outputs,
    predictions_csv,
    report_json,
)
from fer.evaluation.figures import confusion_figure, reliability_figure, small_confusion_figure
from fer.evaluation.names import TEMPERATURE, UNCALIBRATED, nest
from fer.evaluation.report import Report, confusion_csv, report, reports_table
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier
from fer.pipeline.contamination import Contamination, find_contamination, seen_images
from fer.pipeline.context import EVALUATION_BATCH, log_dataset
from fer.pipeline.descriptions import describe_tested
from fer.pipeline.options import PREPARED
from fer.pipeline.run_page import log_evaluate_page
from fer.pipeline.shown_sets import shown_sets
from fer.tracking.lifecycle import tracked
from fer.tracking.models import FetchedModel, fetch_network
from fer.tracking.names import (
    ACCURACY_VIEW,
    CALIBRATION_PLOT,
    CONFUSION_IMAGES,
    CONFUSION_PLOT,
    CONTAMINATION,
    CONTAMINATION_FILE,
    PART,
    PREDICTIONS_FILE,
    RELIABILITY_PLOT,
    REPORT_FILE,
    TESTED,
    TESTED_DIGEST,
    dataset_tag,
    evaluation_path,
)
from fer.tracking.naming import joined_name, model_label, resolve_alias
from fer.tracking.runs import TrackedRun
from fer.training.devices import pick_device
from fer.utils.paths import printable, resolve_data_root


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

    def summary(self) -> str:
        """Return the table of test figures."""
        return f"\n{self.table}\n"


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
    model = resolve_alias(config.model)
    # Before the run begins, so that a mistyped model leaves no failed run behind.
    with tempfile.TemporaryDirectory() as folder:
        classifier, fetched = fetch_network(model, Path(folder), load_classifier)
    classifier = classifier.to(device)
    resolved = {"model": model, "arch": classifier.spec.arch, "device": device.type}
    label, names = printable(model_label(model)), config.dataset
    if config.dataset == PREPARED:
        names = "+".join(dataset.name for dataset in sets)
        # Which of them have test images is known when they are tested.
        resolved["dataset"] = ""
    name = joined_name(label, names)
    with tracked("evaluate", config, name, resolved) as run:
        run.tags(_origin_tags(fetched, classifier.spec))
        evaluations = evaluate_sets(classifier, sets, root, device, config.batch_size)
        if not evaluations:
            raise DataError(f"none of {names.replace('+', ', ')} has test images")
        if config.dataset == PREPARED:
            run.params({"dataset": "+".join(evaluations)})
        log_evaluations(run, evaluations, root, fetched.model_id)
        seen = seen_images(classifier.spec, fetched.run_id)
        contamination = find_contamination(evaluations, seen, root, config.contamination)
        log_contamination(run, evaluations, contamination, root)
        run.views((ACCURACY_VIEW,), evaluations)
        reports = flat_reports(evaluations)
        table = reports_table({label: reports})
        run.text(table + "\n", "table.txt")
        shown = shown_sets(run, evaluations, contamination, root)
        log_evaluate_page(run, name, replace(config, model=model), fetched, classifier.spec, shown)
        describe_tested(run, label, classifier.spec, evaluations, contamination)
    return EvaluateResult(run.id, reports, table, run.where(ACCURACY_VIEW))


def _origin_tags(fetched: FetchedModel, spec: ModelSpec) -> dict[str, str]:
    tags = {
        "model.trained_on": "+".join(spec.trained_on),
        "model.id": fetched.model_id,
        "model.run": fetched.run_id,
    }
    # A checkpoint on the disk has neither id nor run.
    return {key: value for key, value in tags.items() if value}


def log_evaluations(
    run: TrackedRun,
    evaluations: Mapping[str, Evaluation],
    root: Path,
    model_id: str = "",
) -> None:
    """Log every set's figures, plots and predictions; metrics are tied to the logged model where there is one."""
    for name, evaluation in evaluations.items():
        handle = log_dataset(run, evaluation.manifest, root, f"evaluation, {evaluation.part} set")
        # MLflow's page of models groups a model's figures by the set they were measured on.
        if model_id:
            run.model_metrics(metrics(name, evaluation), model_id, handle)
        else:
            run.metrics(metrics(name, evaluation))
        run.tags(
            {
                dataset_tag(name, PART): evaluation.part,
                dataset_tag(name, TESTED_DIGEST): evaluation.manifest.digest,
                TESTED: "true",
            }
        )
        _log_report(run, name, evaluation, root)
        _log_artifacts(run, name, evaluation)


def log_contamination(
    run: TrackedRun,
    evaluations: Mapping[str, Evaluation],
    contamination: Mapping[str, Contamination],
    root: Path,
) -> None:
    """Log which test images of every set the model has seen, and the figures without them."""
    for name, evaluation in evaluations.items():
        known = contamination[name]
        run.tags({dataset_tag(name, CONTAMINATION): known.message})
        if known.figures:
            _log_report(run, name, evaluation, root, known.figures)
        if known.matches:
            run.text(known.matches, evaluation_path(name, CONTAMINATION_FILE))


def _log_report(
    run: TrackedRun,
    name: str,
    evaluation: Evaluation,
    root: Path,
    more: Mapping[str, float] | None = None,
) -> None:
    """Log all figures of a set, and more of them by name, in one file."""
    # Of the set rather than the model: whoever reads the figures sees what was left out of it.
    counts = {"preparation": preparation_counts(root, name)}
    run.json(report_json(evaluation) | nest(more or {}) | counts, evaluation_path(name, REPORT_FILE))


def _log_artifacts(run: TrackedRun, name: str, evaluation: Evaluation) -> None:
    result = evaluation.report
    run.text(confusion_csv(result), evaluation_path(name, "confusion.csv"))
    # By these `compare` tests two runs image by image.
    predictions = predictions_csv(evaluation.manifest, evaluation.probabilities)
    run.text(predictions, evaluation_path(name, PREDICTIONS_FILE))
    title = f"{evaluation.dataset.title}, {evaluation.part} set"
    confusion = confusion_figure(result, title)
    run.figure(confusion, evaluation_path(name, CONFUSION_PLOT))
    run.image(small_confusion_figure(result), f"{CONFUSION_IMAGES}/{name}")
    before = evaluation.uncalibrated.ece if evaluation.uncalibrated else None
    reliability = reliability_figure(result, title, before)
    run.figure(reliability, evaluation_path(name, RELIABILITY_PLOT))


def calibrate(run: TrackedRun, classifier: Classifier, images: PackedImages, indices: Tensor) -> None:
    """Fit temperature and prior to the validation images and store them in a classifier's specification.

    Args:
        run: Gets the temperature, and how far the probabilities can be believed before and after.
        classifier: In evaluation mode, on the images' device.
        images: The images.
        indices: The validation images among them, int64 `(N,)`.
    """
    spec = classifier.spec
    scores = outputs(classifier, images, indices, spec.image_size, EVALUATION_BATCH).numpy()
    labels = images.labels[indices].numpy()
    temperature = fit_temperature(scores, labels)
    probabilities = softmax_with_temperature(scores, temperature)
    prior = spec.training_prior
    if prior:
        # What the calibrated network itself gives each class, which is not quite what the loss was weighted with.
        prior = tuple(implied_prior(probabilities, labels, prior).tolist())
    classifier.spec = replace(spec, temperature=temperature, training_prior=prior)
    # Both, so that a run shows what the temperature was good for.
    before = calibration(labels, softmax_with_temperature(scores))
    after = calibration(labels, probabilities)
    run.metrics({TEMPERATURE: temperature})
    run.json({"temperature": temperature, **vars(after), UNCALIBRATED: vars(before)}, "calibration/report.json")
    title = f"Validation, on which the temperature {temperature:.3g} was fitted"
    figure = reliability_figure(report(labels, probabilities), title, before.ece)
    run.figure(figure, CALIBRATION_PLOT)
