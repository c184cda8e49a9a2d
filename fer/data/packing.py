"""Prepared sets decoded once into memory-mapped uint8 arrays, so that training never reads an image file."""

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
from fer.utils.atomic import atomic_path
from fer.utils.parallel import decode_within_budget, thread_pool
from fer.utils.paths import data_lock, translate_disk_errors

Pixels = NDArray[np.uint8]


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
    with suppress(ValueError, EOFError):
        # Mapped, not read: processes share the pages, and a set larger than memory works. As uint8 it is a quarter of
        # what floats would take. Copy-on-write, because torch warns of arrays that cannot be written to.
        pixels: Pixels = np.load(path, mmap_mode="c")
        if pixels.shape == (len(manifest.images), side, side, 3) and pixels.dtype == np.uint8:
            return pixels
    raise DataError(f"{path} is damaged: delete it, and it is made again")


def _remove_outdated(folder: Path, manifest: Manifest) -> None:
    any_digest = "[0-9a-f]" * len(manifest.digest)
    for old in folder.glob(f"{manifest.dataset}-{any_digest}-*.npy"):
        if manifest.digest not in old.name:
            old.unlink()


def _decode_all(manifest: Manifest, root: Path, side: int, path: Path) -> None:
    """Write the `.npy` file of a set's pixels."""
    rows = manifest.images
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(rows), side, side, 3))
    with path.open("r+b") as file:
        # Writing to a mapped page without room behind it would kill the process, without a word.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def decode(index: int) -> None:
        row = rows[index]
        source = root / row.path
        try:
            pixels[index] = decode_within_budget(source, lambda: np.asarray(cut(read_rgb(source), row.square(), side)))
        except UnusableImage as error:
            raise DataError(f"{source}: {error}; run prepare again for {manifest.dataset!r}") from None

    title = f"pack {manifest.dataset} at {side} px"
    with thread_pool() as executor:
        for _ in tqdm(executor.map(decode, range(len(rows))), title, len(rows), unit="image"):
            pass
    pixels.flush()


def read_framed(row: ImageRow, root: Path) -> Image.Image:
    """Read a picture as networks see it, before any resizing: what its frame holds, or the whole picture.

    Raises:
        UnusableImage: As `read_rgb`.
    """
    picture = read_rgb(root / row.path)
    frame = row.square()
    if frame is None:
        return picture
    return cut(picture, frame, max(round(frame.side), 1))
