"""Rows of all processes joined, for losses that compare every image of the global batch with every other.

Every function is a plain identity without `torch.distributed`. All processes must call alike and hold equally many
rows.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gathered(tensor: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their ranks, `(N, ...)` to `(world * N, ...)`.

    Differentiable. Let each rank r have a loss of its own, l_r, that sees the rows z_s of every rank s. The gradient of
    the mean of the losses is then the mean over s of (sum over r of dl_r / dz_s) * dz_s / dw. DDP takes the mean over s
    of what each rank s has computed; so the backward pass here gives rank s the sum over r, from all ranks' losses, and
    not only its own part. One process that holds all rows finds the same gradient.
    """
    if not _several():
        return tensor
    joined: Tensor = _Gather.apply(tensor)
    return joined


def gathered_plain(tensor: Tensor) -> Tensor:
    """Return what `gathered` returns, without a gradient."""
    if not _several():
        return tensor.detach()
    own = tensor.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return torch.cat(parts)


def rank_rows(joined: Tensor, count: int) -> Tensor:
    """Return this process's `count` rows of what was gathered."""
    start = first_row(count)
    return joined[start : start + count]


def first_row(count: int) -> int:
    """Return where the first of this process's `count` rows stands among the gathered ones."""
    return dist.get_rank() * count if _several() else 0


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """Joins the rows forward; backward sums the ranks' gradients and takes the own rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.count = len(tensor)
        return gathered_plain(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return rank_rows(total, ctx.count)
