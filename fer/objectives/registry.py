"""The methods of self-supervised learning by name, each with its paper's own optimizer and learning rate."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from fer.config.training import PretrainConfig
from fer.errors import ConfigError
from fer.models.backbones import Encoder
from fer.objectives.simclr import SimCLR
from fer.objectives.simsiam import SimSiam
from fer.objectives.swav import SwAV


@dataclass(frozen=True)
class Method:
    """A method, and what it means where the configuration leaves the choice to it.

    Attributes:
        objective: Makes the objective from (network, configuration, proj_dim, steps per epoch): a module with the
            attribute `network` and `forward(views) -> (loss, figures by name)`. It may define
            `after_step(step, total_steps)` (see `fer.training.AfterStep`).
        optimizer: What `optimizer=auto` means.
        lr: Peak learning rate for a batch of 256 with that optimizer.
        proj_dim: What `proj_dim=0` means.
        multi_crop: Whether small views join the two large ones.
        constant: Part of the objective whose rate is not scheduled; empty for none.
    """

    objective: Callable[[Encoder, PretrainConfig, int, int], nn.Module]
    optimizer: str
    lr: float
    proj_dim: int
    multi_crop: bool = False
    constant: str = ""

    def build(self, network: Encoder, config: PretrainConfig, steps_per_epoch: int) -> nn.Module:
        """Build the objective that trains a network."""
        proj_dim = config.proj_dim or self.proj_dim
        return self.objective(network, config, proj_dim, steps_per_epoch)

    def optimizer_for(self, config: PretrainConfig) -> str:
        """Return the optimizer's name."""
        if config.optimizer == "auto":
            return self.optimizer
        return config.optimizer

    def lr_for(self, config: PretrainConfig) -> float:
        """Return the peak learning rate; the method's own grows with the batch (Goyal et al., 2017).

        Raises:
            ConfigError: It would be the method's own, but for another optimizer.
        """
        if config.lr:
            return config.lr
        if self.optimizer_for(config) != self.optimizer:
            raise ConfigError(
                f"lr=0 means the rate of {config.method} with {self.optimizer}: "
                f"give lr for optimizer={config.optimizer}"
            )
        return self.lr * config.batch_size / 256


METHODS: dict[str, Method] = {
    # Chen et al. (2020), section 2.3: LARS at 0.3 * batch / 256.
    "simclr": Method(
        SimCLR,
        optimizer="lars",
        lr=0.3,
        proj_dim=128,
    ),
    # Caron et al. (2020), appendix A: what it uses for batches of 256.
    "swav": Method(
        SwAV,
        optimizer="lars",
        lr=0.6,
        proj_dim=128,
        multi_crop=True,
    ),
    # Chen & He (2021), section 3: plain SGD at 0.05 * batch / 256; section 4.2: a predictor whose rate does not decay.
    "simsiam": Method(
        SimSiam,
        optimizer="sgd",
        lr=0.05,
        proj_dim=2048,
        constant="predictor",
    ),
}
