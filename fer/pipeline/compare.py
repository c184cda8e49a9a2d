"""Compare runs by their stored predictions and report it in one tracked run."""

from collections.abc import Sequence
from dataclasses import dataclass

from fer.comparison.comparing import Comparison, compare
from fer.comparison.figures import figures, svg
from fer.comparison.report import FIGURES_FOLDER, ReportOrigin, html, markdown, terminal
from fer.comparison.runs import RunFigures
from fer.comparison.table import paired_tests_csv, table_csv
from fer.config.commands import CompareConfig
from fer.data.datasets.registry import DATASETS, resolve_datasets
from fer.errors import ConfigError, DataError
from fer.experiments.files import read_reported
from fer.pipeline.descriptions import describe_compared
from fer.tracking.lifecycle import tracked
from fer.tracking.names import REPORT_PAGE
from fer.tracking.naming import joined_name
from fer.tracking.provenance import code_version
from fer.tracking.reading import Runs, Tested
from fer.utils.rendering import today

FOLDER = "comparison"
"""Folder of the report among the run's artifacts."""
REPORT = f"{FOLDER}/{REPORT_PAGE}"
"""The report as a page."""


@dataclass(frozen=True)
class CompareResult:
    """What `compare` made.

    Attributes:
        run_id: The run that holds the report.
        comparison: What came out.
        text: The report for a terminal.
        where: Lines that tell a person where the report lies.
    """

    run_id: str
    comparison: Comparison
    text: str
    where: str


def compare_runs(config: CompareConfig) -> CompareResult:
    """Compare the runs a configuration names and report it in one tracked run.

    Raises:
        ConfigError: A run, experiment or baseline is unknown, or there are too few or too many of them.
        DataError: The runs share no test set, or one has no stored predictions.
    """
    datasets = resolve_datasets(config.dataset) if config.dataset else list(DATASETS.values())
    names = [dataset.name for dataset in datasets]
    store = Runs(names)
    chosen = _select(config, store)
    runs = [store.read(tested) for tested in chosen]
    _check_predictions(runs, names)
    described = {}
    for dataset in datasets:
        # Several angles belong to one group.
        groups = dict.fromkeys(dataset.angle_groups.values())
        described[dataset.name] = (dataset.title, tuple(groups))
    comparison = compare(runs, described, _reported_figures(runs), config.baseline)
    files = report_files(comparison, ReportOrigin(today(), code_version().description, store.pages(chosen)))
    with tracked("compare", config, _name(config, runs)) as run:
        for path, content in files.items():
            run.text(content, f"{FOLDER}/{path}")
        describe_compared(run, comparison, REPORT)
    where = f"report: {REPORT} of run {run.id}\n{run.where(artifact=REPORT)}"
    return CompareResult(run.id, comparison, terminal(comparison), where)


def _name(config: CompareConfig, runs: Sequence[RunFigures]) -> str:
    """Return the name of the run: how many runs are compared, of which experiments, on which sets."""
    return joined_name("compare", config.experiment, f"{len(runs)} runs", config.dataset)


def report_files(comparison: Comparison, origin: ReportOrigin) -> dict[str, str]:
    """Return the report's files by path: HTML, Markdown, CSV and the figures."""
    svgs = {name: svg(figure) for name, figure in figures(comparison).items()}
    return {
        REPORT_PAGE: html(comparison, svgs, origin),
        "report.md": markdown(comparison, svgs, origin),
        "table.csv": table_csv(comparison.rows),
        "tests.csv": paired_tests_csv(comparison.tests),
        **{f"{FIGURES_FOLDER}/{name}.svg": content for name, content in svgs.items()},
    }


def _select(config: CompareConfig, store: Runs) -> list[Tested]:
    """Return the runs a configuration names, each once."""
    selected: list[Tested] = []
    for name in _split(config.runs):
        selected += store.named(name)
    for name in _split(config.experiment):
        selected += store.of_experiment(name)
    if config.filter:
        selected += store.matching(config.filter)
    if not selected:
        raise ConfigError(
            "say what to compare: runs=<id>,<id> (ids, their beginnings or names), experiment=<name> or "
            "filter=<MLflow search filter>"
        )
    # A run named twice would be compared with itself; the first mention decides its letter.
    unique: dict[str, Tested] = {}
    for tested in selected:
        unique.setdefault(tested[0].info.run_id, tested)
    return list(unique.values())


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _check_predictions(runs: Sequence[RunFigures], datasets: Sequence[str]) -> None:
    for run in runs:
        # Of 2021 only figures are known.
        if not run.reported and not run.predictions:
            names = ", ".join(datasets)
            raise DataError(
                f"run {run.label} has no stored predictions (evaluation/<set>/predictions.csv) on {names}, so it "
                f"cannot be tested: run evaluate with model=runs:/{run.id} and compare that run"
            )


def _reported_figures(
    runs: Sequence[RunFigures],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the 2021 table by row, data set and metric, if any run repeats a row of it."""
    # The table is read only where it can be compared with.
    if not any(run.reproduces for run in runs):
        return {}
    return {
        name: {dataset: figures.scalars() for dataset, figures in row.figures.items()}
        for name, row in read_reported().items()
    }
