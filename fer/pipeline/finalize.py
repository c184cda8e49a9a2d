"""Finalize a fine-tuning: load the epoch that was chosen, calibrate, log, test and register it."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer.config.options import without_folders
from fer.config.training import FinetuneConfig
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import Manifest
from fer.data.packing import PackedImages
from fer.evaluation.datasets import Evaluation, evaluate_sets, flat_reports
from fer.evaluation.names import BEST_EPOCH, TEST_BEST, TEST_BEST_EPOCH, TEST_EACH_EPOCH, VALIDATION
from fer.evaluation.report import Report, reports_table
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier, save_classifier
from fer.pipeline.contamination import find_contamination, seen_images
from fer.pipeline.context import EVALUATION_BATCH, RunContext
from fer.pipeline.evaluate import calibrate, log_contamination, log_evaluations
from fer.pipeline.options import PREPARED, registered_name
from fer.tracking.names import (
    ACCURACY_VIEW,
    CURVES_PLOT,
    CURVES_VIEW,
    PROTOCOL,
    SCORE,
    TERMS,
    VALIDATION_DIGEST,
)
from fer.tracking.naming import RUN
from fer.tracking.provenance import code_version
from fer.tracking.registry import Registration
from fer.tracking.runs import TrackedRun
from fer.training.checkpoints import BEST
from fer.training.progress import Progress
from fer.utils.rendering import today

# Imported where they are used, so that a test without a training starts without them: the logged model and its card.
if TYPE_CHECKING:
    from fer.attribution.credits import Credit
    from fer.model_card.card import Origin


@dataclass(frozen=True)
class FinetuneResult:
    """What `finetune` made.

    Attributes:
        run_id: The MLflow run.
        run_name: Its name.
        reports: Test figures by data set.
        registration: The registered version, or None where none was wanted or the registry refused it.
        where: Lines that tell a person where to look.
    """

    run_id: str
    run_name: str
    reports: dict[str, Report]
    registration: Registration | None
    where: str

    def summary(self) -> str:
        """Return the table of test figures, and which version was registered."""
        text = f"\n{reports_table({self.run_name: self.reports})}\n"
        if self.registration:
            text += f"\nregistered {self.registration.name} {self.registration.version}: {self.registration.message}"
        return text


def finalize(
    context: RunContext[FinetuneConfig],
    progress: Progress,
    images: PackedImages,
) -> FinetuneResult:
    """Calibrate, log, test and register the network of the best epoch.

    Args:
        context: Of the open run, whose folder holds `best.ckpt`.
        progress: How training went.
        images: Of the training sets.

    Raises:
        DataError: A picture can no longer be read, or a record of credits is damaged.
    """
    from fer.pipeline.descriptions import describe_finetuned
    from fer.pipeline.run_page import log_finetune_page
    from fer.pipeline.shown_sets import shown_sets
    from fer.tracking.models import log_model

    config, run, root = context.config, context.run, context.root
    log_progress(run, progress)
    classifier = load_classifier(context.folder / BEST).to(context.device)
    # Before it is logged: the temperature is part of the model.
    calibrate(run, classifier, images, images.indices("validation"))
    folder = context.folder / "classifier"
    save_classifier(classifier, folder)
    tags = _version_tags(classifier.spec, images.manifests, progress, config.selection)
    log_model(run, folder, tags, context.name)
    sets = resolve_prepared(config.evaluate_on, root)
    evaluations = evaluate_sets(classifier, sets, root, context.device, EVALUATION_BATCH)
    if config.evaluate_on == PREPARED:
        run.params({"evaluate_on": "+".join(evaluations) or "none"})
    log_evaluations(run, evaluations, root, run.model_id)
    seen = seen_images(classifier.spec)
    contamination = find_contamination(evaluations, seen, root, config.contamination)
    log_contamination(run, evaluations, contamination, root)
    run.views((ACCURACY_VIEW, CURVES_VIEW), evaluations)
    origin = origin_of(context, classifier, progress)
    run.model_files(card(origin, evaluations, root))
    log_finetune_page(context, origin, shown_sets(run, evaluations, contamination, root))
    describe_finetuned(run, origin, evaluations, contamination, config)
    reports = flat_reports(evaluations)
    run.text(reports_table({run.id[:8]: reports}) + "\n", "table.txt")
    # Last, so that nobody is offered a version before all that describes it is there.
    name = registered_name(config)
    registration = register_at_end(run, name, config.promote) if name else None
    return FinetuneResult(run.id, context.name, reports, registration, run.where(ACCURACY_VIEW))


def log_progress(run: TrackedRun, progress: Progress) -> None:
    """Log which epoch was chosen, its validation figures, and the learning curves."""
    from fer.evaluation.training_figures import learning_curves

    chosen = progress.history[progress.best_epoch - 1]
    validation = {f"best/{key}": value for key, value in chosen.items() if key.startswith(f"{VALIDATION}/")}
    run.metrics({BEST_EPOCH: progress.best_epoch, **_test_best(progress), **validation})
    run.figure(learning_curves(progress.history, "Learning curves"), CURVES_PLOT)


def _test_best(progress: Progress) -> dict[str, float]:
    """Return the best test accuracy over epochs, as in 2021: an optimistic figure, for comparison only."""
    best: dict[str, float] = {}
    for key in progress.history[0]:
        if key.endswith(f"/{TEST_EACH_EPOCH}"):
            name = key.removesuffix(f"/{TEST_EACH_EPOCH}")
            accuracies = [figures[key] for figures in progress.history]
            highest = max(accuracies)
            best[f"{name}/{TEST_BEST}"] = highest
            best[f"{name}/{TEST_BEST_EPOCH}"] = accuracies.index(highest) + 1
    return best


def _version_tags(
    spec: ModelSpec,
    manifests: Sequence[Manifest],
    progress: Progress,
    selection: str,
) -> dict[str, str]:
    # Versions compete for the alias only where they were scored on the same images, chosen in the same way.
    validation = "".join(manifest.of("validation").digest for manifest in manifests)
    digest = hashlib.sha256(validation.encode()).hexdigest()
    return {
        # MLflow's digests of data sets hold 36 characters at most.
        VALIDATION_DIGEST: digest[:36],
        PROTOCOL: f"best epoch by validation {selection}",
        SCORE: f"{progress.best_score:.6f}",
        TERMS: "; ".join(spec.terms) or "none",
        "trained_on": "+".join(spec.trained_on),
    }


def origin_of(
    context: RunContext[FinetuneConfig],
    classifier: Classifier,
    progress: Progress,
) -> "Origin":
    """Return how a model was made.

    Args:
        context: Of the run.
        classifier: The network that was logged.
        progress: How training went.
    """
    from fer.model_card.card import Origin

    config = context.config
    epoch, selection = progress.best_epoch, config.selection
    score = progress.history[epoch - 1][f"{VALIDATION}/{selection}"]
    return Origin(
        name=registered_name(config),
        model_id=context.run.model_id,
        spec=classifier.spec,
        weights=sum(parameter.numel() for parameter in classifier.parameters()),
        init=without_folders(context.init),
        chosen=f"epoch {epoch} of {len(progress.history)}, the best by validation {selection} ({score:.4f})",
        run_id=context.run.id,
        code=code_version().description,
        day=today(),
    )


def card(origin: "Origin", evaluations: Mapping[str, Evaluation], root: Path) -> dict[str, str]:
    """Return the files of a trained model's card, by name.

    Args:
        origin: How the model was made.
        evaluations: By the sets' names.
        root: The data root.

    Raises:
        DataError: A Wikimedia picture can no longer be read, or the record of credits is damaged.
    """
    from fer.attribution.artifact import credits_of
    from fer.model_card.card import card_files

    credits: list[Credit] = []
    for evaluation in evaluations.values():
        if evaluation.dataset.credits:
            credits += credits_of(evaluation.manifest, root).values()
    parts = {name: evaluation.part for name, evaluation in evaluations.items()}
    return card_files(origin, parts, flat_reports(evaluations), credits)


def register_at_end(run: TrackedRun, name: str, promote: bool) -> Registration | None:
    """Register the model of a run that is about to end; where that is refused, say how to do it later and go on.

    Args:
        run: The open run, which has logged its model.
        name: The registered model.
        promote: Whether to move the alias `champion` in any case.
    """
    command = f"fer register --model {RUN}{run.id} --registered_name {shlex.quote(name)}"
    command += " --promote true" if promote else ""
    later = f"the model is kept with its run, and this registers it later: {command}"
    registration = run.register(name, promote, later)
    if isinstance(registration, Registration):
        return registration
    # A refusal in words; nothing where the store has not answered, of which the run's end speaks.
    if registration:
        print(registration)
    return None
