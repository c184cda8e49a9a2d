"""Views of self-supervised learning: augmented copies of each image, cut on the device from one gathered batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from fer.data.augment import VIEW_COLUMNS, Augmentation, augment
from fer.data.batches import Pieces, ShuffledBatches, empty_images

SMALL_SIDE = 96 / 224
"""Side of a small view as a fraction of a large one's (Caron et al., "SwAV", 2020, appendix A)."""

SMALLEST_CROP = 0.05
"""Smallest fraction of the area that a small view keeps (likewise)."""

MIN_SIDE = 16
"""Smaller views leave nothing of a face, and nothing for the last layers of a backbone."""


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


def two_views(size: int, augmentation: Augmentation) -> tuple[ViewSpec, ...]:
    """Return two views of one kind, as SimCLR and SimSiam compare."""
    return (ViewSpec(2, size, augmentation),)


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
        views = [empty_images(len(random_table), spec.size, device) for spec in specs]
        for positions, pixels in pieces:
            positions = positions.to(device)
            images = pixels.float()
            tables = random_table[positions].chunk(len(specs), dim=1)
            for spec, view, table in zip(specs, views, tables, strict=True):
                view[positions] = augment(images, table, spec.augmentation, spec.size)
        return tuple(views)
