"""Write a model's card in the order that Mitchell et al. (2019), Model Cards for Model Reporting, propose."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fer.attribution.artifact import PAGE, attribution_page, summary
from fer.attribution.credits import Credit
from fer.attribution.plain_text import one_line
from fer.data.datasets.registry import DATASETS
from fer.evaluation.metrics import Interval
from fer.evaluation.report import Report, percent, percent_interval, prior_note
from fer.expressions import EXPRESSIONS
from fer.models.backbones import ModelSpec
from fer.utils.rendering import markdown_table, render

README, LICENCE = "README.md", "LICENSE.md"
"""Files of a card; hubs look for these names."""
FIGURES = "Figures"
"""Heading of the section that begins with the table of all data sets."""
INPUT = {
    "detect": "a face, cut out upright by its eyes",
    "none": "a whole picture, stretched to a square",
}
"""What the network sees, by `ModelSpec.framing`."""
SETS_HEAD = [
    "data set",
    "images",
    "accuracy, % [95 %]",
    "class mean, % [95 %]",
    "macro F1, % [95 %]",
    "ECE, %",
    "NLL",
]
EXPRESSIONS_HEAD = ["expression", "images", "accuracy, % [95 %]", "most often taken for"]
WIDE = 0.03
"""Half an interval's width from which the card warns of it."""


@dataclass(frozen=True)
class Origin:
    """How a model was made.

    Attributes:
        name: The registered model; empty for one that is not registered.
        model_id: The logged model; the one address that names it and no other, whatever becomes the champion.
        spec: Its specification.
        weights: How many weights it has.
        init: Initial weights.
        chosen: How its epoch was chosen, and its score by that.
        run_id: The MLflow run.
        code: The commit, and whether files differed from it.
        day: When it was made, as YYYY-MM-DD.
    """

    name: str
    model_id: str
    spec: ModelSpec
    weights: int
    init: str
    chosen: str
    run_id: str
    code: str
    day: str


def card_files(
    origin: Origin,
    parts: Mapping[str, str],
    reports: Mapping[str, Report],
    credits: Sequence[Credit],
) -> dict[str, str]:
    """Return the files of a model's card by name.

    Args:
        origin: How the model was made.
        parts: The data sets it was tested on, each with the part that was tested: `test` or `whole`.
        reports: Its figures by data set, and below each those of its parts, such as `kdef/frontal`.
        credits: Of the Wikimedia pictures it was tested on.
    """
    files = {
        README: _card(origin, parts, reports, credits),
        LICENCE: render("model_licence.md", terms=terms(origin.spec)),
    }
    if credits:
        files[PAGE] = attribution_page(credits)
    return files


def _card(
    origin: Origin,
    parts: Mapping[str, str],
    reports: Mapping[str, Report],
    credits: Sequence[Credit],
) -> str:
    """Write the card as Markdown.

    Its head of YAML has the keys of https://huggingface.co/docs/hub/model-cards; terms that are no licence known there
    are `other` with a file, and figures lie in [0, 1].
    """
    spec = origin.spec
    # Parts such as `kdef/frontal` are rows of the table, and no data sets of their own.
    tests = {name: reports[name] for name in parts}
    return render(
        "model_card.md",
        name=origin.name or origin.model_id,
        origin=origin,
        spec=spec,
        tests=tests,
        licence_file=LICENCE,
        attribution_file=PAGE,
        input=INPUT[spec.framing],
        figures_heading=FIGURES,
        parts=parts,
        reports=reports,
        prior_note=prior_note,
        sets_table=sets_table,
        expressions_table=expressions_table,
        dataset_title=dataset_title,
        limits=limits(spec, tests),
        # The name of a registered model may stand for another version tomorrow.
        address=f"models:/{origin.model_id}",
        credits=summary(credits) if credits else "",
        terms=terms(spec),
        code=_code,
        # JSON's strings are YAML's; a bare `no`, `1e-3` or `12:30` would mean something else there.
        quoted=lambda text: json.dumps(text, ensure_ascii=False),
    )


def sets_table(reports: Mapping[str, Report]) -> str:
    """Return the figures of all reports as a table in Markdown, a row each."""
    rows = [SETS_HEAD]
    for name, report in reports.items():
        figures = [
            _with_interval(report.accuracy, report.accuracy_interval),
            _with_interval(report.class_mean, report.class_mean_interval),
            _with_interval(report.macro_f1, report.macro_f1_interval),
        ]
        rows.append([name, f"{report.count:,}", *figures, percent(report.ece), f"{report.nll:.3f}"])
    return markdown_table(rows)


