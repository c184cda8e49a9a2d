"""LARS, the optimizer of pre-training with large batches."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


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
