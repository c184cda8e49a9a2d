"""Answers of mediocre classifiers, for the tests of statistics and reports."""

import numpy as np
import pytest

SEEDS = range(8)


def draw(seed, count=84, absent=(), sharpness=1.5):
    """Labels and probabilities of a mediocre classifier; the classes in `absent` are never true."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([c for c in range(7) if c not in absent], size=count)
    scores = generator.normal(size=(count, 7))
    scores[np.arange(count), labels] += sharpness
    probabilities = np.exp(scores)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


CASES = [(seed, count, absent) for seed in SEEDS for count, absent in ((84, ()), (1, ()), (20, (1, 4)), (500, (6,)))]


cases = pytest.mark.parametrize(("seed", "count", "absent"), CASES)


good = np.full((2, 7), 1 / 7)


nan = np.where(np.eye(2, 7) > 0, np.nan, good)
