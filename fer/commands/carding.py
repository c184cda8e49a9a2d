"""The model card of a training: what it says, and its way into the logged model."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fer.card.figures import SetFigures
from fer.card.page import Origin, card_files
from fer.commands.crediting import credits_of
from fer.commands.evaluation import Evaluation
from fer.commands.finetune_plan import Plan
from fer.data.wikimedia import WIKIMEDIA
from fer.models.backbones import Classifier
from fer.models.weights import ADDRESSES
from fer.progress import Progress
from fer.report import UNIFORM_PRIOR
from fer.tracking.cards import log_card
from fer.tracking.environment import CodeVersion, code_version
from fer.tracking.runs import TrackedRun


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
    shown = found.get(WIKIMEDIA.name)
    credits = list(credits_of(shown.manifest, plan.root).values()) if shown else []
    log_card(model_id, card_files(origin, {name: tested(one) for name, one in found.items()}, credits))


def tested(evaluation: Evaluation) -> SetFigures:
    """Return what a card says of an evaluation."""
    result = SetFigures(evaluation.part, evaluation.report, evaluation.groups)
    prior = evaluation.uniform_prior
    return replace(result, variants={UNIFORM_PRIOR: prior, **result.variants}) if prior else result


def code_in_words(code: CodeVersion) -> str:
    """Return which code made a model, as a card says it."""
    return f"commit `{code.commit}`" + (", with changes that are not committed" if code.dirty else "")
