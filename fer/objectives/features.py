"""Features of several views of each image, and full precision for losses."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn


def encode_views(network: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """Encode all views, those of equal neighbouring sizes as one batch.

    One large batch is faster than several small ones, and its batch norm sees all views alike.

    Args:
        network: Maps `(N, 3, H, W)` to `(N, features)`.
        views: V batches `(N, 3, H, W)` of views of the same N images, RGB in [0, 255].

    Returns:
        `(V * N, features)`, view by view.
    """
    # Only neighbours are joined, so that the order of the views stays.
    by_size = groupby(views, key=lambda view: view.shape[-2:])
    return torch.cat([network(torch.cat(list(same_size))) for _, same_size in by_size])


def disabled_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context in which float32 tensors on this one's device are computed in float32.

    Losses need it: the bf16 that autocast gives matrix products has 8 bits, so cosines near 1 would come in steps of
    0.004, which a temperature of 0.1 multiplies by ten.
    """
    return torch.autocast(tensor.device.type, enabled=False)
