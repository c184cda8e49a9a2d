"""What a model card warns of: what the model's own figures say, and what holds for every such model."""

from collections.abc import Mapping

from fer.data.datasets.registry import DATASETS
from fer.evaluation.report import Report
from fer.model_card.tables import SetFigures, share, taken_for
from fer.models.backbones import ModelSpec

WIDE = 0.03
"""Half an interval's width from which the card warns of it."""

PURPOSE = """\
Research on facial-expression recognition: as a baseline, a start for further training, or to see how such models err.
It answers with the expression that raters would most likely name for a picture of a face, and with a probability
for each."""

GENERAL = (
    "Training and test pictures mostly show posed or acted expressions that were chosen because they are clear. "
    "Everyday faces are subtler; expect less there.",
    "The seven labels are what raters agreed to call a picture. They are not feelings: this is no diagnosis of "
    "feelings, health or character, and no evidence of intent.",
    "Not for decisions about people, such as hiring, schooling, insurance, policing or border control, nor for "
    "watching them. In the European Union inferring emotions at work and in education is prohibited but for medical "
    "and safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f)).",
    "Accuracy by age, sex and skin colour was not measured.",
)
"""Limits of every model of this kind."""


def limits(spec: ModelSpec, tests: Mapping[str, SetFigures]) -> list[str]:
    """Return a model's limits, a sentence or two each; those of its own figures first.

    Args:
        spec: The model's.
        tests: Its figures by the sets' names.
    """
    own = []
    if spec.trained_on and all(name in DATASETS and DATASETS[name].drawn for name in spec.trained_on):
        own.append("It saw only faces drawn by a program: nothing is known of its worth on photographs of people.")
    for name, tested in tests.items():
        own += _limits_on(f"`{name}`", tested)
    return [*own, *GENERAL]


def _limits_on(named: str, tested: SetFigures) -> list[str]:
    report, said = tested.report, []
    low, high = report.accuracy_interval
    if (high - low) / 2 >= WIDE:
        said.append(
            f"The {report.count:,} pictures of {named} carry about ±{50 * (high - low):.0f} points: an accuracy of "
            f"{100 * report.accuracy:.1f} % there may as well be {100 * low:.1f} or {100 * high:.1f} %."
        )
    if found := weak(report):
        said.append(f"Known weak on {named}: {'; '.join(_weakness(report, name) for name in found)}.")
    if absent := [name for name in report.expressions if not report.support[name]]:
        said.append(f"There are no pictures of {', '.join(absent)} in {named}, so nothing is known of these there.")
    return said


def weak(report: Report) -> list[str]:
    """Return the expressions that are surely recognised less well than the mean of all, or less than half the time.

    Surely: the whole 95 % interval lies below.
    """
    least = max(report.mean_class_accuracy, 0.5)
    return [name for name, known in report.recall_interval.items() if known and known[1] < least]


def _weakness(report: Report, expression: str) -> str:
    shown = f"{expression} {share(report.recall[expression], report.recall_interval[expression])} %"
    answer = taken_for(report, expression)
    return f"{shown}, most often taken for {answer}" if answer else shown
