"""LARS against the algorithm of its paper, number by number."""

import math

import pytest
import torch
from torch import nn

from fer.training.lars import LARS, layer_scale

STEPS = 4


def by_formula(
    weights: torch.Tensor, gradients: list[torch.Tensor], *, lr: float, momentum: float, decay: float, adapt: bool
) -> torch.Tensor:
    """Algorithm 1 of You et al. (2017), number by number in Python's floats."""
    values, velocity = weights.flatten().tolist(), [0.0] * weights.numel()
    for gradient in gradients:
        slopes = gradient.flatten().tolist()
        length, slope = math.hypot(*values), math.hypot(*slopes)
        scale = 0.001 * length / (slope + decay * length) if adapt and length and slope else 1.0
        velocity = [momentum * v + scale * (g + decay * w) for v, g, w in zip(velocity, slopes, values, strict=True)]
        values = [w - lr * v for w, v in zip(values, velocity, strict=True)]
    return torch.tensor(values).view(weights.shape)


def trained_by_lars(start: torch.Tensor, gradients: list[torch.Tensor], lr: float, momentum: float, **group: object):
    weights = nn.Parameter(start.clone())
    optimizer = LARS([{"params": [weights], **group}], lr=lr, momentum=momentum)
    for gradient in gradients:
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach()


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_the_paper_with_and_without_decay(adapt, decay, momentum):
    start, gradients = drawn((3, 4), 0), [drawn((3, 4), 1 + step) for step in range(STEPS)]
    ours = trained_by_lars(start, gradients, 2.0, momentum, weight_decay=decay, adapt=adapt)
    expected = by_formula(start, gradients, lr=2.0, momentum=momentum, decay=decay, adapt=adapt)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_without_decay_the_gradients_size_does_not_matter(size):
    # Plain SGD, which LARS must not become, would take steps as large as the gradient.
    start, gradient = drawn((8, 8), 0), drawn((8, 8), 1)
    step = start - trained_by_lars(start, [size * gradient], 0.3, 0.0, weight_decay=0.0)
    assert float(step.norm()) == pytest.approx(0.3 * 0.001 * float(start.norm()), rel=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weights_of_zero_learn_and_a_gradient_of_zero_harms_nothing(decay):
    zero, gradient = torch.zeros(2, 2), drawn((2, 2), 1)
    torch.testing.assert_close(trained_by_lars(zero, [gradient], 0.1, 0.9, weight_decay=decay), -0.1 * gradient)
    assert trained_by_lars(gradient, [zero], 0.1, 0.9, weight_decay=decay).isfinite().all()
    assert float(layer_scale(zero, gradient, decay, 0.001)) == float(layer_scale(gradient, zero, decay, 0.001)) == 1.0


def test_no_value_is_read_from_the_device():
    # A tensor without values raises where Python asks for one, as it would wait on a GPU.
    weights = nn.Parameter(torch.empty(4, 4, device="meta"))
    optimizer = LARS([weights], lr=0.1, weight_decay=1e-4)
    for _ in range(2):
        weights.grad = torch.empty(4, 4, device="meta")
        optimizer.step()


def test_the_state_continues_from_a_checkpoint():
    start, gradients = drawn((3, 3), 0), [drawn((3, 3), 1 + step) for step in range(STEPS)]
    whole = trained_by_lars(start, gradients, 0.5, 0.9, weight_decay=0.01)
    weights = nn.Parameter(trained_by_lars(start, gradients[:2], 0.5, 0.9, weight_decay=0.01))
    before = nn.Parameter(start.clone())
    stopped = LARS([{"params": [before], "weight_decay": 0.01}], lr=0.5, momentum=0.9)
    for gradient in gradients[:2]:
        before.grad = gradient.clone()
        stopped.step()
    continued = LARS([{"params": [weights], "weight_decay": 0.01}], lr=0.5, momentum=0.9)
    continued.load_state_dict(stopped.state_dict())
    for gradient in gradients[2:]:
        weights.grad = gradient.clone()
        continued.step()
    assert torch.equal(weights.detach(), whole)
