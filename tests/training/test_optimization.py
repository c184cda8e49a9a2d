"""Which parameters are updated at which rate, and LARS. Schedule and average are tested with the training loop."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from fer.config.training import PretrainConfig
from fer.pipeline.context import RunContext
from fer.pipeline.pretrain import make_settings
from fer.tracking.runs import NullRun
from fer.training.optimization import (
    LARS,
    OptimizationSettings,
    clip_grad_norm,
    decaying_names,
    layer_scale,
    make_optimizer,
    make_schedule,
)

PLAIN = OptimizationSettings(
    epochs=4, lr=0.1, optimizer="sgd", weight_decay=0.5, momentum=0.9, warmup_epochs=1.0, ema=0.0, patience=0,
    selection="loss", device="cpu", bf16=False, seed=0,
)  # fmt: skip


class Objective(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network, self.predictor, self.predictors = nn.Linear(2, 2), nn.Linear(2, 3), nn.Linear(2, 4)


def rates(settings: OptimizationSettings, steps: int = 10) -> tuple[list[list[float]], list[list[tuple[int, ...]]]]:
    """Return each group's rate by step, and the shapes in each group."""
    optimizer = make_optimizer(Objective(), settings)
    schedule = make_schedule(optimizer, settings, steps)
    seen = []
    for _ in range(settings.epochs * steps):
        seen.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    shapes = [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups]
    return [list(column) for column in zip(*seen, strict=True)], shapes


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_a_constant_part_has_its_own_rate_from_the_first_step_to_the_last(optimizer):
    settings = replace(PLAIN, optimizer=optimizer, constant="predictor", constant_factor=10.0)
    by_group, shapes = rates(settings)
    assert shapes == [[(2, 2), (4, 2)], [(2,), (4,)], [(3, 2)], [(3,)]]
    assert by_group[2] == by_group[3] == pytest.approx([1.0] * 40)
    assert by_group[0] == by_group[1]
    assert max(by_group[0]) == pytest.approx(0.1)
    assert by_group[0][0] < 0.02 and by_group[0][-1] < 0.001


def test_without_a_constant_part_all_rates_follow_the_schedule():
    by_group, shapes = rates(PLAIN)
    assert shapes == [[(2, 2), (3, 2), (4, 2)], [(2,), (3,), (4,)]]
    assert by_group[0] == by_group[1]


def test_weights_decay_and_biases_do_not():
    optimizer = make_optimizer(Objective(), replace(PLAIN, constant="predictor"))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_lars_adapts_weights_whether_they_decay_or_not(decay):
    settings = replace(PLAIN, optimizer="lars", weight_decay=decay, constant="predictor")
    groups = make_optimizer(Objective(), settings).param_groups
    assert [group["adapt"] for group in groups] == [True, False, True, False]
    assert [group["weight_decay"] for group in groups] == [decay, 0.0, decay, 0.0]


@pytest.mark.parametrize(
    ("arch", "spared"),
    [
        ("resnet18", ()),
        ("densenet121", ()),
        ("convnext_tiny", ("layer_scale",)),
        ("vit_b_16", ("class_token", "pos_embedding")),
        ("swin_t", ("relative_position_bias_table",)),
        ("swin_v2_t", ("logit_scale",)),
        ("maxvit_t", ("relative_position_bias_table",)),
        ("efficientnet_b0", ()),
    ],
)
def test_only_the_weights_of_layers_decay(arch, spared):
    with torch.device("meta"):
        network = torchvision.models.get_model(arch, weights=None)
    decaying, norms = decaying_names(network), (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    normalised = {
        f"{place}.{name}"
        for place, module in network.named_modules() if isinstance(module, norms)
        for name, _ in module.named_parameters(recurse=False)
    }  # fmt: skip
    for name, parameter in network.named_parameters():
        left_out = name in normalised or name.endswith("bias") or name.endswith(spared or "\0")
        assert (name in decaying) != left_out, f"{name} {tuple(parameter.shape)}"
    for ending in spared:
        dimensions = {p.ndim for name, p in network.named_parameters() if name.endswith(ending)}
        assert max(dimensions) > 1, "the number of dimensions would not have told"


def test_gradients_of_transformers_are_clipped_unless_asked_otherwise():
    of_their_own = {arch: clip_grad_norm(-1.0, arch) for arch in ("vit_b_16", "swin_v2_t", "maxvit_t", "resnet50")}
    assert of_their_own == {"vit_b_16": 1.0, "swin_v2_t": 1.0, "maxvit_t": 1.0, "resnet50": 0.0}
    assert clip_grad_norm(0.0, "vit_b_16") == 0.0
    assert clip_grad_norm(2.5, "resnet50") == 2.5


@pytest.mark.parametrize(
    ("method", "predictor_lr", "constant"), [("simsiam", 10.0, "predictor"), ("simsiam", 0.0, ""), ("swav", 10.0, "")]
)
def test_only_simsiams_predictor_keeps_its_rate_and_only_if_asked(method, predictor_lr, constant):
    config = PretrainConfig(method=method, predictor_lr=predictor_lr)
    settings = make_settings(RunContext(NullRun(), Path(), torch.device("cpu"), "fp32", config))
    assert settings.constant == constant
    assert not constant or settings.constant_factor == 10.0


# LARS

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
