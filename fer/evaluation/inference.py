"""Compute a network's outputs and probabilities over packed images.

Whatever precision a network was trained in, it is validated, calibrated and tested in fp32, in which the registered
model answers too: a figure that was logged is the model's own.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.data.batches import evaluation_batches
from fer.data.packing import PackedImages
from fer.evaluation.calibration import softmax_with_temperature
from fer.models.backbones import Classifier
from fer.training.devices import full_fp32


def probabilities(
    network: nn.Module, images: PackedImages, indices: Tensor, image_size: int, batch_size: int
) -> NDArray[np.float64]:
    """Return the probabilities of some images in their order, at the network's temperature where it has one.

    Args:
        network: In evaluation mode, on the images' device; maps `(N, 3, H, W)` in [0, 255] to scores `(N, 7)`.
        images: The images.
        indices: Which of them, int64 `(N,)`.
        image_size: Side of the network's input.
        batch_size: Images per step.

    Returns:
        float64 `(N, 7)`; rows sum to 1.
    """
    temperature = network.spec.temperature if isinstance(network, Classifier) else 1.0
    return softmax_with_temperature(outputs(network, images, indices, image_size, batch_size).numpy(), temperature)


@torch.inference_mode()
def outputs(network: nn.Module, images: PackedImages, indices: Tensor, image_size: int, batch_size: int) -> Tensor:
    """Return what a network makes of some images in their order, float32 `(N, ...)` on the CPU; arguments as above."""
    rows = []
    with full_fp32():
        for batch in evaluation_batches(images, indices, image_size, batch_size):
            rows.append(network(batch.images).cpu())
    return torch.cat(rows)
