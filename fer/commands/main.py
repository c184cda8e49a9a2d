"""`main`: the demo. Draw faces, prepare them, train two configurations, show both beside each other."""

from dataclasses import dataclass, replace
from pathlib import Path

from fer.config.commands import MainConfig, PrepareConfig
from fer.config.options import build
from fer.config.training import FinetuneConfig
from fer.errors import ConfigError
from fer.evaluation.report import reports_table
from fer.pipeline.finalize import FinetuneResult
from fer.pipeline.finetune import finetune_classifier
from fer.pipeline.prepare import prepare_sets
from fer.tracking.lifecycle import tracked
from fer.utils.paths import resolve_data_root

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
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
    plans = {name: _configuration(name, config) for name in CONFIGURATIONS}
    root = resolve_data_root(config.data_root)
    with tracked("main", config, "demo", {"data_root_used": root}) as run:
        prepare_sets(PrepareConfig(dataset="drawn", data_root=config.data_root, scale=config.scale))
        results = {}
        for name, plan in plans.items():
            results[name] = finetune_classifier(plan, name)
            print(results[name].summary())
        table = reports_table({name: result.reports for name, result in results.items()})
        run.text(table + "\n", "table.txt")
        for name, result in results.items():
            figures = {f"{name}/{key}/accuracy": report.accuracy for key, report in result.reports.items()}
            run.metrics(figures)
    where = run.where([result.run_id for result in results.values()])
    print(f"\nAccuracy in per cent, by expression, on the three drawn test sets:\n\n{table}\n\n{where}")
    return MainResult(run.id, results, table)


def _configuration(name: str, config: MainConfig) -> FinetuneConfig:
    path = EXPERIMENTS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"the demo needs {path}: run it from a clone of the project")
    plan = build(FinetuneConfig, {}, file=str(path))
    # 0 stands for what the file says.
    epochs = config.epochs or plan.epochs
    return replace(plan, data_root=config.data_root, output=config.output, epochs=epochs)
