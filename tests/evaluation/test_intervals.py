import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fer.evaluation import metrics
from fer.evaluation.intervals import bootstrap_interval, person_interval, wilson_interval
from tests.predictions import draw


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 84), (40, 84), (84, 84), (3, 12), (2911, 3068)])
def test_wilson_interval_is_statsmodels(hits, trials, level):
    interval = wilson_interval(hits, trials, level)
    assert_allclose(interval, proportion_confint(hits, trials, 1 - level, method="wilson"), atol=1e-12)
    assert 0 <= interval[0] <= hits / trials <= interval[1] <= 1


def test_wilson_interval_needs_trials():
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["mean_class_accuracy", "macro_f1"])
def test_bootstrap_equals_resampling_images_within_classes(seed, name):
    labels, probabilities = draw(seed, 84, absent=(2,))
    answers = probabilities.argmax(axis=1)
    statistic = getattr(metrics, name)
    generator = np.random.default_rng(100 + seed)
    groups = [np.flatnonzero(labels == c) for c in range(7) if (labels == c).any()]
    values = []
    for _ in range(4000):
        chosen = np.concatenate([generator.choice(group, size=len(group)) for group in groups])
        values.append(float(statistic(metrics.confusion_matrix(labels[chosen], answers[chosen], 7))))
    confusion = metrics.confusion_matrix(labels, answers, 7)
    ours = bootstrap_interval(confusion, statistic, resamples=20_000, seed=seed)
    # The percentiles of 4,000 resamples wander by about 0.003; an unstratified or mis-scaled draw misses by more.
    assert_allclose(ours, np.quantile(values, [0.025, 0.975]), atol=0.008)


def test_bootstrap_keeps_the_size_of_every_class_and_its_level():
    labels, probabilities = draw(3, 84, absent=(5,))
    confusion = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), 7)
    seen = []

    def record(draws):
        seen.append(draws)
        return metrics.mean_class_accuracy(draws)

    wide = bootstrap_interval(confusion, record, level=0.99, resamples=500)
    narrow = bootstrap_interval(confusion, record, level=0.5, resamples=500)
    assert seen[0].shape == (500, 7, 7)
    assert (seen[0].sum(axis=2) == confusion.sum(axis=1)).all()
    assert not seen[0][:, confusion == 0].any()
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_bootstrap_is_repeatable_by_seed():
    confusion = np.arange(49).reshape(7, 7)
    first, again, other = (bootstrap_interval(confusion, metrics.macro_f1, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def people(generator, persons, images, between, mean=0.5):
    """Whether images are answered rightly and who is on them, persons unlike and with unlike numbers of images."""
    who = np.repeat(np.arange(persons), generator.integers(images // 2, images + images // 2 + 1, persons))
    skill = mean + between * generator.normal(size=persons)
    return generator.normal(size=len(who)) < skill[who], who


def test_person_interval_is_wilsons_with_students_t_and_the_variance_of_a_ratio_over_persons():
    correct, who = people(np.random.default_rng(3), 12, 10, 0.8)
    images, hits = (
        np.array([part[who == person].sum() for person in range(12)]) for part in (correct * 0 + 1, correct)
    )
    share = hits.sum() / images.sum()
    variance = 12 / 11 * ((hits - share * images) ** 2).sum() / images.sum() ** 2
    count, quantile = share * (1 - share) / variance, stats.t.ppf(0.975, 11)
    for end in person_interval(correct, who):
        # Wilson's ends are where the share lies a quantile of errors away.
        assert abs(share - end) == pytest.approx(quantile * (end * (1 - end) / count) ** 0.5)
    assert person_interval(correct, ["F01"] * len(who)) is None


def test_person_interval_covers_the_truth_with_14_people():
    """Of 95: 93.5 to 94.5 with 14 people of 70 images (3,000 sets), where the percentile bootstrap covered 89 to 91."""
    generator = np.random.default_rng(0)
    truth = stats.norm.cdf(0.5 / (1 + 0.4**2) ** 0.5)
    sets = [people(generator, 14, 70, 0.4) for _ in range(600)]
    intervals = [person_interval(*one) for one in sets]
    assert np.mean([low <= truth <= high for low, high in intervals]) > 0.92


def test_person_interval_is_never_narrower_than_wilsons_of_the_same_images():
    generator = np.random.default_rng(0)
    for between in (0.0, 0.5):
        for mean in (-3.0, 0.0, 3.0):
            correct, who = people(generator, 14, 30, between, mean)
            alike = np.argsort(np.argsort(correct, kind="stable")) % 14
            for persons in (who, alike):
                low, high = person_interval(correct, persons)
                plain = wilson_interval(int(correct.sum()), len(correct))
                assert low <= plain[0] < plain[1] <= high
