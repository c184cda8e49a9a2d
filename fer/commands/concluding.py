"""What `finetune` does once training is over: load the epoch that was chosen, log it, test it, register it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fer.checkpoints import BEST
from fer.commands.calibrating import calibrate
from fer.commands.carding import add_card
from fer.commands.contamination import log_contamination, past_of
from fer.commands.evaluation import evaluate_sets, log_evaluations, table_reports
from fer.commands.finetune_plan import Plan
from fer.commands.register import register_at_end
from fer.data.batches import ImagePool
from fer.data.manifest import Manifest
from fer.data.registry import resolve_prepared
from fer.figures import learning_curves
from fer.models.backbones import ModelSpec
from fer.models.files import load_classifier, save_classifier
from fer.progress import Progress
from fer.report import Report, text_table
from fer.tracking.logged_model import log_model
from fer.tracking.registry import Registration
from fer.tracking.runs import TrackedRun

EVALUATION_BATCH = 128


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
    """

    run_id: str
    best_epoch: int
    reports: dict[str, Report]
    model_id: str
    registration: Registration | None
    where: str


def conclude(
    plan: Plan,
    run: TrackedRun,
    folder: Path,
    progress: Progress,
    manifests: Sequence[Manifest],
    held_out: tuple[ImagePool, Tensor],
) -> FinetuneResult:
    """Calibrate, log, test and register the network of the best epoch.

    Args:
        plan: What the run was to do.
        run: The open run.
        folder: Holds `best.ckpt`.
        progress: How training went.
        manifests: Of the training sets.
        held_out: The images, and the places of the validation images among them, int64 `(N,)`.
    """
    config, root, device = plan.config, plan.root, plan.device
    _log_choice(run, progress)
    classifier = load_classifier(folder / BEST).to(device)
    calibrate(run, classifier, *held_out, EVALUATION_BATCH)
    save_classifier(classifier, folder / "classifier")
    tags = _version_tags(classifier.spec, manifests, config.selection)
    model_id = log_model(run.id, folder / "classifier", {**tags, "score": f"{progress.best_score:.6f}"})
    sets = resolve_prepared(config.evaluate_on, root)
    found = evaluate_sets(classifier, sets, root, device, EVALUATION_BATCH)
    log_evaluations(run, found, root, model_id)
    log_contamination(run, found, past_of(classifier.spec), root, config.contamination)
    add_card(plan, run, classifier, progress, found, model_id)
    reports = table_reports(found)
    run.text(text_table({run.id[:8]: reports}) + "\n", "table.txt")
    registration = register_at_end(run, plan.registered_name, config.promote) if plan.registered_name else None
    return FinetuneResult(run.id, progress.best_epoch, reports, model_id, registration, run.where())


def _log_choice(run: TrackedRun, progress: Progress) -> None:
    run.metrics({"best_epoch": progress.best_epoch, **_test_best(progress)})
    chosen = progress.history[progress.best_epoch - 1]
    run.metrics({f"best/{key}": value for key, value in chosen.items() if key.startswith("validation/")})
    run.figure(learning_curves(progress.history, "Learning curves"), "learning_curves.png")


def _version_tags(spec: ModelSpec, manifests: Sequence[Manifest], selection: str) -> dict[str, str]:
    validation = "".join(manifest.of("validation").digest for manifest in manifests)
    return {
        "validation_digest": hashlib.sha256(validation.encode()).hexdigest()[:36],
        "protocol": f"best epoch by validation {selection}",
        "trained_on": "+".join(spec.trained_on),
        "terms": "; ".join(spec.terms) or "none",
    }


def _test_best(progress: Progress) -> dict[str, float]:
    """Return the best test accuracy over epochs, as in 2021: an optimistic figure, for comparison only."""
    keys = {key for figures in progress.history for key in figures if key.endswith("/test_each_epoch/accuracy")}
    best: dict[str, float] = {}
    for key in keys:
        values = [figures[key] for figures in progress.history]
        name = key.split("/")[0]
        best |= {f"{name}/test_best/accuracy": max(values), f"{name}/test_best/epoch": values.index(max(values)) + 1}
    return best
