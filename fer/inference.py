"""Probabilities of a network over a pool of images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.calibration import softened
from fer.data.batches import ImagePool, plain_batches
from fer.models.backbones import Classifier


def probabilities(
    network: nn.Module, pool: ImagePool, members: Tensor, image_size: int, batch_size: int, bf16: bool
) -> NDArray[np.float64]:
    """Return the probabilities of some images in their order, at the network's temperature where it has one.

    Args:
        network: In evaluation mode, on the pool's device; maps `(N, 3, H, W)` in [0, 255] to scores `(N, 7)`.
        pool: The images.
        members: Which of them, int64 `(N,)`.
        image_size: Side of the network's input.
        batch_size: Images per step.
        bf16: Whether to compute in bfloat16.

    Returns:
        float64 `(N, 7)`; rows sum to 1.
    """
    temperature = network.spec.temperature if isinstance(network, Classifier) else 1.0
    return softened(outputs(network, pool, members, image_size, batch_size, bf16).numpy(), temperature)


@torch.inference_mode()
def outputs(
    network: nn.Module, pool: ImagePool, members: Tensor, image_size: int, batch_size: int, bf16: bool
) -> Tensor:
    """Return what a network makes of some images in their order, float32 `(N, ...)` on the CPU; arguments as above."""
    rows = []
    for batch in plain_batches(pool, members, image_size, batch_size):
        with torch.autocast(pool.device.type, torch.bfloat16, enabled=bf16):
            found = network(batch.images)
        rows.append(found.float().cpu())
    return torch.cat(rows)
