import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests

from fer.evaluation.metrics import confusion_matrix, mean_class_accuracy
from fer.evaluation.statistics import holm, mcnemar, randomisation_test, seeds_summary, smallest_difference


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
    assert (found.only_a, found.only_b) == (only_a, only_b)
    table = [[3, only_a], [only_b, 2]]
    assert found.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue, rel=1e-9)
    assert found.p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)


def test_mcnemar_without_disagreement_or_images_tells_nothing():
    assert mcnemar(*by_hand(0, 0)).p == 1
    assert mcnemar(np.zeros(0, bool), np.zeros(0, bool)).p == 1


@pytest.mark.parametrize("images", [1, 5, 30, 84, 3121])
def test_mcnemars_interval_excludes_0_exactly_where_its_p_is_below_5_percent(images):
    for disagreeing in range(min(images, 60) + 1):
        for only_a in range(disagreeing + 1):
            both = images - disagreeing
            found = mcnemar(*by_hand(only_a, disagreeing - only_a, both, 0))
            assert (found.low <= 0 <= found.high) == (found.p >= 0.05)
            assert -1 <= found.low <= (2 * only_a - disagreeing) / images <= found.high <= 1


def test_mcnemars_interval_is_bonett_and_prices_or_clopper_and_pearsons_where_wider():
    found = mcnemar(*by_hand(26, 4, both=6, neither=12))
    # The upper end is that of R's statpsych::ci.prop.ps(.05, 12, 4, 26, 6).
    share = stats.binomtest(26, 30).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((30 / 48 * (2 * share.low - 1), 0.6251933))
    even = mcnemar(*by_hand(400, 400, both=1000, neither=1200))
    assert even.high == pytest.approx(stats.norm.ppf(0.975) * (802 / 3002 / 3002) ** 0.5, rel=0.03)


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
    found = randomisation_test(labels, first, second, persons, draws=20_000)
    assert found.p == pytest.approx(np.mean(ways), abs=0.015)


@pytest.mark.parametrize("persons", [None, 8])
def test_the_interval_holds_the_differences_that_the_randomisation_test_does_not_reject(persons):
    labels, first, second = pair(2, count=40, classes=3, skill=(0.9, 0.5))
    who = np.arange(40) if persons is None else np.arange(40) % persons
    found = randomisation_test(labels, first, second, None if persons is None else who, draws=20_000)
    gain = (first == labels).astype(float) - (second == labels)
    weights = np.array([1 / (3 * (labels == label).sum()) for label in labels])
    signs = np.random.default_rng(5).choice([-1, 1], size=(20_000, who.max() + 1))[:, who]
    for end, outward in ((found.low, -1), (found.high, 1)):
        for step, rejected in ((-0.03, False), (0.03, True)):
            taken_off = weights * (gain - end - outward * step)
            p = (np.abs(signs @ taken_off) >= abs(taken_off.sum()) - 1e-12).mean()
            assert (p < 0.05) == rejected


@pytest.mark.parametrize("persons", [None, 7])
def test_an_interval_excludes_0_exactly_where_the_randomised_p_is_below_5_percent(persons):
    seen = set()
    for seed in range(60):
        labels, first, second = pair(seed, count=70, skill=(0.75, 0.5))
        clusters = None if persons is None else np.arange(70) % persons
        found = randomisation_test(labels, first, second, clusters, draws=999, seed=seed)
        assert (found.low <= 0 <= found.high) == (found.p >= 0.05)
        assert found.low <= found.estimate <= found.high
        seen.add(found.p < 0.05)
    assert seen == {True, False}


def test_the_interval_covers_the_true_difference_of_means_of_classes():
    """Of 100 such intervals 94 to 97 do, on 84 to 3,000 images and differences of 0 to 22 points (400 of each)."""
    generator, covered = np.random.default_rng(0), 0
    labels = np.arange(84) % 7
    for draw in range(300):
        hard = generator.normal(size=84) + np.linspace(-1, 1, 7)[labels]
        right = [hard + gain + generator.normal(size=84) > 0 for gain in (0.8, 0.0)]
        first, second = (np.where(side, labels, (labels + 1) % 7) for side in right)
        found = randomisation_test(labels, first, second, draws=999, seed=draw)
        levels = np.linspace(-1, 1, 7)
        truth = np.mean(stats.norm.cdf((levels + 0.8) / 2**0.5) - stats.norm.cdf(levels / 2**0.5))
        covered += found.low <= truth <= found.high
    assert covered / 300 > 0.92


def test_images_of_their_own_persons_are_images():
    labels, first, second = pair(5, count=300)
    alone = randomisation_test(labels, first, second, draws=20_000)
    each = randomisation_test(labels, first, second, np.arange(300), draws=20_000)
    assert each.estimate == pytest.approx(alone.estimate)
    assert each.p == pytest.approx(alone.p, abs=0.01)


def test_a_p_is_never_0_and_tiny_or_equal_sets_show_nothing():
    labels = np.repeat(np.arange(7), 40)
    wrong = (labels + 1) % 7
    assert randomisation_test(labels, labels, wrong, draws=99).p == pytest.approx(0.01)
    same = randomisation_test(labels, wrong, wrong)
    assert (same.estimate, same.low, same.high, same.p) == (0, 0, 0, 1)
    one = randomisation_test(labels[:1], labels[:1], wrong[:1])
    assert (one.estimate, one.p) == (1, 1)
    one_person = randomisation_test(labels, labels, wrong, ["F01"] * len(labels))
    assert (one_person.estimate, one_person.low, one_person.high, one_person.p) == pytest.approx((1, -1, 1, 1))


def test_draws_repeat_by_seed():
    labels, first, second = pair(1)
    persons = np.arange(84) % 8
    for clusters in (None, persons):
        again = [randomisation_test(labels, first, second, clusters, draws=500, seed=seed) for seed in (1, 1, 2)]
        assert again[0] == again[1] != again[2]


@pytest.mark.parametrize(
    "p", [[], [0.2], [0.01, 0.04, 0.03], [0.02, 0.02, 0.02, 1.0], [0.9, 0.8], [0, 0.5, 1], [0.04, 0.001, 0.2, 0.03]]
)
def test_holm_is_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist() if p else [])


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


def test_seeds_have_mean_and_sample_deviation():
    values = [0.841, 0.836, 0.852]
    mean, deviation = seeds_summary(values)
    assert mean == pytest.approx(np.mean(values))
    assert deviation == pytest.approx(stats.tstd(values))
    assert seeds_summary([0.5, 0.5]) == (0.5, 0)


def test_one_seed_has_no_deviation():
    assert seeds_summary([0.8]) == (0.8, None)
