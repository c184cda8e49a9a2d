"""Optimizers and their groups of parameters, the schedule of learning rates, and the average of a network's weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

DECAYING_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
"""Layers whose weights decay."""


@dataclass(frozen=True)
class OptimizationSettings:
    """How to optimise.

    Attributes:
        epochs: Passes over the training images.
        lr: Peak learning rate.
        optimizer: `adamw`, `sgd` or `lars`.
        weight_decay: Decay of the weights of `DECAYING_LAYERS`; other parameters have none.
        momentum: Of SGD and LARS.
        clip_grad_norm: Largest norm of the gradient of all parameters together; 0: gradients are not clipped.
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
        arch: torchvision's name of the network's backbone, by which its layers are known.
        freeze: `backbone`, of which nothing is then trained but its head, or `none`.
        freeze_epochs: Epochs at first in which only the head learns.
        layer_decay: Rate of a layer as a multiple of the rate of the layer above it, in (0, 1].
        head_lr: Rate of the head as a multiple of `lr`.
        checkpoint_minutes: After how many a checkpoint is written within an epoch too; 0 for at its end only.
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
    clip_grad_norm: float = 0.0
    choose: bool = True
    constant: str = ""
    constant_factor: float = 1.0
    arch: str = ""
    freeze: str = "none"
    freeze_epochs: int = 0
    layer_decay: float = 1.0
    head_lr: float = 1.0
    checkpoint_minutes: float = 0.0

    @property
    def frozen_epochs(self) -> int:
        """Epochs at first, or all, in which the backbone is frozen."""
        return self.epochs if self.freeze == "backbone" else self.freeze_epochs

    @property
    def divides_layers(self) -> bool:
        """Whether the head, or each layer, has a rate or a schedule of its own."""
        return self.freeze_epochs > 0 or self.layer_decay < 1 or self.head_lr != 1


def make_optimizer(objective: nn.Module, settings: OptimizationSettings) -> Optimizer:
    """Build the optimizer of an objective's parameters, as far as they have gradients.

    Two groups follow the schedule, or two for each layer that has a rate of its own; two more hold the part whose rate
    is constant, where there is one. Of each two the first holds the weights that decay and the second the rest, which
    LARS updates as SGD would.
    """
    decaying = decaying_names(objective)
    parameters = dict(objective.named_parameters())
    groups: list[dict[str, Any]] = []
    for names, factor, marks in _parts(objective, settings):
        weights = [parameters[name] for name in names if name in decaying]
        others = [parameters[name] for name in names if name not in decaying]
        own = {"lr": factor * settings.lr, **marks}
        groups.append({"params": weights, "weight_decay": settings.weight_decay, "adapt": True, **own})
        groups.append({"params": others, "weight_decay": 0.0, "adapt": False, **own})
    if settings.optimizer == "lars":
        # Only pre-trainings use it.
        from fer.training.lars import LARS

        return LARS(groups, lr=settings.lr, momentum=settings.momentum)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr)


def _parts(objective: nn.Module, settings: OptimizationSettings) -> list[tuple[list[str], float, dict[str, bool]]]:
    """Return names of parameters that share a rate, as a multiple of `lr`, and how the schedule knows their groups."""
    # A momentum teacher's and a frozen backbone's parameters have no gradient.
    names = [name for name, parameter in objective.named_parameters() if parameter.requires_grad]
    constant = [name for name in names if settings.constant and name.startswith(f"{settings.constant}.")]
    scheduled = [name for name in names if name not in constant]
    # Groups and marks more than needed would change the checkpoints of trainings without these options.
    parts = [(scheduled, 1.0, {"constant": False})]
    if settings.divides_layers:
        # Most trainings do not ask for it.
        from fer.training.layers import rate_parts

        network: nn.Module = objective.network  # type: ignore[assignment]
        parts = []
        for part, factor, is_backbone in rate_parts(network, settings):
            marks = {"constant": False, "backbone": is_backbone}
            parts.append(([f"network.{name}" for name in part], factor, marks))
    if constant:
        parts.append((constant, settings.constant_factor, {"constant": True}))
    return parts


def decaying_names(module: nn.Module) -> set[str]:
    """Return the names of the parameters that decay: the weights of linear layers, convolutions and attention.

    Biases, the parameters of normalisation, and what a backbone learns beside its layers (layer scales, class tokens,
    positions, temperatures of attention) are not maps of features: pulled to 0 they only lose what they say. The
    number of dimensions does not tell them apart, for a class token has three.
    """
    decaying: set[str] = set()
    for prefix, layer in module.named_modules():
        if isinstance(layer, DECAYING_LAYERS):
            names = (name for name, _ in layer.named_parameters(prefix, recurse=False))
            decaying.update(name for name in names if name.endswith("weight"))
    return decaying


def make_schedule(optimizer: Optimizer, settings: OptimizationSettings, steps_per_epoch: int) -> LambdaLR:
    """Build the schedule that sets each group's rate before every step: `rate_factor`, or 1 for constant groups.

    Args:
        optimizer: From `make_optimizer` with the same settings.
        settings: How to optimise.
        steps_per_epoch: Steps of an epoch.
    """
    scheduled = rate_factor(settings, steps_per_epoch)
    thawed = thawed_factor(settings, steps_per_epoch) if settings.freeze_epochs else scheduled
    factors = []
    for group in optimizer.param_groups:
        by_schedule = thawed if group.get("backbone") else scheduled
        factors.append(_constant_factor if group["constant"] else by_schedule)
    return LambdaLR(optimizer, factors)


def _constant_factor(step: int) -> float:
    return 1.0


def thawed_factor(settings: OptimizationSettings, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the factor by step of a backbone that is frozen at first: 0, then a warm-up of its own to the schedule's.

    Without one the first steps of an adaptive optimizer, which knows no gradient of it yet, would be its largest.
    """
    start = settings.freeze_epochs * steps_per_epoch
    warmup = min(settings.warmup_epochs * steps_per_epoch, (settings.epochs * steps_per_epoch - start) / 2)
    scheduled = rate_factor(settings, steps_per_epoch)

    def factor(step: int) -> float:
        if step < start:
            return 0.0
        return scheduled(step) * min((step - start + 1) / (warmup + 1), 1)

    return factor


def rate_factor(settings: OptimizationSettings, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the rate's factor by step: linear warm-up, then half a cosine to 0 (Loshchilov & Hutter, 2017)."""
    total = settings.epochs * steps_per_epoch
    # A short run warms up for half its steps at most.
    warmup = min(settings.warmup_epochs * steps_per_epoch, total / 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min((step - warmup) / max(total - warmup, 1), 1)
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def clip_grad_norm(option: float, arch: str) -> float:
    """Return the largest gradient norm to train an architecture with; 0: gradients are not clipped.

    Args:
        option: The norm, 0, or below 0 for the architecture's own: 1 for transformers, as Dosovitskiy et al. (2021), An
            Image is Worth 16x16 Words, appendix B.1 train them; 0 for others.
        arch: torchvision's name.
    """
    if option >= 0:
        return option
    return 1.0 if arch.startswith(("vit_", "swin_", "maxvit_")) else 0.0


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """Make the exponential average of a network's weights and buffers.

    The decay rises as (1 + n) / (10 + n) to its value, so that short runs are not held to their random start.
    """

    @torch.no_grad()
    def blend(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value, weight)
            else:
                # Counters such as batch norm's have no mean.
                average.copy_(value)

    return AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
