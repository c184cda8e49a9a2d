"""Packed images: prepared sets decoded once into uint8 arrays, from which batches are gathered on the device.

Training never reads an image file, and runs no Python for a single image.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fer.data.manifest import SPLITS, ImageRow, Manifest
from fer.errors import LONGEST_PATH, DataError, shortened
from fer.expressions import EXPRESSIONS
from fer.portable.framing import cut
from fer.portable.images import UnusableImage, decode
from fer.portable.memory import open_within_budget
from fer.utils.atomic import atomic_path
from fer.utils.compact_rows import CompactRows
from fer.utils.parallel import map_on_all_cores
from fer.utils.paths import data_lock, translate_disk_errors

RESIDENT_FRACTION = 0.5
"""Part of a GPU's free memory that the pixels may take; the rest is the network's."""

Pixels = NDArray[np.uint8]
Pieces = list[tuple[Tensor, Tensor]]
"""A batch's pixels, one piece per data set: positions in the batch, int64 `(b,)`, and uint8 `(b, 3, S, S)`.

Sets are packed at sides of their own, so that pieces cannot be joined before they are resized.
"""


def packed_side(native_side: int, image_size: int) -> int:
    """Return the side to pack at: the pictures' own, or the network's input where that is smaller.

    Larger would waste memory and alias when the device shrinks it; smaller would lose detail.
    """
    return min(native_side, image_size)


def pack(manifest: Manifest, root: Path, side: int) -> Pixels:
    """Load a set's pixels, decoding them on the first call for this content and size.

    Pictures are cut to their frames; those without one are stretched to a square, as the 2021 project did.

    Args:
        manifest: The whole set.
        root: The data root.
        side: Side of the square in pixels.

    Returns:
        A read-only memory map, uint8 `(N, side, side, 3)`, RGB in [0, 255], in the manifest's order.

    Raises:
        DataError: An image of the tree can no longer be read, the packed file is damaged, or the disk is full.
    """
    # The name carries what the pixels depend on, so that a file never has to be checked against the set.
    path = root / "packed" / f"{manifest.dataset}-{manifest.digest}-{side}.npy"
    if not path.is_file():
        with translate_disk_errors(root), data_lock(root, f"{manifest.dataset}-packed"):
            # Another process may have packed the set while this one waited.
            if not path.is_file():
                _remove_outdated(path.parent, manifest)
                with atomic_path(path) as partial:
                    _decode_all(manifest, root, side, partial)
    # NumPy raises nearly anything for a damaged file.
    with suppress(Exception):
        # Mapped, not read: processes share the pages, and a set larger than memory works. As uint8 it is a quarter of
        # what floats would take. Copy-on-write, because torch warns of arrays that cannot be written to.
        pixels: Pixels = np.load(path, mmap_mode="c")
        if pixels.dtype == np.uint8 and pixels.shape == (len(manifest.images), side, side, 3):
            return pixels
    raise DataError(f"{path} is damaged: delete it, and it is made again")


def _remove_outdated(folder: Path, manifest: Manifest) -> None:
    # Another set's name may begin alike.
    any_digest = "[0-9a-f]" * len(manifest.digest)
    for old in folder.glob(f"{manifest.dataset}-{any_digest}-*.npy"):
        if manifest.digest not in old.name:
            old.unlink()


def _decode_all(manifest: Manifest, root: Path, side: int, path: Path) -> None:
    """Write the `.npy` file of a set's pixels."""
    rows = manifest.images
    shape = (len(rows), side, side, 3)
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        # Writing to a mapped page without room behind it would kill the process, without a word.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def read(row: ImageRow) -> Pixels:
        source = root / row.path
        try:
            return open_within_budget(source, lambda image: np.asarray(cut(decode(image)[0], row.square(), side)))
        except UnusableImage as error:
            cure = f"run prepare again for {manifest.dataset!r}"
            raise DataError(f"{shortened(str(source), LONGEST_PATH)}: {error}; {cure}") from None

    def fill(indices: Sequence[int]) -> Sequence[int]:
        for index in indices:
            pixels[index] = read(rows[index])
        return indices

    title = f"pack {manifest.dataset} at {side} px"
    with map_on_all_cores(fill, range(len(rows))) as done:
        for _ in tqdm(done, title, len(rows), unit="image"):
            pass
    pixels.flush()


