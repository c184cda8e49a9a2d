"""Batches of images for a classifier, and of views for self-supervised learning, made on the device.

No Python runs for a single image, and everything random is keyed by seed and epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fer.data.augment import FINETUNE_COLUMNS, VIEW_COLUMNS, Augmentation, augment, resize
from fer.data.packing import PackedImages, Pieces

SMALL_SIDE = 96 / 224
"""Side of a small view as a fraction of a large one's (Caron et al., "SwAV", 2020, appendix A)."""
SMALLEST_CROP = 0.05
"""Smallest fraction of the area that a small view keeps (likewise)."""
MIN_SIDE = 16
"""Smaller views leave nothing of a face, and nothing for the last layers of a backbone."""


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
        # Without augmentation images are only resized, as they are for a test.
        augmentation = self.augmentation if self.augmentation != Augmentation() else None
        for indices, pieces, random_table in self.draw(epoch, start, FINETUNE_COLUMNS):
            numbers = random_table.to(self.images.device)
            yield _make_batch(self.images, indices, pieces, self.image_size, numbers, augmentation)


def evaluation_batches(
    images: PackedImages,
    indices: Tensor,
    image_size: int,
    batch_size: int,
) -> Iterator[Batch]:
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
    """Resize the pieces of a batch into one tensor, augmented where both a random table and how far are given."""
    batch = _empty_images(len(indices), size, images.device)
    for positions, pixels in pieces:
        positions = positions.to(images.device)
        if random_table is None or augmentation is None:
            batch[positions] = resize(pixels.float(), size)
        else:
            batch[positions] = augment(pixels.float(), random_table[positions], augmentation, size)
    return Batch(batch, images.labels[indices].to(images.device), indices)


def _empty_images(count: int, size: int, device: torch.device) -> Tensor:
    # Channels last, where convolutions are fastest.
    return torch.empty(count, 3, size, size, device=device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class ViewSpec:
    """Views of one kind.

    Attributes:
        count: How many of each image.
        size: Their side in pixels.
        augmentation: How far they are changed.
    """

    count: int
    size: int
    augmentation: Augmentation


def multi_crop(size: int, num_small: int, augmentation: Augmentation) -> tuple[ViewSpec, ...]:
    """Return SwAV's views: two large ones and several small ones (Caron et al. 2020, section 3.4).

    Args:
        size: Side of the large views.
        num_small: How many small views, of 96/224 of that side.
        augmentation: How far all are changed. Its `crop_min` divides the fractions of the area that are kept: large
            views keep from `crop_min` to everything, small ones from `SMALLEST_CROP` to `crop_min` (in the paper from
            0.14 and 0.05).
    """
    large = ViewSpec(2, size, augmentation)
    if not num_small:
        return (large,)
    crop = augmentation.crop_min
    small = replace(augmentation, crop_min=min(SMALLEST_CROP, crop), crop_max=crop)
    small_size = max(round(size * SMALL_SIDE), MIN_SIDE)
    return large, ViewSpec(num_small, small_size, small)


@dataclass(frozen=True)
class Views:
    """The views of a batch, on the device.

    Attributes:
        images: One float `(B, 3, S, S)` per view, RGB in [0, 255], channels last in memory, with the same image at
            the same position in each.
        indices: int64 `(B,)` on the CPU, among the packed images.
    """

    images: tuple[Tensor, ...]
    indices: Tensor

    @property
    def inputs(self) -> tuple[list[Tensor]]:
        """Return what an objective is called with."""
        return (list(self.images),)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.indices)


@dataclass(frozen=True, kw_only=True)
class ViewBatches(ShuffledBatches):
    """Shuffled batches of views.

    Attributes:
        specs: The views of each image, in the order in which they are yielded.
    """

    specs: tuple[ViewSpec, ...]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Views]:
        """Yield the batches of an epoch, from step `start` on."""
        num_views = sum(spec.count for spec in self.specs)
        for indices, pieces, random_table in self.draw(epoch, start, VIEW_COLUMNS * num_views):
            yield Views(self._cut(pieces, random_table.to(self.images.device)), indices)

    def _cut(self, pieces: Pieces, random_table: Tensor) -> tuple[Tensor, ...]:
        """Cut all views of a batch, each by its own columns of the random table `(B, views x VIEW_COLUMNS)`."""
        device = random_table.device
        specs: list[ViewSpec] = []
        for spec in self.specs:
            specs += [spec] * spec.count
        views = [_empty_images(len(random_table), spec.size, device) for spec in specs]
        for positions, pixels in pieces:
            positions = positions.to(device)
            images = pixels.float()
            tables = random_table[positions].chunk(len(specs), dim=1)
            for spec, view, table in zip(specs, views, tables, strict=True):
                view[positions] = augment(images, table, spec.augmentation, spec.size)
        return tuple(views)
