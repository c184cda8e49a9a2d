"""`import-reported`: log the figures of 2021 as runs, so that MLflow's own pages show them beside ours."""

from fer.config.commands import ImportReportedConfig
from fer.experiments.files import ReportedRow, read_reported
from fer.tracking.external import ExternalRun, LoggedExternalRuns, log_external_runs
from fer.tracking.names import DESCRIPTION, PROTOCOL, REPRODUCES

SOURCE = "the 2021 project's notes and results table (trougnouf/TRAIL2021-challenge5)"


def run(config: ImportReportedConfig) -> LoggedExternalRuns:
    """Log every reported row that is not logged yet or was corrected since.

    Raises:
        ConfigError: The file of the reported figures is not there or not in order.
        FerError: The MLflow store does not answer.
    """
    rows = read_reported().values()
    logged = log_external_runs([_external_run(row) for row in rows])
    summary = "nothing new"
    if logged.made:
        summary = f"recorded {len(logged.made)} reported runs"
    print(f"{summary}; {len(logged.present)} stood there already\n{logged.where}")
    return logged


def _external_run(row: ReportedRow) -> ExternalRun:
    metrics: dict[str, float] = {}
    for dataset, figures in row.figures.items():
        # Under our own names, so that they stand in the same columns.
        scalars = figures.scalars()
        metrics |= {f"{dataset}/{key}": value for key, value in scalars.items()}
        # Times are the training's, whichever set's figures they stand with.
        if figures.minutes is not None:
            metrics["minutes_to_best"] = figures.minutes
        if figures.of_minutes is not None:
            metrics["minutes"] = figures.of_minutes
    tags = {
        REPRODUCES: row.name,
        # 2021 chose its epochs on test: whoever compares has to see it.
        PROTOCOL: str(row.settings["selection"]),
        DESCRIPTION: f"{row.note}. Reported in {SOURCE}, not measured here.",
    }
    return ExternalRun(row.name, row.settings, metrics, tags)
