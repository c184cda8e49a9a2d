"""Processes of one training, as torchrun starts them: ranks, agreement, and gathering of tensors."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fer.utils.processes import rank, world_size

T = TypeVar("T")


class Peers:
    """Communication between the processes of one training, besides gradients.

    Every method must be called by all processes alike. With one process each is a plain function call.
    """

    def __init__(self) -> None:
        # Gloo in the processors' memory, so that asking costs a GPU nothing.
        self._group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None

    def all_reduce_max(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        if self._group is None:
            return number
        # Asked at every step, so a tensor: gathering objects would pickle.
        value = torch.tensor(number)
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=self._group)
        return int(value)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return any(self.gather(flag))

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return the mean of each value over the processes; all must hold the same keys."""
        by_rank = self.gather(values)
        return {key: sum(own[key] for own in by_rank) / len(by_rank) for key in values}

    def gather(self, value: T) -> list[T]:
        """Return the processes' values in the order of their ranks."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * world_size()
        dist.all_gather_object(values, value, group=self._group)
        return values

    def broadcast_from_rank_zero(self, compute: Callable[[], T]) -> T:
        """Compute a value in the first process and return it in all."""
        if self._group is None:
            return compute()
        values: list[Any] = [compute() if rank() == 0 else None]
        dist.broadcast_object_list(values, src=0, group=self._group)
        result: T = values[0]
        return result


def all_gather_with_grad(tensor: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their ranks, `(N, ...)` to `(world * N, ...)`, differentiable.

    One process that holds all rows finds the same gradient.
    """
    if not _several():
        return tensor
    rows: Tensor = _Gather.apply(tensor)
    return rows


def all_gather(tensor: Tensor) -> Tensor:
    """Return what `all_gather_with_grad` returns, without a gradient."""
    own = tensor.detach()
    if not _several():
        return own
    own = own.contiguous()
    by_rank = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(by_rank, own)
    return torch.cat(by_rank)


def rank_offset(count: int) -> int:
    """Return the index of the first of this process's `count` rows among the gathered ones."""
    return dist.get_rank() * count if _several() else 0


def rank_rows(gathered: Tensor, count: int) -> Tensor:
    """Return this process's `count` rows among the gathered ones."""
    start = rank_offset(count)
    return gathered[start : start + count]


def _several() -> bool:
    # The environment may name several processes before they have found each other.
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """Concatenate all ranks' rows; backward, sum the ranks' gradients and take the own rows.

    Let each rank r have a loss of its own, l_r, that sees the rows z_s of every rank s. The gradient of the mean of the
    losses is then the mean over s of (sum over r of dl_r / dz_s) * dz_s / dw. DDP takes the mean over s of what each
    rank s has computed; so the backward pass here gives rank s the sum over r, from all ranks' losses.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.count = len(tensor)
        return all_gather(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return rank_rows(total, ctx.count)
