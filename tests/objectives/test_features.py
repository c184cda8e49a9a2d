import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from fer.objectives import features
from fer.objectives.features import feature_map, feature_std, knn_accuracy, linear_accuracy, rank_me


def groups(count, seed, width=12, noise=1.0):
    """Features of seven overlapping groups, and their labels."""
    centres = torch.randn(7, width, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 7, (count,), generator=generator)
    return centres[labels] + noise * torch.randn(count, width, generator=generator), labels


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (20, 0.07), (20, 0.5), (60, 0.02)])
def test_knn_equals_scikit_learns_with_the_same_weights(neighbours, temperature):
    (known, truth), (seen, labels) = groups(80, 0), groups(70, 1)
    reference = KNeighborsClassifier(
        neighbours, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / temperature)
    )
    expected = reference.fit(known.double().numpy(), truth).score(seen.double().numpy(), labels)
    assert 0.2 < expected < 1
    assert knn_accuracy(known, truth, seen, labels, neighbours, temperature) == pytest.approx(expected)


def test_knn_does_not_depend_on_chunks_scale_or_too_few_training_images(monkeypatch):
    (known, truth), (seen, labels) = groups(15, 0), groups(50, 1)
    whole = knn_accuracy(known, truth, seen, labels, neighbours=15)
    assert knn_accuracy(known, truth, seen, labels, neighbours=1000) == whole
    assert knn_accuracy(100 * known, truth, seen / 100, labels, neighbours=15) == whole
    monkeypatch.setattr(features, "CHUNK", 7)
    assert knn_accuracy(known, truth, seen, labels, neighbours=15) == whole


def test_knn_weighs_near_neighbours_more():
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    seen = torch.tensor([[1.0, 0.1]])
    assert knn_accuracy(known, torch.tensor([0, 1, 1]), seen, torch.tensor([0]), neighbours=3) == 1
    assert knn_accuracy(known, torch.tensor([0, 1, 1]), seen, torch.tensor([0]), neighbours=3, temperature=100) == 0


def test_linear_probe_finds_a_linear_rule_and_nothing_in_noise():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 10, generator=generator)
    labels = (features @ torch.randn(10, 7, generator=generator)).argmax(1)
    assert linear_accuracy(features[:400], labels[:400], features[400:], labels[400:]) > 0.8
    shuffled = labels[torch.randperm(600, generator=generator)]
    assert linear_accuracy(features[:400], shuffled[:400], features[400:], shuffled[400:]) < 0.4


def test_linear_probe_standardises_by_the_training_images():
    (known, truth), (seen, labels) = groups(200, 0), groups(100, 1)
    plain = linear_accuracy(known, truth, seen, labels)
    scale, shift = torch.logspace(-3, 3, 12), torch.linspace(-5, 5, 12)
    assert linear_accuracy(known * scale + shift, truth, seen * scale + shift, labels) == pytest.approx(plain, abs=0.02)
    assert plain > 0.5


def test_linear_probe_of_one_class_answers_that_class():
    features = torch.randn(4, 3)
    labels = torch.tensor([2, 2, 1, 2])
    assert linear_accuracy(features, torch.full((4,), 2), features, labels) == 0.75


def test_the_gauge_is_1_for_even_directions_and_0_when_collapsed():
    features = torch.randn(5000, 64, generator=torch.Generator().manual_seed(0))
    assert float(feature_std(features)) == pytest.approx(1, abs=0.02)
    assert float(feature_std(torch.ones(50, 64) * torch.rand(50, 1))) == pytest.approx(0, abs=1e-5)
    assert feature_std(features + 5) < 0.25
    assert feature_std(features[:1]) == 0
    assert isinstance(feature_std(features), torch.Tensor)


def test_the_gauge_equals_numpys_standard_deviation():
    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) + 1
    unit = features.double().numpy() / np.linalg.norm(features.double().numpy(), axis=1, keepdims=True)
    assert float(feature_std(features)) == pytest.approx(unit.std(axis=0).mean() * 6**0.5, rel=1e-5)


@pytest.mark.parametrize(("count", "width", "rank"), [(60, 12, 12), (12, 60, 12), (40, 40, 5), (50, 8, 2)])
def test_rank_me_is_exp_of_the_entropy_of_the_singular_values(count, width, rank):
    generator = torch.Generator().manual_seed(count)
    features = torch.randn(count, rank, generator=generator) @ torch.randn(rank, width, generator=generator) + 0.3
    entropy = 0.0
    singular = np.linalg.svd(features.double().numpy(), compute_uv=False)
    for value in singular:
        share = value / sum(singular)
        entropy -= share * np.log(share)
    assert rank_me(features) == pytest.approx(np.exp(entropy), rel=1e-5)
    assert 1 < rank_me(features) < rank + 1.01
    assert rank_me(1000 * features) == pytest.approx(rank_me(features))


def test_rank_me_counts_directions_that_are_used_alike():
    assert rank_me(torch.eye(30)[:, :20]) == pytest.approx(20)
    assert rank_me(torch.ones(50, 64)) == pytest.approx(1, abs=1e-3)
    assert rank_me(torch.zeros(5, 3)) == 0


@pytest.mark.parametrize("width", [12, 64])
def test_the_map_keeps_neighbours_together_and_is_the_same_for_a_seed(width):
    features, labels = groups(120, 0, width, noise=0.1)
    points = feature_map(features, seed=3)
    assert points.shape == (120, 2)
    assert KNeighborsClassifier(5).fit(points, labels).score(points, labels) > 0.95
    assert np.array_equal(feature_map(features, seed=3), points)


@pytest.mark.parametrize("width", [1, 2, 9])
@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 8])
def test_a_map_of_few_images_is_finite(count, width):
    points = feature_map(torch.randn(count, width, generator=torch.Generator().manual_seed(0)), seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == count


def test_a_map_of_equal_features_is_one_point():
    assert not feature_map(torch.ones(20, 5), seed=0).any()
