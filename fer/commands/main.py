"""`main`: the demo. Draw faces, prepare them, train two configurations, show both beside each other."""

from dataclasses import dataclass, replace

from fer.config.commands import MainConfig
from fer.config.data import PrepareConfig
from fer.config.training import FinetuneConfig
from fer.evaluation.report import reports_table
from fer.experiments.files import read_experiment
from fer.pipeline.descriptions import describe_demo
from fer.pipeline.finalize import FinetuneResult
from fer.pipeline.finetune import finetune_classifier
from fer.pipeline.prepare import prepare_sets
from fer.tracking.lifecycle import tracked
from fer.tracking.names import ACCURACY_VIEW

CONFIGURATIONS = ("drawn-plain", "drawn-augmented")
"""Experiment files the demo compares."""


@dataclass(frozen=True)
class MainResult:
    """What the demo made.

    Attributes:
        run_id: The parent run.
        results: The two trainings by experiment file.
        table: Their test figures.
    """

    run_id: str
    results: dict[str, FinetuneResult]
    table: str


def run(config: MainConfig) -> MainResult:
    """Run the demo in one parent run with a nested run for each stage.

    Raises:
        ConfigError: The experiment files are not there.
    """
    # Read before the run begins: an installed package comes without them.
    plans = {name: _configuration(name, config) for name in CONFIGURATIONS}
    with tracked("main", config, "demo") as run:
        prepare_sets(PrepareConfig(dataset="drawn", data_root=config.data_root, scale=config.scale))
        results = {}
        for name, plan in plans.items():
            results[name] = finetune_classifier(plan, name)
            print(results[name].summary())
        reports = {name: result.reports for name, result in results.items()}
        table = reports_table(reports)
        run.text(table + "\n", "table.txt")
        describe_demo(run, reports, {name: result.run_id for name, result in results.items()})
    where = run.where(ACCURACY_VIEW)
    print(f"\nAccuracy in per cent, by expression, on the three drawn test sets:\n\n{table}\n\n{where}")
    return MainResult(run.id, results, table)


def _configuration(name: str, config: MainConfig) -> FinetuneConfig:
    plan = read_experiment(name).finetune
    assert plan, "the demo's experiments train a classifier"
    return replace(
        plan,
        data_root=config.data_root,
        output=config.output,
        # 0 stands for what the file says.
        epochs=config.epochs or plan.epochs,
    )
