"""Run an experiment of `experiments/`, those of a file that lists several starting weights, or all there are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fer.config.commands import CompareConfig, ExperimentConfig
from fer.errors import ConfigError, FerError
from fer.experiments.files import ALL, Experiment, experiment_names, read_experiments
from fer.pipeline.compare import compare_runs
from fer.pipeline.descriptions import describe_stages
from fer.pipeline.experiment import ExperimentResult, experiment_run, run_one, view_of, with_given_options
from fer.pipeline.requirements import check_experiment
from fer.pipeline.stages import Stage
from fer.tracking.runs import TrackedRun
from fer.utils.paths import resolve_data_root


def run_experiment(config: ExperimentConfig) -> ExperimentResult:
    """Run an experiment in one parent run with a nested run for each stage; several in a run around their own.

    Raises:
        ConfigError: There is no such experiment, or its file is not in order.
        DataError: A set it needs is absent.
        ModelError: Its starting weights cannot be had.
        Interrupted: A signal came; a repeated call goes on from there.
    """
    if config.name == ALL:
        _check_multiple(config)
        return _run_all(config)
    experiments = [with_given_options(experiment, config) for experiment in read_experiments(config.name)]
    first = experiments[0]
    # Those of one file differ in their starting weights alone.
    for option, stage in (("seeds", "finetune"), ("pretrain_seeds", "pretrain")):
        if getattr(config, option) > 1 and stage not in first.stages:
            raise ConfigError(f"{option} repeats {stage}, which {first.name} has not: leave {option} out")
    if first.finetune:
        _check_multiple(config)
    root = resolve_data_root(config.data_root)
    if len(experiments) > 1:
        return _run_and_compare(experiments, config)
    check_experiment(first, root)
    return run_one(first, config, root)


def _check_multiple(config: ExperimentConfig) -> None:
    # Each pre-training must count as much as the others.
    if config.seeds % config.pretrain_seeds:
        enough = config.pretrain_seeds * math.ceil(config.seeds / config.pretrain_seeds)
        raise ConfigError(
            f"seeds={config.seeds} fine-tunings cannot be shared equally by pretrain_seeds={config.pretrain_seeds}: "
            f"make seeds a multiple of it, such as seeds={enough}"
        )


def _run_all(config: ExperimentConfig) -> ExperimentResult:
    """Run every experiment whose data and starting weights are at hand, and say why the others are not."""
    experiments: list[Experiment] = []
    unread = {}
    for name in experiment_names():
        try:
            experiments += [with_given_options(experiment, config) for experiment in read_experiments(name)]
        except FerError as error:
            unread[name] = str(error)
    ready, skipped = _select_ready(experiments, config)
    skipped |= unread
    with experiment_run(config, ALL) as run:
        stages, table = _run_each(run, ALL, ready, skipped, config)
    return ExperimentResult(run.id, tuple(stages), table, skipped, run.where(view_of(stages)))


def _run_and_compare(experiments: Sequence[Experiment], config: ExperimentConfig) -> ExperimentResult:
    """Run the experiments of one file as far as their starting weights are at hand, and compare them.

    Raises:
        FerError: None of them can be run, or one failed.
    """
    ready, skipped = _select_ready(experiments, config)
    if not ready:
        # Often one reason, such as a set that is absent, holds for all.
        if len(set(skipped.values())) > 1:
            _print_skipped(skipped)
        raise FerError(f"none of {len(experiments)} experiments can be run: {next(iter(skipped.values()))}")
    name = Path(config.name).stem
    with experiment_run(config, name) as run:
        stages, table = _run_each(run, name, ready, skipped, config)
        where = run.where(view_of(stages))
        if len(ready) > 1:
            # All pairs of a long list would be more tests than its figures can bear.
            compared = compare_runs(CompareConfig(experiment=run.id, baseline=ready[0].name))
            print(f"{compared.text}\n")
            where = compared.where
        else:
            print(f"{ready[0].name} alone could be run, so there is nothing to compare it with")
    return ExperimentResult(run.id, tuple(stages), table, skipped, where)


def _run_each(
    run: TrackedRun,
    name: str,
    experiments: Sequence[Experiment],
    skipped: Mapping[str, str],
    config: ExperimentConfig,
) -> tuple[list[Stage], str]:
    """Run experiments one by one, log and print what came out; return their stages and tables.

    Args:
        run: The run around theirs.
        name: Its name.
        experiments: What to run.
        skipped: Why others are left out.
        config: What was asked for.

    Raises:
        FerError: One failed; the others have run.
    """
    run.json(dict(skipped), "skipped.json")
    stages: list[Stage] = []
    tables: list[str] = []
    failed: list[str] = []
    for experiment in experiments:
        # Not every experiment has both stages to repeat.
        own = replace(
            config,
            name=experiment.name if config.name == ALL else config.name,
            seeds=config.seeds if experiment.finetune else 1,
            pretrain_seeds=config.pretrain_seeds if experiment.pretrain else 1,
        )
        try:
            result = run_one(experiment, own, resolve_data_root(config.data_root))
        except FerError as error:
            # The others may take a night: one that fails must not cost them.
            failed.append(experiment.name)
            print(f"{experiment.name} failed: {error}")
            continue
        stages += result.stages
        if result.table:
            tables.append(f"{experiment.name}\n{result.table}")
    table = "\n\n".join(tables)
    run.text(table + "\n", "table.txt")
    describe_stages(run, name, stages, {})
    print(f"\n{table}\n")
    _print_skipped(skipped)
    if failed:
        raise FerError(f"{len(failed)} of {len(experiments)} experiments failed: {', '.join(failed)}; see above")
    return stages, table


def _select_ready(
    experiments: Sequence[Experiment],
    config: ExperimentConfig,
) -> tuple[list[Experiment], dict[str, str]]:
    """Return the experiments that can run here, and why each other one cannot."""
    root = resolve_data_root(config.data_root)
    ready, skipped = [], {}
    for experiment in experiments:
        try:
            check_experiment(experiment, root)
        except FerError as error:
            skipped[experiment.name] = str(error)
        else:
            ready.append(experiment)
    return ready, skipped


def _print_skipped(skipped: Mapping[str, str]) -> None:
    # Most experiments lack the same set, which need not be said for each.
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, other in skipped.items() if other == reason]
        print(f"skipped {', '.join(names)}: {reason}")
