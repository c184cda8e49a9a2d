import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests

from fer.metrics import confusion_matrix, mean_class_accuracy
from fer.resampling import person_interval
from fer.statistics import holm, mcnemar, paired_bootstrap, seeds_summary, smallest_difference


def pair(seed, count=84, classes=7, skill=(0.7, 0.55)):
    """Labels and two classifiers' answers."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, size=count)
    answers = [np.where(generator.uniform(size=count) < s, labels, generator.integers(0, 7, count)) for s in skill]
    return labels, *answers


def difference(labels, first, second):
    scores = [float(mean_class_accuracy(confusion_matrix(labels, answers, 7))) for answers in (first, second)]
    return scores[0] - scores[1]


def by_hand(only_a, only_b, both=3, neither=2):
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (5, 0), (3, 3), (7, 1), (12, 30), (400, 300), (1, 0)])
def test_mcnemar_is_statsmodels_and_scipys(only_a, only_b):
    a, b = by_hand(only_a, only_b)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b, found.exact) == (only_a, only_b, True)
    table = [[3, only_a], [only_b, 2]]
    assert found.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue, rel=1e-9)
    assert found.p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)


def test_mcnemar_without_disagreement_or_images_tells_nothing():
    assert mcnemar(*by_hand(0, 0)).p == 1
    assert mcnemar(np.zeros(0, bool), np.zeros(0, bool)).p == 1
    with pytest.raises(ValueError, match="booleans"):
        mcnemar(np.array([1, 0]), np.array([1, 0]))
    with pytest.raises(ValueError, match="booleans"):
        mcnemar(np.array([True]), np.array([True, False]))


@pytest.mark.parametrize("seed", range(2))
def test_paired_bootstrap_equals_resampling_images_within_classes(seed):
    labels, first, second = pair(seed)
    labels[labels == 2] = 3  # a class that is never true
    found = paired_bootstrap(labels, first, second, draws=20_000, seed=seed)
    assert found.estimate == pytest.approx(difference(labels, first, second))
    generator = np.random.default_rng(100 + seed)
    groups = [np.flatnonzero(labels == code) for code in np.unique(labels)]
    values = []
    for _ in range(2000):
        chosen = np.concatenate([generator.choice(group, size=len(group)) for group in groups])
        values.append(difference(labels[chosen], first[chosen], second[chosen]))
    assert_allclose([found.low, found.high], np.quantile(values, [0.025, 0.975]), atol=0.012)


@pytest.mark.parametrize("seed", range(2))
def test_paired_bootstrap_over_persons_equals_resampling_persons(seed):
    labels, first, second = pair(seed)
    persons = np.array([f"F{number:02}" for number in np.random.default_rng(seed).integers(0, 9, len(labels))])
    found = paired_bootstrap(labels, first, second, persons, draws=20_000, seed=seed)
    assert found.estimate == pytest.approx(difference(labels, first, second))
    generator = np.random.default_rng(100 + seed)
    names, values = np.unique(persons), []
    for _ in range(2000):
        drawn = generator.choice(names, size=len(names))
        chosen = np.concatenate([np.flatnonzero(persons == name) for name in drawn])
        values.append(difference(labels[chosen], first[chosen], second[chosen]))
    assert_allclose([found.low, found.high], np.quantile(values, [0.025, 0.975]), atol=0.015)


@pytest.mark.parametrize("persons", [None, [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]])
@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_all_ways_to_swap_answers(seed, persons):
    labels, first, second = pair(seed, count=10, classes=3, skill=(0.9, 0.3))
    groups = np.arange(10) if persons is None else np.array(persons)
    observed = abs(difference(labels, first, second))
    ways = []
    for swap in itertools.product([False, True], repeat=len(np.unique(groups))):
        swapped = np.array(swap)[groups]
        values = difference(labels, np.where(swapped, second, first), np.where(swapped, first, second))
        ways.append(abs(values) >= observed - 1e-12)
    found = paired_bootstrap(labels, first, second, persons, draws=20_000)
    assert found.p == pytest.approx(np.mean(ways), abs=0.015)


def test_images_of_their_own_persons_are_images():
    labels, first, second = pair(5, count=300)
    alone = paired_bootstrap(labels, first, second, draws=20_000)
    each = paired_bootstrap(labels, first, second, np.arange(300), draws=20_000)
    assert each.estimate == pytest.approx(alone.estimate)
    assert each.p == pytest.approx(alone.p, abs=0.01)


def test_a_p_is_never_0_and_tiny_or_equal_sets_show_nothing():
    labels = np.repeat(np.arange(7), 40)
    wrong = (labels + 1) % 7
    assert paired_bootstrap(labels, labels, wrong, draws=99).p == pytest.approx(0.01)
    same = paired_bootstrap(labels, wrong, wrong)
    assert (same.estimate, same.low, same.high, same.p) == (0, 0, 0, 1)
    one = paired_bootstrap(labels[:1], labels[:1], wrong[:1])
    assert (one.estimate, one.p) == (1, 1)
    one_person = paired_bootstrap(labels, labels, wrong, ["F01"] * len(labels))
    assert (one_person.estimate, one_person.low, one_person.high, one_person.p) == (1, -1, 1, 1)


def test_draws_repeat_by_seed_and_follow_the_confidence():
    labels, first, second = pair(1)
    persons = np.arange(84) % 8
    for clusters in (None, persons):
        again = [paired_bootstrap(labels, first, second, clusters, draws=500, seed=seed) for seed in (1, 1, 2)]
        assert again[0] == again[1] != again[2]
        narrow = paired_bootstrap(labels, first, second, clusters, confidence=0.5)
        wide = paired_bootstrap(labels, first, second, clusters, confidence=0.99)
        assert wide.low < narrow.low < narrow.high < wide.high


def test_malformed_comparisons_are_refused():
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match="labels are empty"):
        paired_bootstrap(labels[:0], labels[:0], labels[:0])
    with pytest.raises(ValueError, match="must be"):
        paired_bootstrap(labels, labels[:1], labels)
    with pytest.raises(ValueError, match="clusters"):
        paired_bootstrap(labels, labels, labels, ["F01"])
    with pytest.raises(ValueError, match="confidence"):
        paired_bootstrap(labels, labels, labels, confidence=95)


def test_person_interval_equals_resampling_persons_and_is_wider_than_of_images():
    generator = np.random.default_rng(3)
    persons = np.repeat(np.arange(12), 10)
    correct = generator.uniform(size=120) < np.repeat(generator.uniform(size=12), 10)
    values = []
    for _ in range(4000):
        drawn = generator.integers(0, 12, size=12)
        values.append(correct[np.concatenate([np.flatnonzero(persons == person) for person in drawn])].mean())
    found = person_interval(correct, persons)
    assert_allclose(found, np.quantile(values, [0.025, 0.975]), atol=0.015)
    apart = person_interval(correct, np.arange(120))
    assert found[1] - found[0] > 1.5 * (apart[1] - apart[0])
    assert person_interval(correct, ["F01"] * 120) is None


@pytest.mark.parametrize(
    "p", [[], [0.2], [0.01, 0.04, 0.03], [0.02, 0.02, 0.02, 1.0], [0.9, 0.8], [0, 0.5, 1], [0.04, 0.001, 0.2, 0.03]]
)
def test_holm_is_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist() if p else [])


def test_holm_refuses_what_is_no_probability():
    for values in ([0.2, math.nan], [1.2], [-0.1]):
        with pytest.raises(ValueError, match="p-values"):
            holm(values)


def power(images, disagreement, effect, generator, sets=20_000):
    """Share of simulated sets on which SciPy's exact test finds the effect."""
    for_a = (disagreement + effect) / 2
    only_a, only_b, _ = generator.multinomial(images, [for_a, disagreement - for_a, 1 - disagreement], size=sets).T
    return (2 * stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5) <= 0.05).mean()


