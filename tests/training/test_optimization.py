"""Which parameters are updated at which rate. Schedule and average are tested with the training loop."""

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
    OptimizationSettings,
    clip_grad_norm,
    decaying_names,
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
