"""`compare`: which of several runs is better, as far as their stored answers can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer.comparison.comparing import Comparison, compare
from fer.comparison.configurations import RunFigures
from fer.comparison.figures import figures, svg
from fer.comparison.page import page
from fer.comparison.render import markdown, table_csv, terminal, verdicts_csv
from fer.config.commands import CompareConfig
from fer.data.datasets.registry import DATASETS, resolve_datasets
from fer.errors import ConfigError, DataError, quoted_path
from fer.experiments.reported import reported
from fer.tracking.reading import Runs, Tested
from fer.tracking.runs import tracked

FOLDER, FIGURES = "comparison", "figures"
"""Place of the report among the run's artifacts, and of the figures within it."""


@dataclass(frozen=True)
class CompareResult:
    """What `compare` made.

    Attributes:
        run_id: The run that holds the report.
        comparison: What came out.
    """

    run_id: str
    comparison: Comparison


def run(config: CompareConfig) -> CompareResult:
    """Compare the runs a configuration names and report it in one tracked run, in the terminal and in a folder.

    Raises:
        ConfigError: A run, experiment or baseline is unknown, or there are too few or too many of them.
        DataError: The runs share no test set, or one has no stored answers.
    """
    sets = {item.name: item for item in (resolve_datasets(config.dataset) if config.dataset else DATASETS.values())}
    runs = Runs(sets)
    chosen = _chosen(config, runs)
    read = [runs.read(tested) for tested in chosen]
    _check_answers(read, list(sets))
    told = reported() if any(one.reproduces for one in read) else {}
    figures_told = {
        name: {place: found.scalars() for place, found in row.figures.items()} for name, row in told.items()
    }
    parts = {name: (item.title, tuple(dict.fromkeys(item.angle_groups.values()))) for name, item in sets.items()}
    found = compare(read, parts, figures_told, config.baseline)
    folder = _folder(config.output) if config.output else None
    files = report_files(found)
    with tracked("compare", config, f"compare {len(read)} runs") as tracked_run:
        for place, content in files.items():
            tracked_run.text(content, f"{FOLDER}/{place}")
            if folder:
                (folder / place).write_text(content, encoding="utf-8")
    written = f"\nwritten to {config.output}" if config.output else ""
    beside = runs.page(chosen)
    where = f"{tracked_run.where()}\n{beside}".rstrip()
    print(f"\n{terminal(found)}\n\nreport: {FOLDER}/report.html of run {tracked_run.id}{written}\n{where}")
    return CompareResult(tracked_run.id, found)


def report_files(found: Comparison) -> dict[str, str]:
    """Return the report's files by place: HTML, Markdown, CSV and the figures."""
    drawn = {name: svg(figure) for name, figure in figures(found).items()}
    pictures = {f"{FIGURES}/{name}.svg": content for name, content in drawn.items()}
    return {
        "report.html": page(found, drawn),
        "report.md": markdown(found, list(pictures)),
        "table.csv": table_csv(found),
        "tests.csv": verdicts_csv(found),
        **pictures,
    }


def _chosen(config: CompareConfig, runs: Runs) -> list[Tested]:
    """Return the runs a configuration names, each once."""
    found = [tested for word in _words(config.runs) for tested in runs.named(word)]
    found += [tested for word in _words(config.experiment) for tested in runs.of_experiment(word)]
    found += runs.matching(config.filter) if config.filter else []
    if not found:
        raise ConfigError(
            "say what to compare: runs=<id>,<id> (ids, their beginnings or names), experiment=<name> or "
            "filter=<MLflow search filter>"
        )
    return list({tested[0].info.run_id: tested for tested in reversed(found)}.values())[::-1]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _check_answers(runs: Sequence[RunFigures], sets: Sequence[str]) -> None:
    for run in runs:
        if not run.reported and not run.answers:
            raise DataError(
                f"run {run.shown} has no stored answers (evaluation/<set>/predictions.csv) on {', '.join(sets)}, so it "
                f"cannot be tested: run evaluate with model=runs:/{run.id} and compare that run"
            )


def _folder(output: str) -> Path:
    """Return the folder for the report, made if need be, before the work of drawing it."""
    folder = Path(output).expanduser()
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output {quoted_path(output)} cannot be written: {error.strerror or error}") from None
    return folder
