import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fer.comparison.seeds import mean_interval, seeds_test


def drawn(seed, runs=(3, 3), images=60, better=0.0):
    """Whether runs are right, with difficulties of the images and qualities of the seeds."""
    generator = np.random.default_rng(seed)
    hard, labels = generator.normal(size=images), generator.integers(0, 4, images)
    sides = [
        (hard + gain + 0.3 * generator.normal(size=(count, 1)) + generator.normal(size=(count, images)) > 0).astype(
            float
        )
        for count, gain in zip(runs, (better, 0.0), strict=True)
    ]
    return sides[0], sides[1], labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("better", [0.0, 0.8])
def test_accuracy_is_tested_by_clarks_min_f_of_scipys_two_t_tests(seed, better):
    first, second, labels = drawn(seed, better=better)
    found = seeds_test(first, second, np.zeros_like(labels))
    by_seeds = stats.ttest_ind(first.mean(axis=1), second.mean(axis=1)).statistic ** 2
    by_images = stats.ttest_rel(first.mean(axis=0), second.mean(axis=0)).statistic ** 2
    freedom = (by_seeds + by_images) ** 2 / (by_seeds**2 / (len(labels) - 1) + by_images**2 / 4)
    value = by_seeds * by_images / (by_seeds + by_images)
    assert found.estimate == pytest.approx(first.mean() - second.mean())
    assert found.p == pytest.approx(stats.f.sf(value, 1, freedom))
    reach = stats.t.ppf(0.975, freedom) * abs(found.estimate) / value**0.5
    assert (found.low, found.high) == pytest.approx((found.estimate - reach, found.estimate + reach))


def brute_force(first, second, labels, clusters):
    """The mean of classes, its variance over images or persons, and that over seeds, by loops."""
    classes = sorted(set(labels.tolist()))
    gain = first.mean(axis=0) - second.mean(axis=0)
    means = {c: np.mean([g for g, label in zip(gain, labels, strict=True) if label == c]) for c in classes}
    if clusters is None:
        parts = [gain[labels == c] for c in classes]
        images = sum(part.var(ddof=1) / len(part) for part in parts if len(part) > 1) / len(classes) ** 2
        freedom = sum(len(part) - 1 for part in parts)
    else:
        sums = {}
        for g, c, who in zip(gain, labels, clusters, strict=True):
            sums[who] = sums.get(who, 0) + (g - means[c]) / (len(classes) * (labels == c).sum())
        images = len(sums) / (len(sums) - 1) * sum(value**2 for value in sums.values())
        freedom = len(sums) - 1
    sides = [[np.mean([run[labels == c].mean() for c in classes]) for run in side] for side in (first, second)]
    squares = sum(np.sum((np.array(side) - np.mean(side)) ** 2) for side in sides)
    count = len(first) + len(second) - 2
    seeds = squares / count * (1 / len(first) + 1 / len(second))
    return np.mean(list(means.values())), images, freedom, seeds, count


@pytest.mark.parametrize("runs", [(3, 3), (1, 3), (4, 2)])
@pytest.mark.parametrize("persons", [None, 12])
def test_mean_class_accuracy_adds_variance_over_images_or_persons_and_seeds(runs, persons):
    first, second, labels = drawn(3, runs, better=0.4)
    clusters = [f"P{n % persons}" for n in range(len(labels))] if persons else None
    found = seeds_test(first, second, labels, clusters)
    estimate, images, freedom_images, seeds, freedom_seeds = brute_force(first, second, labels, clusters)
    freedom = (images + seeds) ** 2 / (images**2 / freedom_images + seeds**2 / freedom_seeds)
    assert found.estimate == pytest.approx(estimate)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(estimate) / (images + seeds) ** 0.5, freedom))
    reach = sum(stats.t.ppf(share, freedom) for share in (0.975, 0.8))
    assert found.smallest == pytest.approx(reach * (images + seeds) ** 0.5)


