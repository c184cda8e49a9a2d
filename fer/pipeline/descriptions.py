"""Describe the runs of all commands, and the models they log, in a few lines of Markdown on MLflow's pages."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.evaluation.report import Report
from fer.experiments.seeds import SeedStats, seed_stats_rows
from fer.model_card.card import README, Origin
from fer.model_card.descriptions import HEAD, accuracy_cells, accuracy_rows, model_description, run_description
from fer.models.backbones import ModelSpec
from fer.tracking.links import model_link, run_link
from fer.tracking.names import REPORT_PAGE, STAGES_FILE
from fer.tracking.naming import weights_label
from fer.tracking.runs import TrackedRun
from fer.utils.rendering import escape_markdown

if TYPE_CHECKING:
    from fer.comparison.comparing import Comparison
    from fer.data.prepared import Prepared
    from fer.evaluation.datasets import Evaluation
    from fer.pipeline.contamination import Contamination
    from fer.pipeline.context import RunContext
    from fer.pipeline.stages import Stage

TESTED = "intervals, confusion matrices, calibration and the most confident mistakes"
PRETRAINED = "the curves, and a map of the features"
"""What the page of a run shows beside its description."""
SHOWN = 10
"""So many sentences, or links, of a kind a description holds: MLflow takes a few thousand characters only."""


def describe_finetuned(
    run: TrackedRun,
    origin: Origin,
    evaluations: Mapping[str, "Evaluation"],
    contamination: Mapping[str, "Contamination"],
    config: FinetuneConfig,
) -> None:
    """Describe a fine-tuning and the model it has logged, before that is registered.

    Args:
        run: The run.
        origin: How the model was made.
        evaluations: The tests by data set.
        contamination: Which test images it has seen, likewise.
        config: What was done.
    """
    spec = origin.spec
    reports = _reports(evaluations)
    seen = _seen(contamination)
    card = model_link(run.experiment_id, origin.model_id)
    own = run_link(run.experiment_id, run.id)
    run.describe_model(model_description(origin, reports, seen, card, own))
    init, sets = escape_markdown(origin.init), escape_markdown(config.dataset)
    images = f"{sum(spec.training_counts):,} images, seed {config.seed}"
    kind = "Linear probe" if config.freeze == "backbone" else "Fine-tuning"
    lead = f"{kind} of `{spec.arch}` from {init} on {sets} ({images})."
    kept = f"Kept was {escape_markdown(origin.chosen)}; test images had no say."
    notes = [
        _page(run, TESTED),
        f"The model's card: {README} [among its artifacts]({card}); it loads as `models:/{origin.model_id}`.",
    ]
    run.describe(run_description(f"{lead} {kept}", accuracy_rows(reports), seen, notes))


def describe_tested(
    run: TrackedRun,
    model: str,
    spec: ModelSpec,
    evaluations: Mapping[str, "Evaluation"],
    contamination: Mapping[str, "Contamination"],
) -> None:
    """Describe a test.

    Args:
        run: The run.
        model: What the model is called.
        spec: The model's specification.
        evaluations: The tests by data set.
        contamination: Which test images the model has seen, likewise.
    """
    trained_on = escape_markdown(", ".join(spec.trained_on)) or "unknown images"
    lead = f"Test of **{escape_markdown(model)}**, a `{spec.arch}` trained on {trained_on}."
    rows = accuracy_rows(_reports(evaluations))
    run.describe(run_description(lead, rows, _seen(contamination), [_page(run, TESTED)]))


def describe_pretrained(context: "RunContext[PretrainConfig]", figures: Mapping[str, float]) -> None:
    """Describe a pre-training.

    Args:
        context: Of the run.
        figures: The probes' figures after the last epoch.
    """
    run, config = context.run, context.config
    dataset, init = escape_markdown(config.dataset), escape_markdown(weights_label(context.init))
    lead = (
        f"Pre-training of `{config.arch}` by {config.method} on {dataset}, without labels, from {init} "
        f"(epochs: {config.epochs}, seed {config.seed})."
    )
    # The gauges that need no labels are no shares.
    probes = [f"{key.rpartition('/')[2].replace('_', ' ')} {value:.3f}" for key, value in figures.items()]
    notes = [
        f"Probes on validation images after the last epoch: {', '.join(probes)}.",
        f"Fine-tune the encoder with `init=runs:/{run.id}`.",
        _page(run, PRETRAINED),
    ]
    run.describe(run_description(lead, notes=notes))


def describe_stages(run: TrackedRun, name: str, stages: Sequence["Stage"], stats: Mapping[str, SeedStats]) -> None:
    """Describe a run of `experiment`.

    Args:
        run: The run.
        name: The experiment.
        stages: What was done.
        stats: Mean and deviation over seeds of every test figure.
    """
    seeds = sum(stage.command == "finetune" for stage in stages)
    means = f" The table shows mean ± deviation over {seeds} seeds." if seeds > 1 and stats else ""
    links = []
    for stage in stages:
        title = stage.command if stage.seed is None else f"{stage.command}, seed {stage.seed}"
        links.append(f"[{title}]({run_link(run.experiment_id, stage.run_id)}) ({stage.how})")
    shown = _first(links, f", listed in {STAGES_FILE} of each experiment's run")
    notes = [f"Its stages: {'; '.join(shown)}."] if links else []
    lead = f"Experiment **{escape_markdown(name)}**.{means}"
    run.describe(run_description(lead, seed_stats_rows(stats), notes=notes))


def describe_demo(run: TrackedRun, reports: Mapping[str, Mapping[str, Report]], runs: Mapping[str, str]) -> None:
    """Describe a run of `main`.

    Args:
        run: The run.
        reports: The figures of each training by data set.
        runs: The trainings' runs.
    """
    rows = [["training", "data set", *HEAD]]
    for name, by_set in reports.items():
        # Parts of a set stand on the trainings' own pages.
        whole = {dataset: report for dataset, report in by_set.items() if "/" not in dataset}
        rows += [[name, dataset, *accuracy_cells(report)] for dataset, report in whole.items()]
    links = [f"[{escape_markdown(name)}]({run_link(run.experiment_id, run_id)})" for name, run_id in runs.items()]
    lead = "The demo: drawn faces, prepared, and two trainings on them, tested on the three drawn sets."
    run.describe(run_description(lead, rows, notes=[f"The trainings: {', '.join(links)}."]))


def describe_prepared(run: TrackedRun, prepared: Mapping[str, "Prepared"]) -> None:
    """Describe a run of `prepare` by how many images each set has."""
    notes = []
    for name, result in prepared.items():
        counts = result.manifest.counts()
        splits = ", ".join(f"{sum(of_split.values()):,} {split}" for split, of_split in counts.items())
        left_out = sum(result.left_out_reasons.values())
        notes.append(f"- **{escape_markdown(name)}**: images: {splits}; left out: {left_out:,}")
    shown = "`manifests/<set>` holds the list of its images, and their counts by split and expression."
    lead = "Downloads brought into the common tree, checked and listed."
    run.describe(run_description(lead, notes=["\n".join(notes), shown]))


def describe_compared(run: TrackedRun, comparison: "Comparison", report: str) -> None:
    """Describe a comparison by what came out.

    Args:
        run: The run.
        comparison: The comparison.
        report: Artifact path of its report.
    """
    place = " in the report"
    names = _first([escape_markdown(configuration.name) for configuration in comparison.configurations], place)
    sentences = [escape_markdown(sentence) for sentence in chain.from_iterable(comparison.verdicts.values())]
    verdicts = "\n".join(f"- {line}" for line in _first(sentences, place)) or "There is nothing to test."
    warnings = _first([escape_markdown(warning) for warning in comparison.warnings], place)
    link = f"[{report}]({run_link(run.experiment_id, run.id, report)}) shows tables, figures and how all was computed."
    # The list last, so that no length of it can cost what matters more.
    notes = [link, *(f"> **Warning:** {line}" for line in warnings), verdicts]
    run.describe(run_description(f"Comparison of {', '.join(names)}.", notes=notes))


def _first(lines: Sequence[str], place: str) -> list[str]:
    """Return the first lines, and how many more there are, and in which place."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"... and {more} more{place}"] if more > 0 else list(lines)


def _reports(evaluations: Mapping[str, "Evaluation"]) -> dict[str, Report]:
    return {name: evaluation.report for name, evaluation in evaluations.items()}


def _seen(contamination: Mapping[str, "Contamination"]) -> dict[str, str]:
    """Return the sentences on sets of which test images were seen in training."""
    return {name: one.message for name, one in contamination.items() if one.matches}


def _page(run: TrackedRun, shown: str) -> str:
    return f"[{REPORT_PAGE}]({run_link(run.experiment_id, run.id, REPORT_PAGE)}) shows {shown}."