class PackedImages:
    """The images of one or several packed data sets under one running index.

    The pixels stay on the device when they fit; otherwise each batch is read from the memory map and sent over.

    Args:
        sets: (manifest, its packed pixels); sides may differ.
        device: Where batches go.
        resident: Whether the pixels stay on the device; None decides by its free memory.
    """

    def __init__(
        self,
        sets: Sequence[tuple[Manifest, Pixels]],
        device: torch.device,
        resident: bool | None = None,
    ) -> None:
        self.manifests = tuple(manifest for manifest, _ in sets)
        self.rows = CompactRows(ImageRow)
        for manifest in self.manifests:
            self.rows += manifest.images
        self.labels = _codes(self.rows.column("expression"), EXPRESSIONS, len(self.rows))
        self._splits = _codes(self.rows.column("split"), SPLITS, len(self.rows))
        self.device = device
        if resident is None:
            resident = _fits(sum(pixels.nbytes for _, pixels in sets), device)
        self.resident = resident
        place = device if resident else "cpu"
        self._parts = [torch.from_numpy(pixels).to(place) for _, pixels in sets]
        self._ends = list(accumulate(len(part) for part in self._parts))

    def indices(self, *splits: str) -> Tensor:
        """Return the indices of the images in these splits, int64 `(N,)`, rising."""
        codes = torch.tensor([code for code, split in enumerate(SPLITS) if split in splits], dtype=torch.int64)
        return torch.nonzero(torch.isin(self._splits, codes)).squeeze(1)

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


def _codes(names: Iterator[str], known: Sequence[str], count: int) -> Tensor:
    """Return the position of each name among the known ones, int64 `(count,)`."""
    code_of = {name: code for code, name in enumerate(known)}
    return torch.from_numpy(np.fromiter(map(code_of.__getitem__, names), np.int64, count))


def _fits(size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True  # the memory map itself serves as the array
    free, _ = torch.cuda.mem_get_info(device)
    return size < RESIDENT_FRACTION * free


def select_label_fraction(
    names: Sequence[str],
    labels: Tensor,
    indices: Tensor,
    fraction: float,
    seed: int,
) -> Tensor:
    """Choose a stratified part of the training images, as if only they had been labelled.

    Args:
        names: Name of every packed image, `(P,)`.
        labels: Class of every packed image, `(P,)`.
        indices: Images to choose among, `(N,)`.
        fraction: Part of each class, in (0, 1]; at least one image of a class that occurs.
        seed: Which part.

    Returns:
        The chosen indices, rising.
    """

    def rank(index: int) -> bytes:
        # By a hash of the name, so that the part is the same on every machine and a smaller one lies inside a larger.
        return hashlib.sha256(f"{seed}/{names[index]}".encode()).digest()

    kept: list[int] = []
    for label in range(len(EXPRESSIONS)):
        ranked = sorted(indices[labels[indices] == label].tolist(), key=rank)
        kept += ranked[: max(round(fraction * len(ranked)), 1)]
    return torch.tensor(sorted(kept), dtype=torch.int64)


def undersample(labels: Tensor, indices: Tensor, seed: int) -> Tensor:
    """Drop random images until every class that occurs has as many as the rarest; return the indices that stay, rising.

    Args:
        labels: Class of every packed image, `(P,)`.
        indices: Images to choose among, `(N,)`.
        seed: Which ones stay.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = [indices[labels[indices] == label] for label in range(len(EXPRESSIONS))]
    fewest = min(len(group) for group in groups if len(group))
    kept = []
    for group in groups:
        order = torch.randperm(len(group), generator=generator)
        kept.append(group[order[:fewest]])
    return torch.cat(kept).sort().values
