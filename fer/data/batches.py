"""Batches gathered on the device from packed arrays: no per-image Python, order and changes keyed by seed and epoch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fer.data.augment import COLUMNS, Strengths, augment, epoch_generator, resize
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import Pixels
from fer.expressions import EXPRESSIONS

RESIDENT_SHARE = 0.5
"""Part of a GPU's free memory the pixels may take; the rest is the network's."""


@dataclass(frozen=True)
class Batch:
    """Images on the device.

    Attributes:
        images: Float `(B, 3, H, W)`, RGB in [0, 255], channels last in memory.
        labels: int64 `(B,)`, index in `EXPRESSIONS`.
        index: int64 `(B,)` on the CPU, place in the pool.
    """

    images: Tensor
    labels: Tensor
    index: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Return what an objective is called with."""
        return self.images, self.labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


class ImagePool:
    """The images of one or several packed sets, addressed by one running index.

    The pixels stay on the device when they fit; otherwise each batch is gathered from the memory map and sent over,
    one batch ahead of the computation.

    Args:
        sets: (manifest, its packed pixels); sides may differ.
        device: Where batches go.
        resident: Whether the pixels stay on the device; None decides by its free memory.
    """

    def __init__(
        self, sets: Sequence[tuple[Manifest, Pixels]], device: torch.device, resident: bool | None = None
    ) -> None:
        self.device = device
        self.rows: tuple[ImageRow, ...] = tuple(row for manifest, _ in sets for row in manifest.images)
        self.labels = torch.tensor([EXPRESSIONS.index(row.expression) for row in self.rows], dtype=torch.int64)
        self.resident = _fits(sum(pixels.nbytes for _, pixels in sets), device) if resident is None else resident
        parts = [torch.from_numpy(pixels) for _, pixels in sets]
        self._parts = [part.to(device) for part in parts] if self.resident else parts
        self._starts = np.cumsum([0] + [len(part) for part in parts])

    def indices(self, *splits: str) -> Tensor:
        """Return the places of the images in these splits, int64 `(N,)`."""
        return torch.tensor([place for place, row in enumerate(self.rows) if row.split in splits], dtype=torch.int64)

    def gather(self, index: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return (positions in the batch, uint8 `(b, S, S, 3)`) for every set that has a part in the batch."""
        pieces = []
        for part, start, end in zip(self._parts, self._starts[:-1], self._starts[1:], strict=True):
            positions = torch.nonzero((index >= start) & (index < end)).squeeze(1)
            if len(positions):
                pixels = part[(index[positions] - int(start)).to(part.device)]
                if pixels.device != self.device:
                    pixels = (pixels.pin_memory() if self.device.type == "cuda" else pixels).to(
                        self.device, non_blocking=True
                    )
                pieces.append((positions, pixels))
        return pieces

    def stream(self, batches: Sequence[Tensor]) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Yield `gather` of each batch, reading one batch ahead when the pixels are not on the device."""
        if self.resident:
            yield from map(self.gather, batches)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self.gather, index) for index in batches[:1]]
            for following in [*batches[1:], None][: len(batches)]:
                ready = ahead.pop()
                if following is not None:
                    ahead.append(reader.submit(self.gather, following))
                yield ready.result()


def _fits(size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True  # the memory map itself serves as the array
    free, _ = torch.cuda.mem_get_info(device)
    return size < RESIDENT_SHARE * free


@dataclass(frozen=True)
class TrainingBatches:
    """Shuffled, changed batches; equal for equal (seed, epoch), wherever and in whatever order they are drawn.

    Attributes:
        pool: The images.
        members: Places in the pool to train on, int64 `(N,)`.
        image_size: Side of the network's input.
        batch_size: Images per batch. An incomplete last batch is dropped; every epoch has an order of its own.
        seed: Seed of order and changes.
        strengths: How far images are changed.
        rank: Which of several processes draws; each gets its share of every batch.
        world: How many processes there are.
    """

    pool: ImagePool
    members: Tensor
    image_size: int
    batch_size: int
    seed: int
    strengths: Strengths
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return max(len(self.members) // self.batch_size, 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from step `start` on."""
        generator = epoch_generator(self.seed, epoch)
        order = torch.randperm(len(self.members), generator=generator)
        chance = torch.rand(len(self.members), COLUMNS, generator=generator)
        whole = [order[step * self.batch_size : (step + 1) * self.batch_size] for step in range(start, len(self))]
        steps = [share(positions, self.rank, self.world) for positions in whole]
        pieces = self.pool.stream([self.members[positions] for positions in steps])
        plain = self.strengths == Strengths()
        for positions, gathered in zip(steps, pieces, strict=True):
            numbers = None if plain else chance[positions].to(self.pool.device)
            yield _batch(self.pool, self.members[positions], gathered, self.image_size, numbers, self.strengths)


def share(positions: Tensor, rank: int, world: int) -> Tensor:
    """Return one process's part of a batch; the parts are equally long and together the batch, less a remainder."""
    each = len(positions) // world
    return positions[rank * each : (rank + 1) * each]


def plain_batches(pool: ImagePool, members: Tensor, image_size: int, batch_size: int) -> Iterator[Batch]:
    """Yield the members in order and unchanged, the last batch as long as it is."""
    steps = [members[start : start + batch_size] for start in range(0, len(members), batch_size)]
    for index, gathered in zip(steps, pool.stream(steps), strict=True):
        yield _batch(pool, index, gathered, image_size, None, Strengths())


def _batch(
    pool: ImagePool,
    index: Tensor,
    gathered: list[tuple[Tensor, Tensor]],
    size: int,
    chance: Tensor | None,
    strengths: Strengths,
) -> Batch:
    images = torch.empty(len(index), 3, size, size, device=pool.device, memory_format=torch.channels_last)
    for positions, pixels in gathered:
        places = positions.to(pool.device)
        source = pixels.permute(0, 3, 1, 2).float()
        images[places] = (
            resize(source, size) if chance is None else augment(source, chance[places], strengths, size)
        )  # fmt: skip
    return Batch(images, pool.labels[index].to(pool.device), index)
