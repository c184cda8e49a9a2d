"""Batches cut from packed images on the device: no per-image Python, everything random keyed by seed and epoch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from fer.data.augment import FINETUNE_COLUMNS, Augmentation, augment, resize
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import Pixels
from fer.expressions import EXPRESSIONS

RESIDENT_FRACTION = 0.5
"""Part of a GPU's free memory that the pixels may take; the rest is the network's."""

Pieces = list[tuple[Tensor, Tensor]]
"""A batch's pixels, one piece per data set: positions in the batch, int64 `(b,)`, and uint8 `(b, 3, S, S)`.

Sets are packed at sides of their own, so that pieces cannot be joined before they are resized.
"""


class PackedImages:
    """The images of one or several packed data sets under one running index.

    The pixels stay on the device when they fit; otherwise each batch is read from the memory map and sent over.

    Args:
        sets: (manifest, its packed pixels); sides may differ.
        device: Where batches go.
        resident: Whether the pixels stay on the device; None decides by its free memory.
    """

    def __init__(
        self, sets: Sequence[tuple[Manifest, Pixels]], device: torch.device, resident: bool | None = None
    ) -> None:
        rows: list[ImageRow] = []
        for manifest, _ in sets:
            rows += manifest.images
        self.rows = tuple(rows)
        self.labels = torch.tensor([EXPRESSIONS.index(row.expression) for row in rows], dtype=torch.int64)
        self.device = device
        if resident is None:
            resident = _fits(sum(pixels.nbytes for _, pixels in sets), device)
        self.resident = resident
        self._parts = [torch.from_numpy(pixels).to(device if resident else "cpu") for _, pixels in sets]
        self._ends = list(accumulate(len(part) for part in self._parts))

    def indices(self, *splits: str) -> Tensor:
        """Return the indices of the images in these splits, int64 `(N,)`, rising."""
        return torch.tensor([n for n, row in enumerate(self.rows) if row.split in splits], dtype=torch.int64)

    def gather(self, indices: Tensor) -> Pieces:
        """Collect the pixels of a batch `(B,)` on the device."""
        pieces = []
        for part, end in zip(self._parts, self._ends, strict=True):
            start = end - len(part)
            positions = torch.nonzero((indices >= start) & (indices < end)).squeeze(1)
            if not len(positions):
                continue
            pixels = part[(indices[positions] - start).to(part.device)]
            if pixels.device != self.device:
                # Only pinned memory is copied while the GPU computes. The pixels travel as uint8: a quarter of floats.
                pixels = pixels.pin_memory() if self.device.type == "cuda" else pixels
                pixels = pixels.to(self.device, non_blocking=True)
            pieces.append((positions, pixels.permute(0, 3, 1, 2)))
        return pieces

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Pieces]:
        """Yield `gather` of each batch, reading one batch ahead when the pixels are not on the device."""
        if self.resident:
            yield from map(self.gather, batches)
            return
        waiting: Future[Pieces] | None = None
        with ThreadPoolExecutor(1) as reader:
            for indices in batches:
                following = reader.submit(self.gather, indices)
                if waiting:
                    yield waiting.result()
                waiting = following
            if waiting:
                yield waiting.result()


def _fits(size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True  # the memory map itself serves as the array
    free, _ = torch.cuda.mem_get_info(device)
    return size < RESIDENT_FRACTION * free


@dataclass(frozen=True)
class Batch:
    """Images on the device.

    Attributes:
        images: Float `(B, 3, H, W)`, RGB in [0, 255], channels last in memory.
        labels: int64 `(B,)`, index in `EXPRESSIONS`.
        indices: int64 `(B,)` on the CPU, among the packed images.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Return what an objective is called with."""
        return self.images, self.labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class ShuffledBatches:
    """Shuffled batches, equal for equal (seed, epoch), wherever and in whatever order epochs are drawn.

    Attributes:
        images: The packed images.
        indices: Those to train on, int64 `(N,)`.
        batch_size: Images per batch over all processes. An incomplete last batch is dropped.
        seed: Seed of order and augmentation.
        rank: Which of several processes draws; each gets its shard of every batch.
        world_size: How many processes there are.
    """

    images: PackedImages
    indices: Tensor
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return max(len(self.indices) // self.batch_size, 1)

    def draw(self, epoch: int, start: int, columns: int) -> Iterator[tuple[Tensor, Pieces, Tensor]]:
        """Yield (indices, pixels, rows of the random table) of each step of an epoch, from step `start` on."""
        generator = epoch_generator(self.seed, epoch)
        order = torch.randperm(len(self.indices), generator=generator)
        # Drawn for the whole epoch and indexed by image, on the CPU: an image's augmentation then does not depend on
        # the batch size, the process, the device or the step at which a stopped run goes on.
        random_table = torch.rand(len(self.indices), columns, generator=generator)
        steps = []
        for step in range(start, len(self)):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            steps.append(shard(whole, self.rank, self.world_size))
        stream = self.images.stream([self.indices[positions] for positions in steps])
        for positions, pieces in zip(steps, stream, strict=True):
            yield self.indices[positions], pieces, random_table[positions]


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the CPU generator of one epoch's order and augmentation: the same for every device."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def shard(positions: Tensor, rank: int, world_size: int) -> Tensor:
    """Return one process's part of a batch; the parts are equally long and together the batch, less a remainder."""
    length = len(positions) // world_size
    return positions[rank * length : (rank + 1) * length]


@dataclass(frozen=True, kw_only=True)
class TrainingBatches(ShuffledBatches):
    """Shuffled, augmented batches for training a classifier.

    Attributes:
        image_size: Side of the network's input.
        augmentation: How far images are changed.
    """

    image_size: int
    augmentation: Augmentation

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from step `start` on."""
        unchanged = self.augmentation == Augmentation()
        for indices, pieces, random_table in self.draw(epoch, start, FINETUNE_COLUMNS):
            numbers = None if unchanged else random_table.to(self.images.device)
            yield _make_batch(self.images, indices, pieces, self.image_size, numbers, self.augmentation)


def evaluation_batches(images: PackedImages, indices: Tensor, image_size: int, batch_size: int) -> Iterator[Batch]:
    """Yield images in order and without augmentation, the last batch as long as it is."""
    steps = torch.split(indices, batch_size) if len(indices) else ()
    for step, pieces in zip(steps, images.stream(steps), strict=True):
        yield _make_batch(images, step, pieces, image_size)


def _make_batch(
    images: PackedImages,
    indices: Tensor,
    pieces: Pieces,
    size: int,
    random_table: Tensor | None = None,
    augmentation: Augmentation | None = None,
) -> Batch:
    """Resize the pieces of a batch into one tensor, augmented where a random table is given."""
    batch = empty_images(len(indices), size, images.device)
    for positions, pixels in pieces:
        positions = positions.to(images.device)
        if random_table is None or augmentation is None:
            batch[positions] = resize(pixels.float(), size)
        else:
            batch[positions] = augment(pixels.float(), random_table[positions], augmentation, size)
    return Batch(batch, images.labels[indices].to(images.device), indices)


def empty_images(count: int, size: int, device: torch.device) -> Tensor:
    """Return uninitialised float images `(count, 3, size, size)`, channels last, where convolutions are fastest."""
    return torch.empty(count, 3, size, size, device=device, memory_format=torch.channels_last)
