"""A prepared set decoded once into a memory-mapped uint8 array, so that training never touches an image file."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fer.data.manifest import ImageRow, Manifest
from fer.errors import DataError
from fer.portable.framing import cut
from fer.portable.images import UnusableImage, read_rgb
from fer.utils.parallel import decode_within_budget, thread_pool
from fer.utils.paths import data_lock, translate_disk_errors

Pixels = NDArray[np.uint8]


def packed_side(native_side: int, image_size: int) -> int:
    """Return the side to pack at: the pictures' own, or the network's input where that is smaller.

    Larger would waste memory and alias when the device shrinks it; smaller would lose detail.
    """
    return min(native_side, image_size)


def pack(manifest: Manifest, root: Path, side: int) -> Pixels:
    """Return a set's pixels, decoding them on the first call for this content and size.

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
    folder = root / "packed"
    path = folder / f"{manifest.dataset}-{manifest.digest}-{side}.npy"
    shape = (len(manifest.images), side, side, 3)
    with translate_disk_errors(root):
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with data_lock(root, f"{manifest.dataset}-packed"):
                if not path.is_file():
                    _remove_outdated(folder, manifest)
                    _decode_all(manifest, root, shape, path)
    with suppress(ValueError, EOFError):
        # Copy-on-write, because torch warns of arrays that cannot be written to; nothing here writes.
        array: Pixels = np.load(path, mmap_mode="c")
        if array.shape == shape and array.dtype == np.uint8:
            return array
    raise DataError(f"{path} is damaged: delete it, and it is made again")


def _remove_outdated(folder: Path, manifest: Manifest) -> None:
    for old in folder.glob(f"{manifest.dataset}-" + "[0-9a-f]" * len(manifest.digest) + "-*.npy"):
        if manifest.digest not in old.name:
            old.unlink()


def _decode_all(manifest: Manifest, root: Path, shape: tuple[int, int, int, int], path: Path) -> None:
    partial = path.with_suffix(".partial")

    def decode(index: int) -> None:
        row = manifest.images[index]
        place = root / row.path
        try:
            array[index] = decode_within_budget(place, lambda: np.asarray(cut(read_rgb(place), row.square(), shape[1])))
        except UnusableImage as fault:
            raise DataError(f"{place}: {fault}; run prepare again for {manifest.dataset!r}") from None

    try:
        with thread_pool() as pool:
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            with partial.open("r+b") as file:
                # Writing to a mapped page without room behind it would kill the process, without a word.
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
            done = pool.map(decode, range(len(manifest.images)))
            for _ in tqdm(done, f"pack {manifest.dataset} at {shape[1]} px", len(manifest.images), unit="image"):
                pass
            array.flush()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def as_seen(row: ImageRow, root: Path) -> Image.Image:
    """Return a picture as networks see it, before any resizing: what its frame holds, or the whole picture.

    Raises:
        UnusableImage: As `read_rgb`.
    """
    picture, frame = read_rgb(root / row.path), row.square()
    return cut(picture, frame, max(round(frame.side), 1)) if frame else picture
