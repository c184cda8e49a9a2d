import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn import metrics as sk

from fer.evaluation.calibration import (
    calibration,
    corrected_prior,
    fit_temperature,
    implied_prior,
    softmax_with_temperature,
)
from tests.predictions import SEEDS, draw


def scores(seed, count=300, sharpness=3.0):
    """Labels and the scores of a mediocre classifier, too sure of itself by the factor `sharpness`."""
    labels, probabilities = draw(seed, count)
    return labels, sharpness * np.log(probabilities)


def nll(logits, labels, temperature):
    return sk.log_loss(labels, softmax(logits / temperature, axis=1), labels=range(7))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_the_temperature_is_where_scipy_finds_the_least_nll(seed, sharpness):
    labels, logits = scores(seed, sharpness=sharpness)
    found = minimize_scalar(
        lambda t: nll(logits, labels, t), bounds=(0.05, 20), method="bounded", options={"xatol": 1e-7}
    )
    assert fit_temperature(logits, labels) == pytest.approx(found.x, rel=1e-3)
    # Scores three times as large want three times the temperature.
    assert fit_temperature(logits, labels) == pytest.approx(sharpness * fit_temperature(logits / sharpness, labels))


def test_calibration_improves_what_it_was_fitted_on_and_leaves_the_answers():
    labels, logits = scores(0, sharpness=4.0)
    before, after = softmax_with_temperature(logits), softmax_with_temperature(logits, fit_temperature(logits, labels))
    assert calibration(labels, after).nll < calibration(labels, before).nll
    assert calibration(labels, after).ece < calibration(labels, before).ece
    assert calibration(labels, after).brier < calibration(labels, before).brier


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 3.0, 20.0])
def test_a_temperature_never_changes_an_answer(temperature):
    logits = np.random.default_rng(0).normal(size=(2000, 7)).astype(np.float32) * 8
    shares = softmax_with_temperature(logits, temperature)
    assert (shares.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert_allclose(shares.sum(axis=1), 1)
    assert_allclose(shares, softmax(logits.astype(np.float64) / temperature, axis=1))


def test_images_that_do_not_tell_a_temperature_leave_it_at_1():
    one_right = np.eye(7)[[3]]
    assert fit_temperature(one_right, [3]) == 1
    assert fit_temperature(5 * np.eye(7), np.arange(7)) == 1
    for level in (0.0, 0.1, 1e6):
        assert fit_temperature(np.full((4, 7), level), [0, 1, 2, 2]) == 1


def test_the_temperature_stays_within_its_bounds():
    one_wrong = np.eye(7)[[3]]
    assert fit_temperature(one_wrong, [2]) == pytest.approx(20)
    assert fit_temperature(1000 * np.eye(7), (np.arange(7) + 1) % 7) == pytest.approx(20)
    weak = 1e-4 * np.eye(7)[[0, 0, 0, 0]]
    assert fit_temperature(weak, [0, 0, 0, 1]) == pytest.approx(0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_corrected_prior_is_bayes_rule_image_by_image(seed):
    generator = np.random.default_rng(seed)
    shares, trained = generator.dirichlet(np.ones(7), 50), generator.dirichlet(np.ones(7))
    expected = []
    for row in shares:
        odds = [p / trained[code] for code, p in enumerate(row)]
        expected.append([value / sum(odds) for value in odds])
    assert_allclose(corrected_prior(shares, trained), expected)


def test_correction_recovers_the_posterior_of_a_world_with_other_class_shares():
    generator = np.random.default_rng(0)
    likelihood = generator.dirichlet(np.ones(30), 7)  # of 30 observations under each of 7 classes
    trained = np.array([1290, 281, 717, 4772, 1982, 705, 2524])
    world = [(likelihood.T * prior) / (likelihood.T * prior).sum(axis=1, keepdims=True) for prior in (trained, 1.0)]
    assert_allclose(corrected_prior(world[0], trained), world[1])
    assert_allclose(corrected_prior(world[1], np.ones(7)), world[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_implied_prior_is_the_mean_probability_where_classes_occur_as_in_training(seed):
    generator = np.random.default_rng(seed)
    shares, labels, trained = generator.dirichlet(np.ones(7), 60), np.arange(60) % 7, generator.dirichlet(np.ones(7))
    expected = np.zeros(7)
    for share, label in zip(shares, labels, strict=True):
        expected += trained[label] * share / (labels == label).sum()
    assert_allclose(implied_prior(shares, labels, trained), expected)


def test_the_implied_prior_of_right_probabilities_is_the_training_prior():
    generator = np.random.default_rng(0)
    likelihood, trained = generator.dirichlet(np.ones(30), 7), generator.dirichlet(np.ones(7))
    posterior = (likelihood.T * trained) / (likelihood.T * trained).sum(axis=1, keepdims=True)
    # Every observation of every class as often as it occurs, which repetition can only come near.
    times = np.rint(likelihood * 100_000).astype(int)
    shares = np.concatenate([posterior.repeat(times[label], axis=0) for label in range(7)])
    labels = np.arange(7).repeat(times.sum(axis=1))
    assert_allclose(implied_prior(shares, labels, trained), trained, atol=1e-4)


def test_the_floor_that_label_smoothing_leaves_does_not_make_a_rare_class_the_answer():
    generator = np.random.default_rng(0)
    likelihood = generator.dirichlet(np.full(60, 0.3), 7)
    trained = np.array([0.13, 0.03, 0.005, 0.28, 0.12, 0.09, 0.345])
    posterior = (likelihood.T * trained) / (likelihood.T * trained).sum(axis=1, keepdims=True)
    seen = np.concatenate([generator.choice(60, 500, p=row) for row in likelihood])
    labels, smoothed = np.arange(7).repeat(500), 0.9 * posterior[seen] + 0.1 / 7
    right, naive, ours = (
        (corrected_prior(shares, prior).argmax(axis=1) == labels).mean()
        for shares, prior in (
            (posterior[seen], trained),
            (smoothed, trained),
            (smoothed, implied_prior(smoothed, labels, trained)),
        )
    )
    assert naive < ours - 0.05
    assert ours > right - 0.05


def test_a_class_that_was_not_held_out_is_taken_to_be_told_rightly_and_an_absent_one_stays_absent():
    trained = np.array([2, 0, 1, 1, 1, 1, 2]) / 8
    assert_allclose(implied_prior(np.full((1, 7), 1 / 7), [0], trained)[1], 0)
    assert_allclose(implied_prior(np.zeros((0, 7)), [], trained), trained)
    assert implied_prior(np.full((1, 7), 1 / 7), [0], trained)[6] == pytest.approx((2 / 8 + 2 / 56) / (1 - 2 / 56))


def test_a_class_absent_from_training_keeps_probability_0():
    trained = np.array([10, 0, 5, 5, 5, 5, 5])
    shares = np.array([[0.1, 0.6, 0.1, 0.05, 0.05, 0.05, 0.05], [0, 1, 0, 0, 0, 0, 0]])
    found = corrected_prior(shares, trained)
    assert (found[:, 1] == 0).all()
    assert_allclose(found.sum(axis=1), 1)
    assert found[0, 2] == pytest.approx(2 * found[0, 0])
    assert_allclose(found[1], [1 / 6, 0, *[1 / 6] * 5])
