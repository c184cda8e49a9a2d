import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as sk

from fer.evaluation import metrics
from tests.predictions import SEEDS, cases, draw


@cases
def test_confusion_matrix_is_scikit_learns(seed, count, absent):
    labels, probabilities = draw(seed, count, absent)
    answers = probabilities.argmax(axis=1)
    ours = metrics.confusion_matrix(labels, answers, 7)
    assert ours.dtype == np.int64
    assert_array_equal(ours, sk.confusion_matrix(labels, answers, labels=range(7)))


@cases
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:.*number of unique classes")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_means_over_classes_are_scikit_learns(seed, count, absent):
    labels, probabilities = draw(seed, count, absent)
    answers = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, answers, 7)
    assert_allclose(metrics.mean_class_accuracy(confusion), sk.balanced_accuracy_score(labels, answers))
    assert_allclose(metrics.macro_f1(confusion), sk.f1_score(labels, answers, average="macro"))


def test_a_class_only_predicted_lowers_f1_but_not_class_accuracy():
    confusion = metrics.confusion_matrix([0, 0, 1, 1], [0, 0, 1, 2], 7)
    assert metrics.mean_class_accuracy(confusion) == pytest.approx((1 + 0.5) / 2)
    assert metrics.macro_f1(confusion) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_statistics_keep_leading_dimensions():
    stack = np.random.default_rng(0).integers(0, 5, size=(4, 3, 7, 7))
    for statistic in (metrics.mean_class_accuracy, metrics.macro_f1):
        single = [[float(statistic(matrix)) for matrix in row] for row in stack]
        assert_allclose(statistic(stack), single)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_the_loops(seed, bins):
    generator = np.random.default_rng(seed)
    # Rounded values put many answers exactly on the edges of ten bins.
    confidence = np.append(generator.uniform(size=80).round(1), [0.0, 0.0, 1.0, 1.0])
    correct = generator.uniform(size=84) < confidence
    total = 0.0
    for index in range(bins):
        low, high = np.linspace(0, 1, bins + 1)[[index, index + 1]]
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (index == 0 and c == 0)]
        if inside:
            total += len(inside) / 84 * abs(np.mean(confidence[inside]) - np.mean(correct[inside]))
    assert metrics.expected_calibration_error(confidence, correct, bins) == pytest.approx(total)
    assert sum(b.count for b in metrics.reliability_bins(confidence, correct, bins)) == 84


def test_reliability_bins_include_their_upper_edge_and_leave_empty_ones_absent():
    first, second = metrics.reliability_bins([0.5, 0.25, 0.0], [True, False, False], bins=2)
    assert (first.low, first.high, first.count, first.accuracy) == (0.0, 0.5, 3, pytest.approx(1 / 3))
    assert (second.count, second.confidence, second.accuracy) == (0, None, None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 84])
def test_proper_scores_are_scikit_learns(seed, count):
    labels, probabilities = draw(seed, count)
    nll = sk.log_loss(labels, probabilities, labels=range(7))
    brier = sk.brier_score_loss(labels, probabilities, labels=range(7), scale_by_half=False)
    assert metrics.negative_log_likelihood(labels, probabilities) == pytest.approx(nll)
    assert metrics.brier_score(labels, probabilities) == pytest.approx(brier)


def test_a_certain_mistake_is_finite_and_as_scikit_learn_has_it():
    labels, probabilities = [0, 1], np.eye(7)[[1, 1]]
    expected = sk.log_loss(labels, probabilities, labels=range(7))
    assert metrics.negative_log_likelihood(labels, probabilities) == pytest.approx(expected)
    assert metrics.brier_score(labels, probabilities) == pytest.approx(1.0)
