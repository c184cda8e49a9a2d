"""Optimizers, LARS among them, the schedule of learning rates, and the average of a network's weights."""

import math
from collections.abc import Callable, Iterable, Sequence
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


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling: You, Gitman & Ginsburg (2017), Large Batch Training of Convolutional Networks.

    With weights w, gradient g, decay d, momentum m and rate r (their algorithm 1):

        scale = trust * |w| / (|g| + d |w|), or 1 where |w| or |g| is 0
        v = m v + scale * (g + d w)
        w = w - r v

    A group with `adapt=False` has a scale of 1, which is SGD: biases and normalisation are trained so, as Chen et al.
    (2020), A Simple Framework for Contrastive Learning of Visual Representations, appendix B.9 do.

    Args:
        params: Parameters, or groups of them, each with `adapt` (True), `weight_decay` (0) and `lr` where they differ.
        lr: Learning rate, above 0.
        momentum: In [0, 1).
        weight_decay: Decay of groups that name none.
        trust: Trust coefficient: the length of a step as a share of the weights' length, at a rate of 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters by their gradients; a closure is not supported."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._update(weights, weights.grad, group)

    def _update(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        change = gradient.add(weights, alpha=decay)
        if group["adapt"]:
            change.mul_(layer_scale(weights, gradient, decay, group["trust"]))
        state = self.state[weights]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weights)
        velocity = state["momentum_buffer"]
        velocity.mul_(group["momentum"]).add_(change)
        weights.sub_(velocity, alpha=group["lr"])


def layer_scale(weights: Tensor, gradient: Tensor, decay: float, trust: float) -> Tensor:
    """Return trust * |w| / (|g| + decay |w|), or 1 where |w| or |g| is 0, as a scalar tensor."""
    weight_norm = torch.linalg.vector_norm(weights)
    gradient_norm = torch.linalg.vector_norm(gradient)
    scale = trust * weight_norm / (gradient_norm + decay * weight_norm)
    # Python's `if` would have to read the norms, and make a GPU wait for each layer.
    return torch.where((weight_norm > 0) & (gradient_norm > 0), scale, 1.0)


def make_optimizer(objective: nn.Module, settings: OptimizationSettings) -> Optimizer:
    """Build the optimizer of an objective's parameters.

    Two groups follow the schedule; two more hold the part whose rate is constant, where there is one. Of each two the
    first holds the weights that decay and the second the rest, which LARS updates as SGD would.
    """
    decaying = decaying_names(objective)
    # Which group is which is written into the groups: the schedule reads `constant`, LARS `adapt`.
    groups: list[dict[str, Any]] = []
    for constant in (False, True):
        named = {
            name: parameter
            for name, parameter in objective.named_parameters()
            # A momentum teacher's parameters have no gradient.
            if parameter.requires_grad and _is_constant(name, settings) == constant
        }
        # An empty group would change the optimizer's state, and with it the checkpoints, of all other methods.
        if constant and not named:
            continue
        weights = [parameter for name, parameter in named.items() if name in decaying]
        others = [parameter for name, parameter in named.items() if name not in decaying]
        factor = settings.constant_factor if constant else 1.0
        rates = {"lr": factor * settings.lr, "constant": constant}
        groups.append({"params": weights, "weight_decay": settings.weight_decay, "adapt": True, **rates})
        groups.append({"params": others, "weight_decay": 0.0, "adapt": False, **rates})
    if settings.optimizer == "lars":
        return LARS(groups, lr=settings.lr, momentum=settings.momentum)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr)


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


def _is_constant(name: str, settings: OptimizationSettings) -> bool:
    return bool(settings.constant) and name.startswith(f"{settings.constant}.")


def make_schedule(optimizer: Optimizer, settings: OptimizationSettings, steps_per_epoch: int) -> LambdaLR:
    """Build the schedule that sets each group's rate before every step: `rate_factor`, or 1 for constant groups.

    Args:
        optimizer: From `make_optimizer` with the same settings.
        settings: How to optimise.
        steps_per_epoch: Steps of an epoch.
    """
    scheduled = rate_factor(settings, steps_per_epoch)
    factors = [_constant_factor if group["constant"] else scheduled for group in optimizer.param_groups]
    return LambdaLR(optimizer, factors)


def _constant_factor(step: int) -> float:
    return 1.0


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