@pytest.mark.parametrize(("images", "disagreement"), [(84, 0.3), (84, 1.0), (980, 0.25), (3121, 0.1)])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9])
def test_the_smallest_difference_is_shown_with_the_power_asked(images, disagreement, wanted):
    effect = smallest_difference(images, disagreement, wanted)
    assert power(images, disagreement, effect, np.random.default_rng(0)) == pytest.approx(wanted, abs=0.015)


@pytest.mark.parametrize("disagreement", [0.05, 0.2, 0.5])
def test_on_large_sets_the_smallest_difference_is_connors(disagreement):
    images, alpha, beta = 8_000, stats.norm.ppf(0.975), stats.norm.ppf(0.8)
    effect = smallest_difference(images, disagreement)
    needed = (alpha * disagreement**0.5 + beta * (disagreement - effect**2) ** 0.5) ** 2 / effect**2
    assert needed == pytest.approx(images, rel=0.05)


@pytest.mark.parametrize(("images", "disagreement"), [(1, 1.0), (5, 1.0), (84, 0.0), (84, 0.03)])
def test_too_few_images_can_show_no_difference(images, disagreement):
    assert smallest_difference(images, disagreement) == math.inf


def test_six_images_show_only_that_one_is_always_right_alone():
    assert smallest_difference(6, 1.0, power=0.999) == pytest.approx(1, abs=0.001)
    with pytest.raises(ValueError, match="images"):
        smallest_difference(0, 0.5)
    with pytest.raises(ValueError, match="power"):
        smallest_difference(84, 0.5, power=1)


def test_seeds_have_mean_and_sample_deviation():
    values = [0.841, 0.836, 0.852]
    mean, deviation = seeds_summary(values)
    assert mean == pytest.approx(np.mean(values))
    assert deviation == pytest.approx(stats.tstd(values))
    assert seeds_summary([0.5, 0.5]) == (0.5, 0)


def test_one_seed_has_no_deviation_and_none_no_mean():
    assert seeds_summary([0.8]) == (0.8, None)
    with pytest.raises(ValueError, match="values are empty"):
        seeds_summary([])
