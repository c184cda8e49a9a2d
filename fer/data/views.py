"""Views of self-supervised learning: changed copies of each image, cut on the device from one gathered batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fer.data.augment import VIEW_COLUMNS, Strengths, augment, epoch_generator
from fer.data.batches import ImagePool, share

SMALL_SIDE = 96 / 224
"""Side of a small view as a part of a large one's (Caron et al., "SwAV", 2020, appendix A)."""

SMALLEST_SIDE = 16
"""Less leaves nothing of a face, and nothing for the last layers of a backbone."""


@dataclass(frozen=True)
class ViewSpec:
    """Views of one kind.

    Attributes:
        count: How many of each image.
        size: Their side in pixels.
        strengths: How far they are changed.
    """

    count: int
    size: int
    strengths: Strengths


def two_views(size: int, strengths: Strengths) -> tuple[ViewSpec, ...]:
    """Return two views of one kind, as SimCLR and SimSiam compare."""
    return (ViewSpec(2, size, strengths),)


def multi_crop(size: int, small: int, strengths: Strengths, smallest: float = 0.05) -> tuple[ViewSpec, ...]:
    """Return SwAV's views: two large ones and several small ones (Caron et al. 2020, section 3.4).

    Args:
        size: Side of the large views.
        small: How many small views, of 96/224 of that side.
        strengths: How far all are changed. Its `crop` divides the shares of the area that are kept: large views keep
            from `crop` to everything, small ones from `smallest` to `crop` (in the paper 0.14 and 0.05).
        smallest: Smallest share that a small view keeps.
    """
    large = ViewSpec(2, size, strengths)
    if not small:
        return (large,)
    side = max(round(size * SMALL_SIDE), SMALLEST_SIDE)
    cut = replace(strengths, crop=min(smallest, strengths.crop), crop_high=strengths.crop)
    return large, ViewSpec(small, side, cut)


@dataclass(frozen=True)
class Views:
    """The views of a batch, on the device.

    Attributes:
        images: One float `(B, 3, S, S)` a view, RGB in [0, 255], channels last in memory; the same image stands at the
            same place in each.
        index: int64 `(B,)` on the CPU, place in the pool.
    """

    images: tuple[Tensor, ...]
    index: Tensor

    @property
    def inputs(self) -> tuple[list[Tensor]]:
        """Return what an objective is called with."""
        return (list(self.images),)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index)


@dataclass(frozen=True)
class ViewBatches:
    """Shuffled batches of views; equal for equal (seed, epoch), wherever and in whatever order they are drawn.

    Attributes:
        pool: The images.
        members: Places in the pool to train on, int64 `(N,)`.
        specs: The views of each image, in the order in which they are yielded.
        batch_size: Images per batch over all processes. An incomplete last batch is dropped.
        seed: Seed of order and changes.
        rank: Which of several processes draws; each gets an equal share of every batch, and the shares joined are the
            batch that one process alone would draw, less a remainder.
        world: How many processes there are.
    """

    pool: ImagePool
    members: Tensor
    specs: tuple[ViewSpec, ...]
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return max(len(self.members) // self.batch_size, 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Views]:
        """Yield the batches of an epoch, from step `start` on."""
        generator = epoch_generator(self.seed, epoch)
        order = torch.randperm(len(self.members), generator=generator)
        columns = VIEW_COLUMNS * sum(spec.count for spec in self.specs)
        chance = torch.rand(len(self.members), columns, generator=generator)
        whole = [order[step * self.batch_size : (step + 1) * self.batch_size] for step in range(start, len(self))]
        steps = [share(positions, self.rank, self.world) for positions in whole]
        pieces = self.pool.stream([self.members[positions] for positions in steps])
        for positions, gathered in zip(steps, pieces, strict=True):
            yield Views(self._cut(gathered, chance[positions].to(self.pool.device)), self.members[positions])

    def _cut(self, gathered: list[tuple[Tensor, Tensor]], chance: Tensor) -> tuple[Tensor, ...]:
        """Return all views of a batch, each from its own columns of `chance`, `(B, views x VIEW_COLUMNS)`."""
        kinds = [spec for spec in self.specs for _ in range(spec.count)]
        views = tuple(
            torch.empty(
                len(chance), 3, spec.size, spec.size, device=chance.device, memory_format=torch.channels_last
            )
            for spec in kinds
        )  # fmt: skip
        for positions, pixels in gathered:
            places = positions.to(chance.device)
            source = pixels.permute(0, 3, 1, 2).float()
            columns = chance[places].chunk(len(kinds), dim=1)
            for spec, view, own in zip(kinds, views, columns, strict=True):
                view[places] = augment(source, own, spec.strengths, spec.size)
        return views
