"""The ways to learn without labels, by name, each with its paper's own optimizer and rate."""

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
    """One way to learn, and what it means where the configuration leaves the choice to it.

    Attributes:
        make: Builds the objective from (network, configuration, proj_dim, steps per epoch).
        optimizer: What `optimizer=auto` means.
        lr: Peak rate for a batch of 256 with that optimizer.
        proj_dim: What `proj_dim=0` means.
        multi_crop: Whether small views join the two large ones.
        constant: Part of the objective whose rate is not scheduled; empty for none.
    """

    make: Callable[[Encoder, PretrainConfig, int, int], nn.Module]
    optimizer: str
    lr: float
    proj_dim: int
    multi_crop: bool
    constant: str = ""

    def build(self, network: Encoder, config: PretrainConfig, steps_per_epoch: int) -> nn.Module:
        """Return the objective, with `network` and `forward(views) -> (loss, figures by name)`."""
        return self.make(network, config, config.proj_dim or self.proj_dim, steps_per_epoch)

    def optimizer_for(self, config: PretrainConfig) -> str:
        """Return the optimizer's name."""
        return self.optimizer if config.optimizer == "auto" else config.optimizer

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


def _simclr(network: Encoder, config: PretrainConfig, proj_dim: int, steps_per_epoch: int) -> nn.Module:
    return SimCLR(network, config.proj_hidden_dim, proj_dim, config.temperature)


def _simsiam(network: Encoder, config: PretrainConfig, proj_dim: int, steps_per_epoch: int) -> nn.Module:
    return SimSiam(network, config.proj_hidden_dim, proj_dim)


def _swav(network: Encoder, config: PretrainConfig, proj_dim: int, steps_per_epoch: int) -> nn.Module:
    return SwAV(
        network,
        config.proj_hidden_dim,
        proj_dim,
        num_prototypes=config.num_prototypes,
        temperature=config.temperature,
        epsilon=config.epsilon,
        iterations=config.sinkhorn_iterations,
        freeze_steps=config.freeze_prototypes_epochs * steps_per_epoch,
        queue_size=config.queue_size,
        queue_from_step=config.queue_from_epoch * steps_per_epoch,
    )


METHODS: dict[str, Method] = {
    # Chen et al. (2020), section 2.3: LARS at 0.3 * batch / 256.
    "simclr": Method(_simclr, optimizer="lars", lr=0.3, proj_dim=128, multi_crop=False),
    # Caron et al. (2020), appendix A: what it uses for batches of 256.
    "swav": Method(_swav, optimizer="lars", lr=0.6, proj_dim=128, multi_crop=True),
    # Chen & He (2021), section 3: plain SGD at 0.05 * batch / 256; section 4.2: a predictor whose rate does not decay.
    "simsiam": Method(_simsiam, optimizer="sgd", lr=0.05, proj_dim=2048, multi_crop=False, constant="predictor"),
}