def test_equal_configurations_are_seldom_told_apart_where_a_test_over_images_alone_often_errs():
    cases = [drawn(1000 + n, images=200) for n in range(300)]
    ours = [seeds_test(a, b, np.zeros_like(labels)).p < 0.05 for a, b, labels in cases]
    naive = [stats.ttest_rel(a.mean(axis=0), b.mean(axis=0)).pvalue < 0.05 for a, b, _ in cases]
    assert np.mean(ours) <= 0.08
    assert np.mean(naive) > 0.3


def test_a_true_difference_shows():
    assert all(seeds_test(*drawn(n, images=400, better=1.5)).p < 0.05 for n in range(20))


def test_nothing_is_known_from_one_image_or_one_person():
    right, wrong = np.ones((3, 1)), np.zeros((3, 1))
    found = seeds_test(right, wrong, np.zeros(1, dtype=int))
    assert (found.estimate, found.low, found.high, found.p, found.smallest) == (1, -1, 1, 1, math.inf)
    found = seeds_test(np.ones((3, 5)), np.zeros((3, 5)), np.zeros(5, dtype=int), ["F01"] * 5)
    assert (found.p, found.smallest) == (1, math.inf)


def test_equal_answers_differ_by_nothing_and_agreement_of_few_images_proves_little():
    answers = np.tile([1.0, 0, 1], (3, 1))
    same = seeds_test(answers, answers, np.zeros(3, dtype=int))
    assert (same.estimate, same.p, same.smallest) == (0, 1, None)
    # Three images all one way: a coin does that once in four times.
    assert seeds_test(np.ones((3, 3)), np.zeros((3, 3)), np.zeros(3, dtype=int)).p == 0.25


def test_a_class_of_one_image_counts_in_the_mean_and_not_in_the_variance():
    labels = np.array([0] * 20 + [1])
    first, second, _ = drawn(5, images=21)
    estimate, images, freedom, *_ = brute_force(first, second, labels, None)
    assert (freedom, images) == (
        19,
        pytest.approx((first.mean(axis=0) - second.mean(axis=0))[:20].var(ddof=1) / 20 / 4),
    )
    assert seeds_test(first, second, labels).estimate == pytest.approx(estimate)


def test_two_single_runs_are_not_its_business():
    with pytest.raises(ValueError, match="three runs or more"):
        seeds_test(np.ones((1, 3)), np.ones((1, 3)), np.zeros(3, dtype=int))


def test_seeds_that_agree_leave_wilsons_interval():
    right = np.tile((np.arange(2000) % 10 < 7).astype(float), (3, 1))
    expected = proportion_confint(1400, 2000, method="wilson")
    assert mean_interval(right, np.zeros(2000, dtype=int)) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_interval_stays_in_its_bounds_and_is_not_empty_where_all_answers_agree(value):
    low, high = mean_interval(np.full((3, 12), value), np.zeros(12, dtype=int))
    assert 0 <= low < high <= 1
    assert value in (low, high)


def test_the_interval_of_a_mean_over_seeds_covers_the_truth_for_new_seeds_and_images():
    truth = float(np.mean([drawn(n, (1, 1), images=4000)[0].mean() for n in range(200)]))
    intervals = [mean_interval(side, np.zeros(150, dtype=int)) for n in range(200) for side in drawn(n, images=150)[:2]]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.94


def test_the_interval_of_the_mean_of_classes_is_students():
    first, _, labels = drawn(8)
    _, images, freedom_images, _, _ = brute_force(first, np.zeros((1, len(labels))), labels, None)
    values = [np.mean([run[labels == c].mean() for c in range(4)]) for run in first]
    seeds = np.var(values, ddof=1) / 3
    freedom = (images + seeds) ** 2 / (images**2 / freedom_images + seeds**2 / 2)
    reach = stats.t.ppf(0.975, freedom) * (images + seeds) ** 0.5
    assert mean_interval(first, labels) == pytest.approx((np.mean(values) - reach, np.mean(values) + reach))


def test_one_image_or_person_has_no_interval():
    assert mean_interval(np.ones((2, 1)), np.zeros(1, dtype=int)) is None
    assert mean_interval(np.ones((2, 4)), np.zeros(4, dtype=int), ["F01"] * 4) is None
