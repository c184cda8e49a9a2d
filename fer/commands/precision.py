"""Which precision a command computes in."""

import torch

from fer.devices import bf16_helps
from fer.models.backbones import Classifier, Encoder, has_depthwise


def use_bf16(option: str, device: torch.device, network: Classifier | Encoder) -> bool:
    """Return whether to compute in bfloat16: as the option says, or for `auto` where it is faster."""
    if option == "auto":
        return bf16_helps(device, has_depthwise(network))
    return option == "bf16"
