"""Which precision a command computes in."""

import torch

from fer.models.backbones import Classifier, has_depthwise
from fer.training import bf16_helps


def use_bf16(option: str, device: torch.device, classifier: Classifier) -> bool:
    """Return whether to compute in bfloat16: as the option says, or for `auto` where it is faster."""
    if option == "auto":
        return bf16_helps(device, has_depthwise(classifier))
    return option == "bf16"
