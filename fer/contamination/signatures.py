"""What is remembered of a set's images so that they are known again: pixel hashes and small grey pictures, cached.

The cache holds pictures of people: it stays under the data root and is never logged.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fer.data.images import pixel_hash
from fer.data.manifest import ImageRow, Manifest, read_manifest
from fer.errors import DataError
from fer.portable.framing import cut
from fer.portable.images import UnusableImage, read_rgb
from fer.utils.parallel import decode_within_budget, thread_pool
from fer.utils.paths import data_lock, manifest_path, translate_disk_errors

SMALL, LARGE = 16, 48
"""Sides of the thumbnails in pixels."""

Pixels = NDArray[np.uint8]
Names = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class ImageSignatures:
    """A set's images, or those of one split, as they are known again.

    The thumbnails show what networks see: the frame cut out, or the whole picture stretched to a square.

    Attributes:
        dataset: The set's name.
        digest: That of the manifest they belong to.
        paths: Places under the data root, `(N,)`.
        people: Identities where the set tells them, else empty, `(N,)`.
        pixels: Hashes of the whole pictures' pixels, `(N,)`.
        small: uint8 `(N, 16, 16)`, grey in [0, 255].
        large: uint8 `(N, 48, 48)`, likewise.
    """

    dataset: str
    digest: str
    paths: Names
    people: Names
    pixels: Names
    small: Pixels
    large: Pixels

    def __len__(self) -> int:
        return len(self.paths)


def image_signatures(manifest: Manifest, root: Path) -> ImageSignatures:
    """Return the signatures of a manifest's images, reading the pictures on the first call for this content.

    Args:
        manifest: A set or a part of it.
        root: The data root.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """
    path = _place(root, manifest.dataset, manifest.digest)
    with translate_disk_errors(root):
        if found := _load(path, manifest.dataset, manifest.digest):
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        with data_lock(root, f"{manifest.dataset}-signatures"):
            # Another process may have made it while this one waited.
            if found := _load(path, manifest.dataset, manifest.digest):
                return found
            made = _make(manifest, root)
            _save(made, path)
    return made


def load_signatures(dataset: str, digest: str, root: Path) -> ImageSignatures | None:
    """Return the signatures of a training split by its digest: from the cache, or made if the data root holds it.

    Args:
        dataset: The set's name.
        digest: Of the training split, as `manifest.of("train").digest`.
        root: The data root.

    Raises:
        DataError: A picture or the manifest can no longer be read, or the disk is full.
    """
    with translate_disk_errors(root):
        if found := _load(_place(root, dataset, digest), dataset, digest):
            return found
    place = manifest_path(root, dataset)
    train = read_manifest(place).of("train") if place.is_file() else None
    return image_signatures(train, root) if train is not None and train.digest == digest else None


def grey(row: ImageRow, root: Path) -> Image.Image:
    """Return a picture as displayed, whole and without colour.

    Raises:
        DataError: It can no longer be read.
    """
    return _read(row, root).convert("L")


def _read(row: ImageRow, root: Path) -> Image.Image:
    try:
        return read_rgb(root / row.path)
    except UnusableImage as fault:
        raise DataError(f"{root / row.path}: {fault}; run prepare again for this set") from None


def _place(root: Path, dataset: str, digest: str) -> Path:
    return root / "signatures" / f"{dataset}-{digest}.npz"


def _load(path: Path, dataset: str, digest: str) -> ImageSignatures | None:
    """Return what a file holds; None where it is missing or damaged, so that it is made again."""
    try:
        with np.load(path) as arrays:
            found = ImageSignatures(dataset, digest, *(arrays[name] for name in _ARRAYS))
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    count = len(found.paths)
    shapes = (found.small.shape, found.large.shape)
    return found if shapes == ((count, SMALL, SMALL), (count, LARGE, LARGE)) else None


_ARRAYS = ("paths", "people", "pixels", "small", "large")


def _save(made: ImageSignatures, path: Path) -> None:
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **{name: getattr(made, name) for name in _ARRAYS})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _make(manifest: Manifest, root: Path) -> ImageSignatures:
    rows, count = manifest.images, len(manifest.images)
    small, large = np.empty((count, SMALL, SMALL), np.uint8), np.empty((count, LARGE, LARGE), np.uint8)

    def look(index: int) -> str:
        picture = _read(rows[index], root)
        seen = cut(picture, rows[index].square(), LARGE).convert("L")
        large[index] = np.asarray(seen)
        small[index] = np.asarray(seen.resize((SMALL, SMALL), Image.Resampling.BILINEAR))
        return pixel_hash(picture)

    def look_within_memory(index: int) -> str:
        return decode_within_budget(root / rows[index].path, lambda: look(index))

    with thread_pool() as pool:
        found = pool.map(look_within_memory, range(count))
        told = tqdm(found, f"remember {manifest.dataset}", count, unit="image", disable=None)
        pixels = list(told)
    return ImageSignatures(
        manifest.dataset, manifest.digest, np.array([row.path for row in rows], np.str_),
        np.array([row.person for row in rows], np.str_), np.array(pixels, np.str_), small, large,
    )  # fmt: skip
