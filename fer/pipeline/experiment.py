"""Run one experiment of `experiments/`, stage by stage, once or with several seeds."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

from fer.config.commands import ExperimentConfig
from fer.evaluation.names import sets_with_figures
from fer.experiments.files import (
    Experiment,
    ReportedFigures,
    read_reported,
)
from fer.experiments.seeds import pretraining_note, seed_stats, seed_stats_json, seed_stats_metrics, seed_stats_table
from fer.pipeline.descriptions import describe_stages
from fer.pipeline.fingerprints import configuration_name
from fer.pipeline.requirements import prepare_experiment
from fer.pipeline.stages import Stage, Stages
from fer.tracking.leftovers import close_dead_runs
from fer.tracking.lifecycle import tracked
from fer.tracking.names import (
    ACCURACY_VIEW,
    CONFIGURATION,
    EXPERIMENT,
    PRETRAINING_VIEW,
    REPRODUCES,
    REUSED,
    SEEDS_FILE,
    STAGES_FILE,
)
from fer.tracking.runs import TrackedRun


@dataclass(frozen=True)
class ExperimentResult:
    """What `experiment` made.

    Attributes:
        run_id: The parent run.
        stages: What was done, in order; of `all` those of every experiment.
        table: Test figures in per cent, beside the reported ones; empty where nothing was tested.
        skipped: Why an experiment of `all` was not run, by name.
        where: Where to look at the run, in a line or two.
    """

    run_id: str
    stages: tuple[Stage, ...]
    table: str
    skipped: dict[str, str]
    where: str


def with_given_options(experiment: Experiment, config: ExperimentConfig) -> Experiment:
    """Return the experiment with the folders and the device that were given for all its stages."""
    default = ExperimentConfig()
    stages = {}
    for name, stage in experiment.stages.items():
        given = {}
        for option in ("data_root", "output", "device"):
            value = getattr(config, option)
            # What was not given stays as the file says it.
            if value != getattr(default, option) and hasattr(stage, option):
                given[option] = value
        stages[name] = replace(stage, **given)
    return replace(experiment, **stages)


@contextmanager
def experiment_run(config: ExperimentConfig, name: str) -> Iterator[TrackedRun]:
    """Open a run around stages, and end those of this machine whose process died: it goes on with what they did."""
    with tracked("experiment", config, name) as run:
        close_dead_runs(run.address, print, here=True)
        yield run


def run_one(experiment: Experiment, config: ExperimentConfig, root: Path) -> ExperimentResult:
    """Run one experiment in a parent run of its own."""
    row = read_reported().get(experiment.name)
    tags = {EXPERIMENT: experiment.name}
    # A file elsewhere may bear a row's name and say something else.
    if row and not config.name.endswith(".yaml"):
        tags[REPRODUCES] = row.name
    with experiment_run(config, experiment.name) as run:
        prepare_experiment(experiment, root)
        stages = Stages(root, config.reuse)
        figures = _run_stages(experiment, stages, config, tags)
        _log_stages(run, stages.done)
        table = _log_figures(run, stages.done, figures, row.figures if row else {})
        describe_stages(run, experiment.name, stages.done, seed_stats(figures))
        view = view_of(stages.done)
        # Stages that were taken over may have been run in another MLflow experiment.
        run.views((view,), sets_with_figures(chain.from_iterable(figures)))
    if table:
        print(f"\n{experiment.name}: accuracy in per cent\n\n{table}\n")
    return ExperimentResult(run.id, tuple(stages.done), table, {}, run.where(view))


def _run_stages(
    experiment: Experiment,
    stages: Stages,
    config: ExperimentConfig,
    tags: Mapping[str, str],
) -> list[dict[str, float]]:
    """Run the stages and return the test figures of every seed of the fine-tuning."""
    pretrain, finetune = experiment.pretrain, experiment.finetune
    encoders = []
    if pretrain:
        for number in range(config.pretrain_seeds):
            encoders.append(stages.pretrain(replace(pretrain, seed=pretrain.seed + number)))
    if not finetune:
        return []
    # `compare` takes runs of one configuration that differ in their seed for repetitions.
    tags = {**tags, CONFIGURATION: configuration_name(experiment, finetune)}
    figures = []
    for number in range(config.seeds):
        seeded = replace(finetune, seed=finetune.seed + number)
        if encoders:
            # In turn, so that a seed added later starts from the same pre-training whatever their number.
            seeded = replace(seeded, init=f"runs:/{encoders[number % len(encoders)]}")
        run_id = stages.finetune(seeded, tags)
        figures.append(stages.test_figures(run_id, experiment.evaluate, seeded))
    return figures


def view_of(done: Sequence[Stage]) -> str:
    """Return the prepared view that shows what stages gave; none where no stage was done."""
    commands = {stage.command for stage in done}
    if commands == {"pretrain"}:
        return PRETRAINING_VIEW
    return ACCURACY_VIEW if commands else ""


def _log_stages(run: TrackedRun, done: Sequence[Stage]) -> None:
    run.json([asdict(stage) for stage in done], STAGES_FILE)
    # They are nested in the run of an earlier call, where MLflow does not show them under this one.
    reused = [stage.run_id for stage in done if stage.how == "reused"]
    run.tags({REUSED: " ".join(reused) or "none"})


def _log_figures(
    run: TrackedRun,
    done: Sequence[Stage],
    figures: Sequence[dict[str, float]],
    reported: Mapping[str, ReportedFigures],
) -> str:
    """Log means and deviations over the seeds, and return the table; empty where nothing was tested."""
    stats = seed_stats(figures)
    if not stats:
        return ""
    run.metrics(seed_stats_metrics(stats))
    run.json(seed_stats_json(stats, len(figures)), SEEDS_FILE)
    pretrainings = sum(stage.command == "pretrain" for stage in done)
    table = seed_stats_table(stats, len(figures), reported) + pretraining_note(pretrainings, len(figures))
    run.text(table + "\n", "table.txt")
    return table
