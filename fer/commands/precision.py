"""Which precision a command trains in."""

import torch

from fer.devices import bf16_helps
from fer.errors import ConfigError
from fer.models.backbones import Classifier, Encoder, has_depthwise, strides_over_one_pixel


def use_bf16(option: str, device: torch.device, network: Classifier | Encoder, side: int) -> bool:
    """Return whether to train in bfloat16: as the option says, or for `auto` where it is faster and right.

    Args:
        option: `auto`, `bf16` or `fp32`.
        device: Where to compute.
        network: What to train, still on the CPU.
        side: Side of the smallest images to train on.

    Raises:
        ConfigError: bf16 was asked for where torch computes wrong gradients in it.
    """
    wrong = device.type == "cpu" and option != "fp32" and strides_over_one_pixel(network, side)
    if option == "bf16" and wrong:
        raise ConfigError(
            f"precision=bf16 gives wrong gradients on a CPU where {network.spec.arch} sees pictures of {side} pixels: "
            "give precision=fp32 or larger pictures"
        )
    if option == "auto":
        return bf16_helps(device, has_depthwise(network)) and not wrong
    return option == "bf16"
