"""`pretrain`: train an encoder on faces without their labels; probes that do use labels watch it learn."""

from fer.config.training import PretrainConfig
from fer.pipeline.pretrain import PretrainResult, pretrain_encoder


def run(config: PretrainConfig) -> PretrainResult:
    """Pre-train an encoder and print its probes' figures and where to look at the run."""
    result = pretrain_encoder(config)
    print(f"{result.summary()}\n{result.where}")
    return result
