import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from fer.errors import DataError
from fer.objectives.classification import Classification, balanced_weights, scale_weights, training_prior
from tests.objectives.ranks import make, trained


class Fixed(nn.Module):
    """A network whose scores are its input."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def reference(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, smoothing: float) -> float:
    """Weighted, smoothed cross-entropy by a loop over images and classes: the mean over images."""
    total = 0.0
    for scores, label in zip(logits.double(), labels, strict=True):
        logp = scores - scores.exp().sum().log()
        for code in range(7):
            target = (1 - smoothing) * float(code == label) + smoothing / 7
            total -= float(weights[code] * target * logp[code])
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_equals_a_loop_over_images_and_classes(smoothing, weighted):
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(20, 7, generator=generator), torch.randint(0, 7, (20,), generator=generator)
    weights = torch.rand(7, generator=generator) + 0.1 if weighted else torch.ones(7)
    loss, logs = Classification(Fixed(), weights if weighted else None, smoothing)(logits, labels)
    assert float(loss) == pytest.approx(reference(logits, labels, weights, smoothing), rel=1e-5)
    assert float(logs["accuracy"]) == pytest.approx(float((logits.argmax(1) == labels).float().mean()))


RARE = (300, 60, 12, 700, 300, 200, 730)
"""Training images of each class, as unlike as FER+'s."""


@pytest.mark.parametrize("batch_size", [1, 16, 64, 2000])
def test_a_class_has_its_weights_part_of_the_loss_at_any_batch_size(batch_size):
    labels = torch.repeat_interleave(torch.arange(7), torch.tensor(RARE))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    objective = Classification(Fixed(), balanced_weights(RARE))
    parts = torch.zeros(7)
    for batch in labels.split(batch_size):
        # A bias that all images share gets, for each class, what its own images and all others pull.
        bias = torch.zeros(7, requires_grad=True)
        loss, _ = objective(bias.expand(len(batch), 7), batch)
        (len(batch) * loss).backward()
        parts -= bias.grad
    # At equal scores the pulls of balanced classes cancel, whatever the batches were.
    assert parts.abs().max() < 1e-3 * len(labels) / 7


@pytest.mark.parametrize("name", ["weighted", "weighted-smoothed"])
def test_two_processes_have_the_gradient_of_one_with_weights_on(two_ranks, check_ranks, name):
    check_ranks(name)
    for key, gradient in trained(name, make(name))["gradients"].items():
        torch.testing.assert_close(two_ranks[0][name]["gradients"][key], gradient, rtol=0, atol=1e-6)


def test_given_weights_are_scaled_to_a_mean_of_one_over_the_training_images():
    counts, given = [1290, 281, 717, 4772, 1982, 705, 2524], [3.0, 1.0, 0.0, 2.0, 5.0, 1.0, 1.0]
    scaled = scale_weights(given, counts)
    images = np.repeat(np.arange(7), counts)
    assert float(scaled.double()[images].mean()) == pytest.approx(1)
    assert (scaled / scaled[1]).tolist() == pytest.approx(given)
    assert scale_weights([2.0] * 7, counts).tolist() == pytest.approx([1.0] * 7)
    assert scale_weights(balanced_weights(counts).tolist(), counts).tolist() == pytest.approx(
        balanced_weights(counts).tolist()
    )


def test_balanced_weights_are_scikit_learns():
    counts = [1290, 281, 717, 4772, 1982, 705, 2524]
    labels = [code for code, count in enumerate(counts) for _ in range(count)]
    expected = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    assert balanced_weights(counts).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_an_expression_without_images_is_named():
    with pytest.raises(DataError, match="fear"):
        balanced_weights([5, 0, 5, 5, 5, 5, 5])


def test_the_prior_in_training_is_counts_times_weights():
    counts = [1290, 281, 717, 4772, 1982, 705, 2524]
    assert training_prior(counts, None) == pytest.approx([count / 12271 for count in counts])
    assert training_prior(counts, balanced_weights(counts)) == pytest.approx([1 / 7] * 7)
    weights = torch.tensor([1.0, 2.0, 1.0, 0.5, 1.0, 0.0, 1.0])
    effective = [count * weight for count, weight in zip(counts, weights.tolist(), strict=True)]
    assert training_prior(counts, weights) == pytest.approx([number / sum(effective) for number in effective])
