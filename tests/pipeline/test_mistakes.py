import numpy as np
import pytest

from fer.data.datasets.raf import RAF
from fer.data.manifest import ImageRow, Manifest
from fer.evaluation.datasets import Evaluation
from fer.evaluation.report import report
from fer.expressions import EXPRESSIONS
from fer.pipeline.shown_sets import most_confident_mistakes
from tests.predictions import draw


def evaluation_of(labels, probabilities):
    rows = tuple(
        ImageRow(f"{number:03}.png", EXPRESSIONS[label], "test", "", "", "", "", 0, 9, 9, "", "")
        for number, label in enumerate(labels)
    )
    return Evaluation(RAF, "test", Manifest("raf", rows), probabilities, report(labels, probabilities), {})


@pytest.mark.parametrize("seed", range(4))
def test_the_wrong_predictions_of_the_highest_probability_come_first(seed):
    labels, probabilities = draw(seed, 200)
    expected = []
    for number, (label, row) in enumerate(zip(labels, probabilities.tolist(), strict=True)):
        predicted = row.index(max(row))
        if predicted != label:
            expected.append((-max(row), f"{number:03}.png", EXPRESSIONS[label], EXPRESSIONS[predicted]))
    expected.sort()
    mistakes = most_confident_mistakes(evaluation_of(labels, probabilities), 12)
    found = [(-item.probability, item.image.path, item.image.expression, item.predicted) for item in mistakes]
    assert found == expected[:12]


def test_equal_probabilities_keep_the_manifests_order_and_fewer_mistakes_are_all():
    labels = np.array([0, 1, 2, 3])
    probabilities = np.full((4, 7), 0.5 / 6)
    probabilities[[0, 1, 2, 3], [1, 1, 1, 1]] = 0.5
    mistakes = most_confident_mistakes(evaluation_of(labels, probabilities), 12)
    assert [item.image.path for item in mistakes] == ["000.png", "002.png", "003.png"]


def test_without_mistakes_there_is_none():
    probabilities = np.eye(7)
    assert most_confident_mistakes(evaluation_of(np.arange(7), probabilities), 12) == []
