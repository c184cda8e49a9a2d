"""BYOL (Grill et al., 2020), Bootstrap Your Own Latent: a method added by one file and one entry of `METHODS`."""

import copy
import math

import torch
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.models.backbones import Encoder
from fer.objectives.features import encode_views, feature_std
from fer.objectives.registry import Method
from fer.objectives.simsiam import symmetric_loss

BASE_MOMENTUM = 0.99
"""The target's momentum at the first step (the paper: 0.996 for 1,000 epochs, 0.99 for 300); it rises to 1."""


class BYOL(nn.Module):
    """An online network predicts the projections of a target network, which is its own moving average.

    Args:
        network: Maps images `(N, 3, H, W)` to features `(N, features)`.
        config: Gives `proj_hidden_dim`.
        proj_dim: Dimensions that are compared.
        steps_per_epoch: Not used.
    """

    def __init__(self, network: Encoder, config: PretrainConfig, proj_dim: int, steps_per_epoch: int) -> None:
        super().__init__()
        from fer.models.bolts import mlp  # seconds to import

        self.network = network
        self.projector = mlp(network.features, config.proj_hidden_dim, proj_dim)
        self.predictor = mlp(proj_dim, config.proj_hidden_dim, proj_dim)
        # Part of the module, so that checkpoints hold it; without gradients, so that the optimizer leaves it alone.
        self.target = copy.deepcopy(self.online()).requires_grad_(False)

    def online(self) -> nn.Module:
        """Return the part of the online network that the target follows."""
        return nn.Sequential(self.network, self.projector)

    def forward(self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in [-1, 1], and `feature_std` of the targets: near 1 when healthy, 0 when collapsed.

        Args:
            views: Two batches `(N, 3, H, W)`, RGB in [0, 255]; row i of both shows image i.
        """
        projections = encode_views(self.online(), views)
        to_second, to_first = self.predictor(projections).float().chunk(2)
        with torch.no_grad():
            targets = encode_views(self.target, views).float()
        first, second = targets.chunk(2)
        loss = symmetric_loss(to_second, to_first, first, second)
        return loss, {"target_std": feature_std(targets)}

    @torch.no_grad()
    def after_step(self, step: int, total_steps: int) -> None:
        """Move the target towards the online network: the paper's equation 1, with the momentum of section 3.2."""
        momentum = target_momentum(step, total_steps)
        for target, online in zip(self.target.parameters(), self.online().parameters(), strict=True):
            target.lerp_(online, 1 - momentum)


def target_momentum(step: int, total_steps: int) -> float:
    """Return the momentum after a step: from `BASE_MOMENTUM` to 1 along half a cosine."""
    return 1 - (1 - BASE_MOMENTUM) * (math.cos(math.pi * step / total_steps) + 1) / 2


METHOD = Method(BYOL, optimizer="lars", lr=0.2, proj_dim=256)
"""For `METHODS["byol"]` in `fer/objectives/registry.py`; the rate is the paper's, section 3.3."""
