"""List a model's limits: those that its own figures show, and those of every such model."""

from collections.abc import Mapping

from fer.data.datasets.registry import DATASETS
from fer.evaluation.report import Report
from fer.model_card.tables import SetFigures, most_confused, percent
from fer.models.backbones import ModelSpec

WIDE = 0.03
"""Half an interval's width from which the card warns of it."""

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
        tests: Its figures by data set.
    """
    own = []
    # Such models come out of trying the program, and are easily taken for more.
    if spec.trained_on and all(name in DATASETS and DATASETS[name].drawn for name in spec.trained_on):
        own.append("It saw only faces drawn by a program: nothing is known of its worth on photographs of people.")
    for name, tested in tests.items():
        own += _limits_on(f"`{name}`", tested.report)
    return [*own, *GENERAL]


def _limits_on(dataset: str, report: Report) -> list[str]:
    sentences = []
    low, high = report.accuracy_interval
    # On tens of pictures chance moves accuracies by more than models differ.
    if (high - low) / 2 >= WIDE:
        sentences.append(
            f"The {report.count:,} pictures of {dataset} carry about ±{50 * (high - low):.0f} points: an accuracy of "
            f"{100 * report.accuracy:.1f} % there may as well be {100 * low:.1f} or {100 * high:.1f} %."
        )
    weak = "; ".join(_weakness(report, expression) for expression in weak_expressions(report))
    if weak:
        sentences.append(f"Known weak on {dataset}: {weak}.")
    absent = ", ".join(name for name in report.expressions if not report.support[name])
    if absent:
        sentences.append(f"There are no pictures of {absent} in {dataset}, so nothing is known of these there.")
    return sentences


def weak_expressions(report: Report) -> list[str]:
    """Return the expressions that are surely recognised less well than the mean of all, or less than half the time.

    Surely: the whole 95 % interval lies below.
    """
    # Below one half the wrong prediction is the usual one, however weak the other classes are.
    limit = max(report.mean_class_accuracy, 0.5)
    return [name for name, interval in report.recall_interval.items() if interval and interval[1] < limit]


def _weakness(report: Report, expression: str) -> str:
    recall = percent(report.recall[expression], report.recall_interval[expression])
    confused = most_confused(report, expression)
    return f"{expression} {recall} %" + (f", most often taken for {confused}" if confused else "")
