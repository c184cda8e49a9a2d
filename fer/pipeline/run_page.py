"""Write the page of a run from what it has logged and computed."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from fer.config.commands import EvaluateConfig
from fer.config.options import shown_options, without_folders
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import DATASETS
from fer.evaluation.names import FEATURE_STD, KNN_ACCURACY, LINEAR_ACCURACY, RANK_ME, TRAINING_LOSS
from fer.model_card.card import INPUT, Origin
from fer.model_card.run_report import RunReport, ShownSet, run_page
from fer.models.backbones import ModelSpec
from fer.pipeline.context import RunContext
from fer.pipeline.shown_sets import plots
from fer.tracking.models import FetchedModel
from fer.tracking.names import CALIBRATION_PLOT, CURVES_PLOT, FEATURE_MAP, REPORT_PAGE
from fer.tracking.params import param_text
from fer.tracking.provenance import code_version
from fer.tracking.runs import TrackedRun
from fer.utils.rendering import today

EPOCHS_HEAD = {
    TRAINING_LOSS: "loss",
    KNN_ACCURACY: "nearest neighbours",
    LINEAR_ACCURACY: "linear classifier",
    FEATURE_STD: "feature std",
    RANK_ME: "RankMe",
}
"""Headings of a pre-training's figures by epoch."""


def changed_options(config: Any) -> list[tuple[str, str, str, str]]:
    """Return the options that differ from their defaults: name, value, default and meaning; no folders of a machine."""
    shown = shown_options(config, {})
    changed = []
    for item in fields(config):
        if item.name in shown and getattr(config, item.name) != item.default:
            default = param_text(item.default) or "none"
            changed.append((item.name, param_text(shown[item.name]), default, item.metadata["help"]))
    return changed


def log_finetune_page(context: RunContext[FinetuneConfig], origin: Origin, sets: Sequence[ShownSet]) -> None:
    """Log the page of a fine-tuning.

    Args:
        context: Of the run, which has logged all else.
        origin: How the model was made.
        sets: What it was tested on.
    """
    config, run, spec = context.config, context.run, origin.spec
    facts = {
        **_network(spec, origin.weights),
        "starting weights": origin.init,
        **_trained_on(spec),
        "seed": str(config.seed),
        "kept": f"{origin.chosen}; test images had no say",
        "logged model": origin.model_id,
        "registered model": origin.name or "none",
        **_made(run, origin.day),
    }
    titles = {CURVES_PLOT: "Learning curves", CALIBRATION_PLOT: "Confidence and accuracy on validation images"}
    usage = {
        "Test it on other sets": f"fer evaluate --model runs:/{run.id} --dataset ...",
        "Recognise faces with it": f"fer predict --model runs:/{run.id} --image photo.jpg",
    }
    report = RunReport(
        name=context.name,
        lead=f"Fine-tuning of {origin.day}: {spec.arch} from {origin.init}, {origin.chosen}",
        facts=facts,
        options=changed_options(config),
        sets=sets,
        training=plots(run, titles),
        usage=usage,
        terms=spec.terms,
    )
    run.text(run_page(report), REPORT_PAGE)


def log_evaluate_page(
    run: TrackedRun,
    name: str,
    config: EvaluateConfig,
    fetched: FetchedModel,
    spec: ModelSpec,
    sets: Sequence[ShownSet],
) -> None:
    """Log the page of a test.

    Args:
        run: The run, which has logged all else.
        name: Its name.
        config: What was tested.
        fetched: Where the model came from.
        spec: Its specification.
        sets: What it was tested on.
    """
    model = without_folders(config.model)
    facts = {"model": model, "logged model": fetched.model_id, "made by run": fetched.run_id}
    # A checkpoint on the disk has neither id nor run.
    facts = {heading: text for heading, text in facts.items() if text}
    day = today()
    report = RunReport(
        name=name,
        lead=f"Test of {day}: {model}",
        facts={**facts, **_network(spec), **_trained_on(spec), **_made(run, day)},
        options=changed_options(config),
        sets=sets,
        terms=spec.terms,
    )
    run.text(run_page(report), REPORT_PAGE)


def log_pretrain_page(
    context: RunContext[PretrainConfig],
    spec: ModelSpec,
    sets: Sequence[DataSet],
    count: int,
    history: Sequence[Mapping[str, float]],
) -> None:
    """Log the page of a pre-training.

    Args:
        context: Of the run, which has logged all else.
        spec: The encoder's.
        sets: What it was trained on.
        count: On how many images of these.
        history: Figures by epoch, from that before the first on.
    """
    config, run = context.config, context.run
    day = today()
    facts = {
        "method": config.method,
        **_network(spec),
        "starting weights": without_folders(context.init),
        "trained on, without labels": f"{count:,} images of {', '.join(dataset.title for dataset in sets)}",
        "seed": str(config.seed),
        "kept": "the last epoch: to choose one would use labels",
        "probes, with labels": f"{_probes(history[-1])}; before training {_probes(history[0])}",
        **_made(run, day),
    }
    command = f"fer finetune --dataset {config.dataset} --arch {config.arch} --init runs:/{run.id}"
    titles = {CURVES_PLOT: "Learning curves", FEATURE_MAP: "Features of the validation images in two dimensions"}
    report = RunReport(
        name=context.name,
        lead=f"Pre-training of {day}: {config.method}, {config.arch}, {len(history) - 1} epochs",
        facts=facts,
        options=changed_options(config),
        training=plots(run, titles),
        epochs=_epochs(history),
        usage={"Fine-tune it": command},
        terms=spec.terms,
    )
    run.text(run_page(report), REPORT_PAGE)


def _probes(figures: Mapping[str, float]) -> str:
    keys = (KNN_ACCURACY, LINEAR_ACCURACY, FEATURE_STD, RANK_ME)
    return ", ".join(f"{EPOCHS_HEAD[key]} {figures[key]:.3f}" for key in keys if key in figures)


def _epochs(history: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """Return headings, and a row for each epoch, the first of which is before any training."""
    rows = [["epoch", *EPOCHS_HEAD.values()]]
    for epoch, figures in enumerate(history):
        rows.append([str(epoch), *(f"{figures[key]:.3f}" if key in figures else "-" for key in EPOCHS_HEAD)])
    return rows


def _network(spec: ModelSpec, weights: int = 0) -> dict[str, str]:
    crop, size = spec.crop_size, spec.image_size
    enlarged = "" if crop == size else f", enlarged to {size} x {size}"
    counted = f", {weights:,} weights" if weights else ""
    return {
        "network": f"torchvision's {spec.arch}{counted}",
        "sees": f"{INPUT[spec.framing]}, {crop} x {crop} pixels{enlarged}",
    }


def _trained_on(spec: ModelSpec) -> dict[str, str]:
    titles = ", ".join(DATASETS[name].title if name in DATASETS else name for name in spec.trained_on)
    fitted = f"{spec.temperature:.3f}, fitted on validation images" if spec.temperature != 1 else "1, not fitted"
    facts = {"trained on": titles or "unknown", "temperature": fitted}
    if spec.training_counts:
        pairs = zip(spec.training_counts, spec.expressions, strict=True)
        counts = ", ".join(f"{count:,} {name}" for count, name in pairs)
        facts["training images"] = f"{sum(spec.training_counts):,}: {counts}"
    return facts


def _made(run: TrackedRun, day: str) -> dict[str, str]:
    return {"run": run.id, "made": day, "code": code_version().description}
