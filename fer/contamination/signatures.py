"""Compute and cache signatures of images, by which they are recognised: pixel hashes and small grey pictures.

The cache holds pictures of people: it stays under the data root and is never logged.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fer.data.images import pixel_hash
from fer.data.manifest import ImageRow, Manifest, read_manifest
from fer.errors import LONGEST_PATH, DataError, shortened
from fer.portable.framing import cut
from fer.portable.images import UnusableImage, decode
from fer.portable.memory import open_within_budget
from fer.utils.atomic import cached
from fer.utils.parallel import map_on_all_cores
from fer.utils.paths import data_lock, manifest_path, translate_disk_errors

T = TypeVar("T")

SMALL, LARGE = 16, 48
"""Sides of the thumbnails in pixels."""
WHOLE_SIDE = 96
"""Shorter side in pixels of whole test pictures."""
VERSION = 1
"""Of a cached file: raised whenever signatures come out otherwise, so that they are computed anew."""

Pixels = NDArray[np.uint8]
Names = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class ImageSignatures:
    """Signatures of the images of a set or of one of its splits.

    The thumbnails show what networks see: the frame cut out, or the whole picture stretched to a square.

    Attributes:
        dataset: The set's name.
        digest: That of the manifest they belong to.
        paths: Under the data root, `(N,)`.
        people: Identities where the set names them, else empty, `(N,)`.
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


_ARRAYS = ("paths", "people", "pixels", "small", "large")


def image_signatures(manifest: Manifest, root: Path) -> ImageSignatures:
    """Return the signatures of a manifest's images, reading the pictures on the first call for this content.

    Args:
        manifest: A set or a part of it.
        root: The data root.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """

    def read(path: Path) -> ImageSignatures | None:
        signatures = _read(path, manifest.dataset, manifest.digest)
        return signatures if signatures is not None and len(signatures) == len(manifest.images) else None

    with translate_disk_errors(root):
        return cached(
            _path(root, manifest.dataset, manifest.digest),
            read=read,
            make=lambda: _compute(manifest, root),
            write=_write,
            lock=data_lock(root, f"{manifest.dataset}-signatures"),
        )


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
        signatures = _read(_path(root, dataset, digest), dataset, digest)
    # A model may have been trained where the pictures were, and be tested where only their signatures are.
    path = manifest_path(root, dataset)
    if signatures is not None or not path.is_file():
        return signatures
    train = read_manifest(path).of("train")
    return image_signatures(train, root) if train.digest == digest else None


def read_grey(row: ImageRow, root: Path) -> Image.Image:
    """Return a picture as displayed, whole and without colour.

    Raises:
        DataError: It can no longer be read.
    """
    return _decode(row, root, lambda picture: picture.convert("L"))


def whole_images(manifest: Manifest, root: Path) -> list[Pixels]:
    """Return the whole pictures of a manifest, grey, their shorter side 96 px.

    Raises:
        DataError: A picture can no longer be read.
    """
    pictures = []
    for row in manifest.images:
        picture = read_grey(row, root)
        scale = WHOLE_SIDE / min(picture.size)
        width, height = (max(round(side * scale), WHOLE_SIDE) for side in picture.size)
        pictures.append(np.asarray(picture.resize((width, height))))
    return pictures


def _decode(row: ImageRow, root: Path, work: Callable[[Image.Image], T]) -> T:
    try:
        return open_within_budget(root / row.path, lambda image: work(decode(image)[0]))
    except UnusableImage as fault:
        raise DataError(f"{shortened(row.path, LONGEST_PATH)}: {fault}; run prepare again for this set") from None


def _path(root: Path, dataset: str, digest: str) -> Path:
    # By content: a set prepared anew has other signatures, and the older ones still serve older models.
    return root / "signatures" / f"{dataset}-{digest}.npz"


def _read(path: Path, dataset: str, digest: str) -> ImageSignatures | None:
    """Return what a file holds; None where it is absent, damaged or of another version."""
    # NumPy raises nearly anything for a damaged file, and returns other things than archives of arrays.
    with suppress(Exception), np.load(path) as arrays:
        if arrays["version"] == VERSION:
            signatures = ImageSignatures(dataset, digest, *(arrays[name] for name in _ARRAYS))
            return signatures if _is_whole(signatures) else None
    return None


def _is_whole(signatures: ImageSignatures) -> bool:
    count = len(signatures)
    names = (signatures.paths, signatures.people, signatures.pixels)
    are_names = all(array.shape == (count,) and array.dtype.kind == "U" for array in names)
    thumbnails = ((signatures.small, SMALL), (signatures.large, LARGE))
    are_pixels = all(array.shape == (count, side, side) and array.dtype == np.uint8 for array, side in thumbnails)
    return are_names and are_pixels


def _write(path: Path, signatures: ImageSignatures) -> None:
    arrays = {name: getattr(signatures, name) for name in _ARRAYS}
    # An open file, since numpy would add a suffix to the name of a partial file.
    with path.open("wb") as file:
        np.savez(file, version=VERSION, **arrays)


def _compute(manifest: Manifest, root: Path) -> ImageSignatures:
    rows = manifest.images
    small = np.empty((len(rows), SMALL, SMALL), np.uint8)
    large = np.empty((len(rows), LARGE, LARGE), np.uint8)

    def fill(index: int, picture: Image.Image) -> str:
        """Fill in the thumbnails of an image and return the hash of its pixels."""
        # The small one is made of the large one: decoding costs more than both.
        thumbnail = cut(picture, rows[index].square(), LARGE).convert("L")
        large[index] = np.asarray(thumbnail)
        small[index] = np.asarray(thumbnail.resize((SMALL, SMALL), Image.Resampling.BILINEAR))
        return pixel_hash(picture)

    def fill_all(indices: Sequence[int]) -> list[str]:
        return [_decode(rows[index], root, partial(fill, index)) for index in indices]

    # Pictures are large while they are decoded, and all cores decode.
    task = f"image signatures of {manifest.dataset}"
    with map_on_all_cores(fill_all, range(len(rows))) as hashes:
        pixels = list(tqdm(hashes, task, len(rows), unit="image", disable=None))
    return ImageSignatures(
        dataset=manifest.dataset,
        digest=manifest.digest,
        paths=np.array([row.path for row in rows], np.str_),
        people=np.array([row.person for row in rows], np.str_),
        pixels=np.array(pixels, np.str_),
        small=small,
        large=large,
    )
