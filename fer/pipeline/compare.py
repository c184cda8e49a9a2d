"""Compare runs by their stored predictions and report it in one tracked run."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from fer.comparison.comparing import Comparison, compare
from fer.comparison.figures import figures, svg
from fer.comparison.report import FIGURES_FOLDER, ReportOrigin, html, markdown, terminal
from fer.comparison.runs import RunFigures
from fer.comparison.table import paired_tests_csv, table_csv
from fer.config.commands import CompareConfig
from fer.data.datasets.registry import ALIASES, DATASETS, expand_aliases, in_order
from fer.errors import ConfigError, DataError, unknown_name
from fer.evaluation.names import sets_with_figures
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
    wanted = _wanted_sets(config)
    store = Runs(wanted)
    chosen = _select(config, store)
    runs = [store.read(tested) for tested in chosen]
    tested_sets = in_order(chain.from_iterable(sets_with_figures(run.metrics) for run in runs))
    _check_predictions(runs, wanted or tested_sets)
    comparison = compare(runs, _described(wanted or tested_sets), _reported_figures(runs), config.baseline)
    files = report_files(comparison, ReportOrigin(today(), code_version().description, store.pages(chosen)))
    with tracked("compare", config, _name(config, runs)) as run:
        for path, content in files.items():
            run.text(content, f"{FOLDER}/{path}")
        describe_compared(run, comparison, REPORT)
    where = f"report: {REPORT} of run {run.id}\n{run.where(artifact=REPORT)}"
    return CompareResult(run.id, comparison, terminal(comparison), where)


def _wanted_sets(config: CompareConfig) -> list[str]:
    """Return the names of the sets to compare on; none for all that the runs share.

    Raises:
        ConfigError: As `_select`, or a name is neither registered nor that of a set the runs were tested on.
    """
    wanted = expand_aliases(config.dataset) if config.dataset else []
    if not DATASETS.keys() >= set(wanted):
        # Sets of people's own are known by their figures alone: the data need not be on this machine.
        runs = chain.from_iterable(_select(config, Runs()))
        known = in_order([*DATASETS, *sets_with_figures(chain.from_iterable(run.data.metrics for run in runs))])
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise ConfigError(unknown_name("data set", unknown[0], [*known, *ALIASES]))
    return wanted


def _described(sets: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return each set's name in sentences and its groups of camera angles."""
    described = {}
    for name in sets:
        dataset = DATASETS.get(name)
        # Several angles belong to one group.
        groups = dict.fromkeys(dataset.angle_groups.values()) if dataset else ()
        described[name] = (dataset.title if dataset else name, tuple(groups))
    return described


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
