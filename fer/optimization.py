"""How weights are updated: optimizer, learning-rate schedule, moving average."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

SCHEDULED = 2
"""Parameter groups whose rate follows the schedule, the first ones: with and without decay."""


@dataclass(frozen=True)
class Settings:
    """How to optimise.

    Attributes:
        epochs: Passes over the training images.
        lr: Peak learning rate.
        optimizer: `adamw`, `sgd` or `lars`.
        weight_decay: Decay of weights with two or more dimensions; biases and normalisation have none.
        momentum: Of SGD and LARS.
        warmup_epochs: Linear warm-up before the cosine.
        ema: Decay of the average of the network's weights; 0 for none.
        patience: Epochs without a better score before stopping; 0 for never.
        selection: Key of the validation figure that chooses the best epoch; of `loss` the lowest wins.
        device: `auto`, `cpu` or `cuda`.
        bf16: Whether to compute in bfloat16 where that is safe.
        seed: Of everything random.
        choose: Whether the epoch with the best score is kept; else the latest is.
        constant: Part of the objective whose rate has neither warm-up nor decay; empty for none.
        constant_factor: Its rate as a multiple of `lr`.
    """

    epochs: int
    lr: float
    optimizer: str
    weight_decay: float
    momentum: float
    warmup_epochs: float
    ema: float
    patience: int
    selection: str
    device: str
    bf16: bool
    seed: int
    choose: bool = True
    constant: str = ""
    constant_factor: float = 1.0


def make_optimizer(objective: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return the optimizer of an objective's parameters; vectors (biases, normalisation) do not decay.

    Its first two groups follow the schedule; two more hold the part whose rate is constant, where there is one.
    """
    named = [(name, parameter) for name, parameter in objective.named_parameters() if parameter.requires_grad]
    fixed = [parameter for name, parameter in named if _is_constant(name, settings)]
    groups = _groups([parameter for name, parameter in named if not _is_constant(name, settings)], settings)
    groups += [group | {"lr": settings.lr * settings.constant_factor} for group in _groups(fixed, settings) if fixed]
    if settings.optimizer == "lars":
        from fer.models.bolts import lars  # seconds to import, and fine-tuning never needs it

        return lars(groups, settings.lr, settings.momentum)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr)


def _is_constant(name: str, settings: Settings) -> bool:
    return bool(settings.constant) and name.startswith(f"{settings.constant}.")


def _groups(parameters: list[nn.Parameter], settings: Settings) -> list[dict[str, Any]]:
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_schedule(optimizer: torch.optim.Optimizer, settings: Settings, steps: int) -> LambdaLR:
    """Return what sets each group's rate before every step: the first two follow `rate_factor`, constant ones do not.

    Args:
        optimizer: From `make_optimizer` with the same settings.
        settings: How to optimise.
        steps: Of an epoch.
    """
    scheduled, groups = rate_factor(settings, steps), len(optimizer.param_groups)
    return LambdaLR(optimizer, [scheduled if group < SCHEDULED else lambda step: 1.0 for group in range(groups)])


def rate_factor(settings: Settings, steps: int) -> Callable[[int], float]:
    """Return the rate's factor by step: linear warm-up, then half a cosine to 0 (Loshchilov & Hutter, 2017)."""
    total = settings.epochs * steps
    warmup = min(settings.warmup_epochs * steps, total / 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total - warmup, 1), 1)))

    return factor


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential average of a network's weights and buffers.

    The decay rises as (1 + n) / (10 + n) to its value, so that short runs are not held to their random start.
    """

    def blend(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(averages, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    return AveragedModel(network, multi_avg_fn=torch.no_grad()(blend), use_buffers=True)