def expressions_table(report: Report) -> str:
    """Return a report by expression as a table in Markdown."""
    rows = [EXPRESSIONS_HEAD]
    for name in EXPRESSIONS:
        confused = most_confused(report, name) or "-"
        rows.append([name, f"{report.support[name]:,}", _recall(report, name), confused])
    return markdown_table(rows)


def dataset_title(name: str) -> str:
    """Return a data set's title with its name in options and metrics."""
    return f"{DATASETS[name].title} (`{name}`)" if name in DATASETS else f"`{name}`"


def limits(spec: ModelSpec, reports: Mapping[str, Report]) -> list[str]:
    """Return a model's limits, a sentence or two each; those of its own figures first.

    Args:
        spec: The model's.
        reports: Its figures by data set.
    """
    own = []
    # Such models come out of trying the program, and are easily taken for more.
    if spec.trained_on and all(name in DATASETS and DATASETS[name].drawn for name in spec.trained_on):
        own.append("It saw only faces drawn by a program: nothing is known of its worth on photographs of people.")
    for name, report in reports.items():
        own += _limits_on(f"`{name}`", report)
    return own + render("model_limits.txt").splitlines()


def _limits_on(dataset: str, report: Report) -> list[str]:
    """Return what a model's figures on a set say against it, or against the set."""
    sentences = []
    low, high = report.accuracy_interval
    # On tens of pictures chance moves accuracies by more than models differ.
    if (high - low) / 2 >= WIDE:
        sentences.append(
            f"The {report.count:,} pictures of {dataset} carry about ±{50 * (high - low):.0f} points: an accuracy of "
            f"{percent(report.accuracy)} % there may as well be {percent(low)} or {percent(high)} %."
        )
    weak = "; ".join(_weakness(report, name) for name in _weak_expressions(report))
    if weak:
        sentences.append(f"Known weak on {dataset}: {weak}.")
    # Silence would be taken for a good figure.
    absent = ", ".join(name for name in EXPRESSIONS if not report.support[name])
    if absent:
        sentences.append(f"There are no pictures of {absent} in {dataset}, so nothing is known of these there.")
    return sentences


def _weak_expressions(report: Report) -> list[str]:
    """Return the expressions that are surely recognised less well than the mean of all, or less than half the time.

    Surely: the whole 95 % interval lies below.
    """
    # Below one half the wrong prediction is the usual one, however weak the other classes are.
    limit = max(report.class_mean, 0.5)
    intervals = report.recall_interval.items()
    return [name for name, interval in intervals if interval and interval[1] < limit]


def _weakness(report: Report, expression: str) -> str:
    confused = most_confused(report, expression)
    mistake = f", most often taken for {confused}" if confused else ""
    return f"{expression} {_recall(report, expression)} %{mistake}"


def most_confused(report: Report, expression: str) -> str:
    """Return the wrong prediction that pictures of an expression get most often, or nothing if they get none."""
    counts = report.confusion[EXPRESSIONS.index(expression)].tolist()
    wrong = dict(zip(EXPRESSIONS, counts, strict=True))
    del wrong[expression]
    prediction = max(wrong, key=wrong.__getitem__)
    return prediction if wrong[prediction] else ""


def _recall(report: Report, expression: str) -> str:
    return _with_interval(report.recall[expression], report.recall_interval[expression])


def _with_interval(value: float | None, interval: Interval | None) -> str:
    """Return a figure with its interval in per cent, such as `42.9 [32.8, 53.5]`; `-` where there is none."""
    # A class without images has no accuracy, which is not an accuracy of 0.
    return f"{percent(value)} {percent_interval(interval)}" if interval else "-"


def headline(card: str) -> str:
    """Return the table of all data sets from a card, or nothing where it has none."""
    return card.partition(f"\n## {FIGURES}\n\n")[2].partition("\n\n")[0]


def terms(spec: ModelSpec) -> str:
    """Return what initial weights and training sets ask for, a line each."""
    if not spec.terms:
        return "None: neither its starting weights nor its training sets are known to ask for anything."
    # Addresses in terms stay links; tags do not stay tags.
    return "\n".join("- " + one_line(term).replace("<", "&lt;") for term in spec.terms)


def _code(text: str) -> str:
    """Return a text as code in a Markdown table, which neither a quote nor a bar within it may end."""
    return f"`{one_line(text).replace('`', '').replace('|', '/')}`"
