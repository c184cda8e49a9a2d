"""`experiment`: run what a file of `experiments/` says, stage by stage, once or with several seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fer.commands.experiment_needs import check, prepare
from fer.commands.stages import Stage, Stages, configuration
from fer.config import ExperimentConfig
from fer.data.places import data_root
from fer.errors import ConfigError, FerError
from fer.experiments import ALL, Experiment, experiment_names, read_experiment
from fer.options import default_of
from fer.reported import reported
from fer.spread import spread_metrics, spread_table, spreads
from fer.tracking.environment import code_version
from fer.tracking.runs import TrackedRun, tracked

MACHINE = ("data_root", "output", "device")
"""Options of `experiment` that hold for all its stages."""


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
    root = data_root(config.data_root)
    if config.name == ALL:
        return _run_all(config, root)
    experiment = _here(read_experiment(config.name), config)
    if config.seeds > 1 and not experiment.finetune:
        raise ConfigError(f"seeds repeats finetune, which {experiment.name} has not: leave seeds out")
    check(experiment, root)
    result, where = _tracked_experiment(experiment, config, root)
    print(where)
    return result


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
            seeds = config.seeds if experiment.finetune else 1
            try:
                result, _ = _tracked_experiment(experiment, replace(config, name=experiment.name, seeds=seeds), root)
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
    """Return the experiment with the folders and the device given on this machine."""
    given = {key: value for key in MACHINE if (value := getattr(config, key)) != _default(config, key)}
    stages = {
        stage: replace(own, **{key: value for key, value in given.items() if hasattr(own, key)})
        for stage, own in experiment.stages.items()
    }
    return replace(experiment, **stages)


def _default(config: ExperimentConfig, key: str) -> Any:
    return default_of(next(item for item in fields(config) if item.name == key))


def _tracked_experiment(experiment: Experiment, config: ExperimentConfig, root: Path) -> tuple[ExperimentResult, str]:
    """Return what one experiment gave, and where to look at it."""
    code = code_version()
    if code.doubt and config.reuse:
        print(f"nothing is reused: {code.doubt}")
    told = reported().get(experiment.name)
    with tracked("experiment", config, experiment.name, {"data_root_used": root}) as run:
        prepare(experiment, root)
        stages = Stages(root, code, config.reuse)
        tags = {"fer.experiment": experiment.name}
        # A file elsewhere may bear a row's name and say something else.
        tags |= {"fer.reproduces": told.name} if told and not config.name.endswith(".yaml") else {}
        figures = _all_stages(experiment, stages, config.seeds, tags)
        table = _log(run, stages.done, figures, told.figures if told else {})
    trained = [stage.run_id for stage in stages.done if stage.command == "finetune"]
    if table:
        print(f"\n{experiment.name}: accuracy in per cent\n\n{table}\n")
    return ExperimentResult(run.id, tuple(stages.done), table, {}), run.where(trained)


def _all_stages(
    experiment: Experiment, stages: Stages, seeds: int, tags: dict[str, str]
) -> list[dict[str, float]]:  # fmt: skip
    """Do the stages and return every seed's test figures; the pre-training is shared by the seeds."""
    finetune = experiment.finetune
    # `compare` takes runs of one configuration that differ in their seed for repetitions.
    tags = tags | ({"fer.configuration": configuration(experiment, finetune)} if finetune else {})
    if experiment.pretrain:
        encoder = stages.pretrain(experiment.pretrain)
        finetune = replace(finetune, init=f"runs:/{encoder}") if finetune else None
    if not finetune:
        return []
    figures = []
    for seed in range(finetune.seed, finetune.seed + seeds):
        seeded = replace(finetune, seed=seed)
        figures.append(stages.figures(stages.finetune(seeded, tags), experiment.evaluate, seeded))
    return figures


def _log(run: TrackedRun, done: Sequence[Stage], figures: list[dict[str, float]], told: Any) -> str:
    """Log what was done and what came out, and return the table."""
    run.json([asdict(stage) for stage in done], "stages.json")
    reused = [stage.run_id for stage in done if stage.how == "reused"]
    run.tags({"fer.reused": " ".join(reused) or "none"})
    found = spreads(figures) if figures else {}
    if not found:
        return ""
    run.metrics(spread_metrics(found))
    table = spread_table(found, len(figures), told)
    run.text(table + "\n", "table.txt")
    return table
