"""What `finetune` does once training is over: load the epoch that was chosen, log it, test it, register it."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from fer.attribution.credits import Credit
from fer.data.batches import PackedImages
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import Manifest
from fer.errors import FerError
from fer.evaluation.calibration import calibration, fit_temperature, implied_prior, softmax_with_temperature
from fer.evaluation.figures import learning_curves, reliability_figure
from fer.evaluation.inference import outputs
from fer.evaluation.report import UNIFORM_PRIOR, Report, report, reports_table
from fer.model_card.card import Origin, card_files
from fer.model_card.tables import SetFigures
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier, save_classifier
from fer.models.initial_weights import ADDRESSES
from fer.pipeline.contamination import log_contamination, past_of
from fer.pipeline.evaluation import Evaluation, evaluate_sets, log_evaluations, table_reports
from fer.pipeline.finetune_plan import Plan
from fer.pipeline.inputs import credits_of
from fer.tracking.logged_model import log_card, log_model
from fer.tracking.names import PROTOCOL, SCORE, TERMS, UNREGISTERED, VALIDATION_DIGEST
from fer.tracking.provenance import CodeVersion, code_version
from fer.tracking.registry import RUN, Registration, register_run
from fer.tracking.runs import TrackedRun
from fer.training.checkpoints import BEST, Progress

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


def conclude(
    plan: Plan,
    run: TrackedRun,
    folder: Path,
    progress: Progress,
    manifests: Sequence[Manifest],
    held_out: tuple[PackedImages, Tensor],
) -> FinetuneResult:
    """Calibrate, log, test and register the network of the best epoch.

    Args:
        plan: What the run was to do.
        run: The open run.
        folder: Holds `best.ckpt`.
        progress: How training went.
        manifests: Of the training sets.
        held_out: The images, and the indices of the validation images among them, int64 `(N,)`.
    """
    config, root, device = plan.config, plan.root, plan.device
    _log_choice(run, progress)
    classifier = load_classifier(folder / BEST).to(device)
    calibrate(run, classifier, *held_out, EVALUATION_BATCH)
    save_classifier(classifier, folder / "classifier")
    tags = _version_tags(classifier.spec, manifests, config.selection)
    model_id = log_model(run.id, folder / "classifier", {**tags, SCORE: f"{progress.best_score:.6f}"})
    sets = resolve_prepared(config.evaluate_on, root)
    found = evaluate_sets(classifier, sets, root, device, EVALUATION_BATCH)
    log_evaluations(run, found, root, model_id)
    log_contamination(run, found, past_of(classifier.spec), root, config.contamination)
    add_card(plan, run, classifier, progress, found, model_id)
    reports = table_reports(found)
    run.text(reports_table({run.id[:8]: reports}) + "\n", "table.txt")
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
        VALIDATION_DIGEST: hashlib.sha256(validation.encode()).hexdigest()[:36],
        PROTOCOL: f"best epoch by validation {selection}",
        "trained_on": "+".join(spec.trained_on),
        TERMS: "; ".join(spec.terms) or "none",
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


def add_card(
    plan: Plan,
    run: TrackedRun,
    classifier: Classifier,
    progress: Progress,
    found: Mapping[str, Evaluation],
    model_id: str,
) -> None:
    """Write a trained model's card and put it into the logged model.

    Args:
        plan: What the run was to do.
        run: The run.
        classifier: The network that was logged.
        progress: How training went.
        found: Its evaluations by the sets' names.
        model_id: The logged model.

    Raises:
        DataError: A Wikimedia picture can no longer be read, or the record of credits is damaged.
    """
    selection, epoch = plan.config.selection, progress.best_epoch
    score = progress.history[epoch - 1][f"validation/{selection}"]
    origin = Origin(
        name=plan.registered_name,
        model_id=model_id,
        spec=classifier.spec,
        weights=sum(parameter.numel() for parameter in classifier.parameters()),
        init=plan.init if plan.init.startswith(ADDRESSES) else Path(plan.init).name,
        chosen=f"epoch {epoch} of {len(progress.history)}, the best by validation {selection} ({score:.4f})",
        run_id=run.id,
        code=code_in_words(code_version()),
        day=datetime.now(UTC).date().isoformat(),
    )
    credits: list[Credit] = []
    for evaluation in found.values():
        if evaluation.dataset.credits:
            credits += credits_of(evaluation.manifest, plan.root).values()
    log_card(model_id, card_files(origin, {name: tested(one) for name, one in found.items()}, credits))


def tested(evaluation: Evaluation) -> SetFigures:
    """Return what a card says of an evaluation."""
    result = SetFigures(evaluation.part, evaluation.report, evaluation.groups)
    prior = evaluation.uniform_prior
    return replace(result, variants={UNIFORM_PRIOR: prior, **result.variants}) if prior else result


def code_in_words(code: CodeVersion) -> str:
    """Return which code made a model, as a card says it."""
    return f"commit `{code.commit}`" + (", with changes that are not committed" if code.dirty else "")


def calibrate(run: TrackedRun, classifier: Classifier, images: PackedImages, indices: Tensor, batch_size: int) -> None:
    """Put temperature and prior that suit the validation images into a classifier's specification.

    Args:
        run: Gets the temperature, and how far the probabilities can be believed before and after.
        classifier: In evaluation mode, on the images' device.
        images: The images.
        indices: The validation images among them, int64 `(N,)`.
        batch_size: Images per step.
    """
    scores = outputs(classifier, images, indices, classifier.spec.image_size, batch_size).numpy()
    labels = images.labels[indices].numpy()
    temperature = fit_temperature(scores, labels)
    shares = softmax_with_temperature(scores, temperature)
    prior = classifier.spec.training_prior
    if prior:
        prior = tuple(implied_prior(shares, labels, prior).tolist())
    classifier.spec = replace(classifier.spec, temperature=temperature, training_prior=prior)
    before, after = calibration(labels, softmax_with_temperature(scores)), calibration(labels, shares)
    run.metrics({
        "calibration/temperature": temperature,
        **{f"validation/{key}": value for key, value in vars(after).items()},
        **{f"validation/uncalibrated/{key}": value for key, value in vars(before).items()},
    })  # fmt: skip
    title = f"Validation, on which the temperature {temperature:.3g} was fitted"
    run.figure(reliability_figure(report(labels, shares), title, before.ece), "calibration/reliability.png")


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
        sentence = f"{error}; the model is kept with its run, and this registers it later: {command}"
    # Printed first: a server that has gone altogether cannot take the tag.
    print(sentence)
    run.tags({UNREGISTERED: sentence})
    return None
