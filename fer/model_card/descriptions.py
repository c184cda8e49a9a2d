"""Write what MLflow's pages show of a run or a model at first sight, as Markdown."""

from collections.abc import Mapping, Sequence

from fer.data.datasets.registry import DATASETS
from fer.evaluation.report import Report, percent
from fer.expressions import EXPRESSIONS
from fer.model_card.card import INPUT, README, Origin
from fer.utils.rendering import escape_markdown, markdown_table, render

HEAD = ("images", "accuracy", "class mean", *EXPRESSIONS)
"""Headings of a table of accuracies, after those that name its rows."""


def accuracy_cells(report: Report) -> list[str]:
    """Return a report's cells below `HEAD`, in per cent."""
    recall = [percent(report.recall[name]) for name in EXPRESSIONS]
    return [f"{report.count:,}", percent(report.accuracy), percent(report.class_mean), *recall]


def accuracy_rows(reports: Mapping[str, Report]) -> list[list[str]]:
    """Return headings and a row for each data set; nothing without any."""
    rows = [[name, *accuracy_cells(report)] for name, report in reports.items()]
    return [["data set", *HEAD], *rows] if rows else []


def run_description(
    lead: str,
    rows: Sequence[Sequence[str]] = (),
    warnings: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Describe a run.

    Args:
        lead: What it was, in Markdown.
        rows: A table of accuracies with its headings, of plain texts.
        warnings: What makes its figures doubtful, as plain texts by data set.
        notes: What else is to be known, in Markdown.
    """
    return render(
        "run_description.md",
        lead=lead,
        rows=rows,
        table=_table,
        warnings=_warnings(warnings or {}),
        notes=notes,
    )


def model_description(
    origin: Origin,
    reports: Mapping[str, Report],
    warnings: Mapping[str, str],
    card_link: str,
    run_link: str,
) -> str:
    """Describe a logged model by the essence of its card.

    Args:
        origin: How it was made.
        reports: Its figures by data set.
        warnings: What makes them doubtful, by data set.
        card_link: Leads to the whole card.
        run_link: Leads to the run that made it.
    """
    spec = origin.spec
    return render(
        "model_description.md",
        origin=origin,
        spec=spec,
        trained_on=", ".join(map(escape_markdown, spec.trained_on)),
        input=INPUT[spec.framing],
        drawn=spec.trained_on and all(name in DATASETS and DATASETS[name].drawn for name in spec.trained_on),
        rows=accuracy_rows(reports),
        table=_table,
        warnings=_warnings(warnings),
        escaped=escape_markdown,
        card_file=README,
        card_link=card_link,
        run_link=run_link,
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    return markdown_table([[escape_markdown(cell) for cell in row] for row in rows])


def _warnings(by_dataset: Mapping[str, str]) -> list[str]:
    return [f"{escape_markdown(name)}: {escape_markdown(message)}" for name, message in by_dataset.items()]
