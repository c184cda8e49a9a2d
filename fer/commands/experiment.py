"""`experiment`: run what a file of `experiments/` says, stage by stage, once or with several seeds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fer.config.commands import ExperimentConfig
from fer.errors import ConfigError, FerError
from fer.experiments.files import ALL, Experiment, experiment_names, read_experiment
from fer.experiments.reported import read_reported
from fer.experiments.seeds import pretraining_note, seed_stats, seed_stats_metrics, seed_stats_table
from fer.pipeline.requirements import check, prepare
from fer.pipeline.stages import Stage, Stages, configuration
from fer.tracking.lifecycle import tracked
from fer.tracking.names import CONFIGURATION, EXPERIMENT, REPRODUCES, REUSED, STAGES_FILE
from fer.tracking.provenance import code_version
from fer.tracking.runs import TrackedRun
from fer.utils.paths import resolve_data_root


@dataclass(frozen=True)
class ExperimentResult:
    """What `experiment` made.

    Attributes:
        run_id: The parent run.
        stages: What was done, in order; of `all` those of every experiment.
        table: Test figures in per cent, beside the reported ones; empty where nothing was tested.
        skipped: Why an experiment of `all` was not run, by name.
    """

    run_id: str
    stages: tuple[Stage, ...]
    table: str
    skipped: dict[str, str]


def run(config: ExperimentConfig) -> ExperimentResult:
    """Run an experiment, or all of them, each in one parent run with a nested run for each stage.

    Raises:
        ConfigError: There is no such experiment, or its file is not in order.
        DataError: A set it needs is absent.
        ModelError: Its starting weights cannot be had.
        Interrupted: A signal came; a repeated call goes on from there.
    """
    root = resolve_data_root(config.data_root)
    if config.name == ALL:
        _check_shares(config)
        return _run_all(config, root)
    experiment = _here(read_experiment(config.name), config)
    _check_seeds(experiment, config)
    check(experiment, root)
    result, where = _tracked_experiment(experiment, config, root)
    print(where)
    return result


def _check_seeds(experiment: Experiment, config: ExperimentConfig) -> None:
    if config.seeds > 1 and not experiment.finetune:
        raise ConfigError(f"seeds repeats finetune, which {experiment.name} has not: leave seeds out")
    if config.pretrain_seeds > 1 and not experiment.pretrain:
        raise ConfigError(f"pretrain_seeds repeats pretrain, which {experiment.name} has not: leave pretrain_seeds out")
    if experiment.finetune:
        _check_shares(config)


def _check_shares(config: ExperimentConfig) -> None:
    """Refuse pre-trainings that would not be fine-tuned equally often: each must count as much as the others."""
    if config.seeds % config.pretrain_seeds:
        enough = config.pretrain_seeds * math.ceil(config.seeds / config.pretrain_seeds)
        raise ConfigError(
            f"seeds={config.seeds} fine-tunings cannot be shared equally by pretrain_seeds={config.pretrain_seeds}: "
            f"make seeds a multiple of it, such as seeds={enough}"
        )


def _run_all(config: ExperimentConfig, root: Path) -> ExperimentResult:
    """Run every experiment whose data and starting weights are at hand, and say why the others are not."""
    ready, skipped = _sorted_out(config, root)
    _tell_skipped(skipped)
    stages: list[Stage] = []
    tables: list[str] = []
    failed: dict[str, str] = {}
    with tracked("experiment", config, ALL, {"data_root_used": root}) as run:
        run.json(skipped, "skipped.json")
        for experiment in ready:
            own = replace(
                config,
                name=experiment.name,
                seeds=config.seeds if experiment.finetune else 1,
                pretrain_seeds=config.pretrain_seeds if experiment.pretrain else 1,
            )
            try:
                result, _ = _tracked_experiment(experiment, own, root)
            except FerError as error:
                failed[experiment.name] = str(error)
                print(f"{experiment.name} failed: {error}")
                continue
            stages += result.stages
            tables += [f"{experiment.name}\n{result.table}"] if result.table else []
        table = "\n\n".join(tables)
        run.text(table + "\n", "table.txt")
        print(f"\n{table}\n")
        _tell_skipped(skipped)
        if failed:
            raise FerError(f"{len(failed)} of {len(ready)} experiments failed: {', '.join(failed)}; see above")
    print(run.where())
    return ExperimentResult(run.id, tuple(stages), table, skipped)


def _sorted_out(config: ExperimentConfig, root: Path) -> tuple[list[Experiment], dict[str, str]]:
    """Return the experiments that can run here, and why each other one cannot."""
    ready, skipped = [], {}
    for name in experiment_names():
        try:
            experiment = _here(read_experiment(name), config)
            check(experiment, root)
            ready.append(experiment)
        except FerError as error:
            skipped[name] = str(error)
    return ready, skipped


def _tell_skipped(skipped: dict[str, str]) -> None:
    for reason in dict.fromkeys(skipped.values()):
        print(f"skipped {', '.join(name for name, why in skipped.items() if why == reason)}: {reason}")


def _here(experiment: Experiment, config: ExperimentConfig) -> Experiment:
    """Return the experiment with the folders and the device that were given for all its stages."""
    given = {}
    for item in fields(config):
        value = getattr(config, item.name)
        # `config` is the file of this command's own options.
        if item.name != "config" and value != item.default:
            given[item.name] = value
    stages = {}
    for name, stage in experiment.stages.items():
        shared = {key: value for key, value in given.items() if hasattr(stage, key)}
        stages[name] = replace(stage, **shared)
    return replace(experiment, **stages)


def _tracked_experiment(experiment: Experiment, config: ExperimentConfig, root: Path) -> tuple[ExperimentResult, str]:
    """Return what one experiment gave, and where to look at it."""
    code = code_version()
    if code.doubt and config.reuse:
        print(f"nothing is reused: {code.doubt}")
    told = read_reported().get(experiment.name)
    with tracked("experiment", config, experiment.name, {"data_root_used": root}) as run:
        prepare(experiment, root)
        stages = Stages(root, code, config.reuse)
        tags = {EXPERIMENT: experiment.name}
        # A file elsewhere may bear a row's name and say something else.
        tags |= {REPRODUCES: told.name} if told and not config.name.endswith(".yaml") else {}
        figures = _all_stages(experiment, stages, config, tags)
        table = _log(run, stages.done, figures, told.figures if told else {})
    trained = [stage.run_id for stage in stages.done if stage.command == "finetune"]
    if table:
        print(f"\n{experiment.name}: accuracy in per cent\n\n{table}\n")
    return ExperimentResult(run.id, tuple(stages.done), table, {}), run.where(trained)


def _all_stages(
    experiment: Experiment, stages: Stages, config: ExperimentConfig, tags: dict[str, str]
) -> list[dict[str, float]]:  # fmt: skip
    """Do the stages and return the test figures of every seed of the fine-tuning.

    The i-th fine-tuning starts from the pre-training numbered i modulo `pretrain_seeds`.
    """
    pretrain, finetune = experiment.pretrain, experiment.finetune
    encoders = []
    if pretrain:
        seeds = range(pretrain.seed, pretrain.seed + config.pretrain_seeds)
        encoders = [stages.pretrain(replace(pretrain, seed=seed)) for seed in seeds]
    if not finetune:
        return []
    # `compare` takes runs of one configuration that differ in their seed for repetitions.
    tags = tags | {CONFIGURATION: configuration(experiment, finetune)}
    figures = []
    for number in range(config.seeds):
        seeded = replace(finetune, seed=finetune.seed + number)
        if encoders:
            seeded = replace(seeded, init=f"runs:/{encoders[number % len(encoders)]}")
        figures.append(stages.figures(stages.finetune(seeded, tags), experiment.evaluate, seeded))
    return figures


def _log(run: TrackedRun, done: Sequence[Stage], figures: list[dict[str, float]], told: Any) -> str:
    """Log what was done and what came out, and return the table."""
    run.json([asdict(stage) for stage in done], STAGES_FILE)
    reused = [stage.run_id for stage in done if stage.how == "reused"]
    run.tags({REUSED: " ".join(reused) or "none"})
    stats = seed_stats(figures) if figures else {}
    if not stats:
        return ""
    run.metrics(seed_stats_metrics(stats))
    table = seed_stats_table(stats, len(figures), told) + pretraining_note(
        sum(stage.command == "pretrain" for stage in done), len(figures)
    )
    run.text(table + "\n", "table.txt")
    return table
