"""Finalize a fine-tuning: load the epoch that was chosen, calibrate, log, test and register it."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from fer.config.training import FinetuneConfig
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import Manifest
from fer.data.packing import PackedImages
from fer.errors import FerError
from fer.evaluation.calibration import calibration, fit_temperature, implied_prior, softmax_with_temperature
from fer.evaluation.datasets import Evaluation, evaluate_sets, flat_reports, outputs
from fer.evaluation.names import TEST_BEST, TEST_BEST_EPOCH, TEST_EACH_EPOCH, UNCALIBRATED, VALIDATION
from fer.evaluation.report import Report, report, reports_table
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier, save_classifier
from fer.models.initial_weights import ADDRESSES
from fer.pipeline.contamination import log_contamination, seen_images
from fer.pipeline.context import EVALUATION_BATCH, RunContext
from fer.pipeline.evaluate import log_evaluations
from fer.tracking.names import PROTOCOL, SCORE, TERMS, UNREGISTERED, VALIDATION_DIGEST
from fer.tracking.provenance import CodeVersion, code_version
from fer.tracking.registry import RUN, Registration, register_run
from fer.tracking.runs import TrackedRun
from fer.training.checkpoints import BEST, Progress

# Imported where they are used, so that training starts without them: figures, the logged model and its card.
if TYPE_CHECKING:
    from fer.attribution.credits import Credit


@dataclass(frozen=True)
class FinetuneResult:
    """What `finetune` made.

    Attributes:
        run_id: The MLflow run.
        best_epoch: The epoch kept, from 1.
        reports: Test figures by data set.
        model_id: The logged model.
        registration: The registered version, or None where none was wanted or the registry refused it.
        where: Lines that tell a person where to look.
        run_name: The run's name.
    """

    run_id: str
    best_epoch: int
    reports: dict[str, Report]
    model_id: str
    registration: Registration | None
    where: str
    run_name: str = ""

    def summary(self) -> str:
        """Return the table of test figures, and which version was registered."""
        text = f"\n{reports_table({self.run_name: self.reports})}\n"
        if self.registration:
            text += f"\nregistered {self.registration.name} {self.registration.version}: {self.registration.message}"
        return text


def finalize(
    context: RunContext[FinetuneConfig],
    progress: Progress,
    manifests: Sequence[Manifest],
    validation: tuple[PackedImages, Tensor],
    init: str,
    registered_name: str,
) -> FinetuneResult:
    """Calibrate, log, test and register the network of the best epoch.

    Args:
        context: Of the open run, whose folder holds `best.ckpt`.
        progress: How training went.
        manifests: Of the training sets.
        validation: Images, and the indices of the validation images among them, int64 `(N,)`.
        init: Where training started, `auto` resolved.
        registered_name: The registered model, or empty for none.
    """
    from fer.tracking.logged_model import log_model

    config, run = context.config, context.run
    log_progress(run, progress)
    classifier = load_classifier(context.folder / BEST).to(context.device)
    calibrate(run, classifier, *validation, EVALUATION_BATCH)
    save_classifier(classifier, context.folder / "classifier")
    tags = _version_tags(classifier.spec, manifests, config.selection)
    tags[SCORE] = f"{progress.best_score:.6f}"
    model_id = log_model(run.id, context.folder / "classifier", tags)
    sets = resolve_prepared(config.evaluate_on, context.root)
    evaluations = evaluate_sets(classifier, sets, context.root, context.device, EVALUATION_BATCH)
    log_evaluations(run, evaluations, context.root, model_id)
    log_contamination(run, evaluations, seen_images(classifier.spec), context.root, config.contamination)
    log_model_card(context, classifier, progress, evaluations, model_id, init, registered_name)
    reports = flat_reports(evaluations)
    run.text(reports_table({run.id[:8]: reports}) + "\n", "table.txt")
    registration = register_at_end(run, registered_name, config.promote) if registered_name else None
    return FinetuneResult(run.id, progress.best_epoch, reports, model_id, registration, run.where())


def log_progress(run: TrackedRun, progress: Progress) -> None:
    """Log which epoch was chosen, its validation figures, and the learning curves."""
    from fer.evaluation.figures import learning_curves

    run.metrics({"best_epoch": progress.best_epoch, **_test_best(progress)})
    chosen = progress.history[progress.best_epoch - 1]
    run.metrics({f"best/{key}": value for key, value in chosen.items() if key.startswith(f"{VALIDATION}/")})
    run.figure(learning_curves(progress.history, "Learning curves"), "learning_curves.png")


def _test_best(progress: Progress) -> dict[str, float]:
    """Return the best test accuracy over epochs, as in 2021: an optimistic figure, for comparison only."""
    best: dict[str, float] = {}
    for key in progress.history[0]:
        if key.endswith(f"/{TEST_EACH_EPOCH}"):
            accuracies = [figures[key] for figures in progress.history]
            name = key.removesuffix(f"/{TEST_EACH_EPOCH}")
            best[f"{name}/{TEST_BEST}"] = max(accuracies)
            best[f"{name}/{TEST_BEST_EPOCH}"] = accuracies.index(max(accuracies)) + 1
    return best


def _version_tags(spec: ModelSpec, manifests: Sequence[Manifest], selection: str) -> dict[str, str]:
    # Versions compete for the alias only where they were scored on the same images, chosen in the same way.
    validation = "".join(manifest.of("validation").digest for manifest in manifests)
    return {
        VALIDATION_DIGEST: hashlib.sha256(validation.encode()).hexdigest()[:36],
        PROTOCOL: f"best epoch by validation {selection}",
        "trained_on": "+".join(spec.trained_on),
        TERMS: "; ".join(spec.terms) or "none",
    }


def calibrate(run: TrackedRun, classifier: Classifier, images: PackedImages, indices: Tensor, batch_size: int) -> None:
    """Fit temperature and prior to the validation images and store them in a classifier's specification.

    Args:
        run: Gets the temperature, and how far the probabilities can be believed before and after.
        classifier: In evaluation mode, on the images' device.
        images: The images.
        indices: The validation images among them, int64 `(N,)`.
        batch_size: Images per step.
    """
    from fer.evaluation.figures import reliability_figure

    scores = outputs(classifier, images, indices, classifier.spec.image_size, batch_size).numpy()
    labels = images.labels[indices].numpy()
    temperature = fit_temperature(scores, labels)
    probabilities = softmax_with_temperature(scores, temperature)
    if prior := classifier.spec.training_prior:
        # What the calibrated network itself gives each class, which is not quite what the loss was weighted with.
        prior = tuple(implied_prior(probabilities, labels, prior).tolist())
    classifier.spec = replace(classifier.spec, temperature=temperature, training_prior=prior)
    before = calibration(labels, softmax_with_temperature(scores))
    run.metrics({"calibration/temperature": temperature})
    run.metrics({f"{VALIDATION}/{key}": value for key, value in vars(calibration(labels, probabilities)).items()})
    run.metrics({f"{VALIDATION}/{UNCALIBRATED}/{key}": value for key, value in vars(before).items()})
    title = f"Validation, on which the temperature {temperature:.3g} was fitted"
    run.figure(reliability_figure(report(labels, probabilities), title, before.ece), "calibration/reliability.png")


def log_model_card(
    context: RunContext[FinetuneConfig],
    classifier: Classifier,
    progress: Progress,
    evaluations: Mapping[str, Evaluation],
    model_id: str,
    init: str,
    registered_name: str,
) -> None:
    """Write a trained model's card and put it into the logged model.

    Args:
        context: Of the run.
        classifier: The network that was logged.
        progress: How training went.
        evaluations: By the sets' names.
        model_id: The logged model.
        init: Where training started.
        registered_name: The registered model, or empty for none.

    Raises:
        DataError: A Wikimedia picture can no longer be read, or the record of credits is damaged.
    """
    from fer.attribution.artifact import credits_of
    from fer.model_card.card import Origin, card_files
    from fer.tracking.logged_model import log_card

    selection, epoch = context.config.selection, progress.best_epoch
    score = progress.history[epoch - 1][f"validation/{selection}"]
    origin = Origin(
        name=registered_name,
        model_id=model_id,
        spec=classifier.spec,
        weights=sum(parameter.numel() for parameter in classifier.parameters()),
        # A card is read by strangers, whom the folders of this machine do not concern.
        init=init if init.startswith(ADDRESSES) else Path(init).name,
        chosen=f"epoch {epoch} of {len(progress.history)}, the best by validation {selection} ({score:.4f})",
        run_id=context.run.id,
        code=code_description(code_version()),
        day=datetime.now(UTC).date().isoformat(),
    )
    credits: list[Credit] = []
    for evaluation in evaluations.values():
        if evaluation.dataset.credits:
            credits += credits_of(evaluation.manifest, context.root).values()
    parts = {name: evaluation.part for name, evaluation in evaluations.items()}
    log_card(model_id, card_files(origin, parts, flat_reports(evaluations), credits))


def code_description(code: CodeVersion) -> str:
    """Return which code made a model, as a card says it."""
    return f"commit `{code.commit}`" + (", with changes that are not committed" if code.dirty else "")


def register_at_end(run: TrackedRun, name: str, promote: bool) -> Registration | None:
    """Register the model of a run that is about to end; where that is refused, say how to do it later and go on.

    Args:
        run: The open run, which has logged its model.
        name: The registered model.
        promote: Whether to move the alias `champion` in any case.
    """
    try:
        return register_run(run.id, name, promote)
    except FerError as error:
        command = f"fer register --model {RUN}{run.id} --registered_name {shlex.quote(name)}"
        command += " --promote true" if promote else ""
        message = f"{error}; the model is kept with its run, and this registers it later: {command}"
    # Printed first: a server that has gone altogether cannot take the tag.
    print(message)
    run.tags({UNREGISTERED: message})
    return None
