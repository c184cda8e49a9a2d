"""`import-reported`: the figures of 2021 as runs, so that MLflow's own pages show them beside ours."""

from fer.config.commands import ImportReportedConfig
from fer.experiments.reported import Row, reported
from fer.tracking.names import PROTOCOL, REPRODUCES
from fer.tracking.runs import ExternalRun, LoggedExternalRuns, log_external_runs

SOURCE = "the 2021 project's notes and results table (trougnouf/TRAIL2021-challenge5)"


def run(config: ImportReportedConfig) -> LoggedExternalRuns:
    """Record every reported row that is not recorded yet.

    Raises:
        ConfigError: The file of the reported figures is not there or not in order.
        FerError: The MLflow store does not answer.
    """
    done = log_external_runs([_external_run(row) for row in reported().values()])
    told = f"recorded {len(done.made)} reported runs in experiment {done.experiment!r}" if done.made else "nothing new"
    print(f"{told}; {len(done.present)} stood there already\n{done.where}")
    return done


def _external_run(row: Row) -> ExternalRun:
    metrics = {
        f"{dataset}/{key}": value
        for dataset, figures in row.figures.items()
        for key, value in figures.scalars().items()
    }
    for figures in row.figures.values():
        times = {"minutes_to_best": figures.minutes, "minutes": figures.of_minutes}
        metrics |= {key: value for key, value in times.items() if value is not None}
    tags = {
        REPRODUCES: row.name,
        PROTOCOL: str(row.settings["selection"]),
        "mlflow.note.content": f"{row.note}. Reported in {SOURCE}, not measured here.",
    }
    return ExternalRun(row.name, row.settings, metrics, tags)
