"""Copy pictures, each read once and checked."""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFile

from fer.data.images import ImageFacts, cut_face, facts_of, is_black, is_lit, pixel_hash
from fer.portable.detection import Box
from fer.portable.images import MAX_BYTES, ORIENTATION, UnusableImage, decode, read_rgb
from fer.portable.memory import SMALL_FILE, open_within_budget

REDUCTION = 8
"""How much smaller JPEG is decoded at most, in the least time."""
MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What the system says of a file that is not there, or cannot be."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


class Copy(NamedTuple):
    """What to copy where.

    Attributes:
        source: A picture's file, or what returns the content of one.
        target: The file to write.
        box: Left, top, right and bottom of the face whose surroundings are copied; None for the whole file.
    """

    source: str | Callable[[], bytes]
    target: str
    box: Box | None = None


def copy_pictures(copies: Sequence[Copy], hash_pixels: bool) -> list[ImageFacts | str]:
    """Copy the pictures that can be used.

    Args:
        copies: What to copy; faces in one file that stand side by side are read together.
        hash_pixels: Whether the facts tell the hash of the pixels.

    Returns:
        For each picture its facts, or the reason to leave it out.
    """
    results: list[ImageFacts | str] = []
    for _, neighbours in groupby(copies, _source):
        group = list(neighbours)
        try:
            results += _copy_group(group, hash_pixels)
        except UnusableImage as fault:
            results += [str(fault)] * len(group)
    return results


def _source(copy: Copy) -> tuple[str | Callable[[], bytes], bool]:
    return copy.source, copy.box is None


def _copy_group(group: Sequence[Copy], hash_pixels: bool) -> list[ImageFacts | str]:
    """Copy pictures that have one source."""
    source = group[0].source
    file = _read_small(source) if isinstance(source, str) else source()
    if group[0].box:
        return open_within_budget(file, lambda image: _copy_faces(group, image, hash_pixels))
    return open_within_budget(file, lambda image: _copy_file(group, file, image, hash_pixels))


def _copy_file(
    copies: Sequence[Copy],
    file: Path | bytes,
    image: ImageFile.ImageFile,
    hash_pixels: bool,
) -> list[ImageFacts | str]:
    size = image.size
    if image.format == "JPEG" and not hash_pixels:
        # Whether a file is damaged shows while its bits are read. An eighth of the size spares the arithmetic on them.
        image.draft(None, (max(image.width // REDUCTION, 1), max(image.height // REDUCTION, 1)))
    picture, notes = decode(image)
    if image.getexif().get(ORIENTATION, 1) in SIDEWAYS:
        size = size[::-1]
    black = not is_lit(picture) and is_black(read_rgb(file))
    pixels = pixel_hash(picture) if hash_pixels else ""
    content = file.read_bytes() if isinstance(file, Path) else file
    facts = facts_of(content, size, notes, black, pixels)
    return [_write(copy.target, content, facts) for copy in copies]


def _copy_faces(
    copies: Sequence[Copy],
    image: ImageFile.ImageFile,
    hash_pixels: bool,
) -> list[ImageFacts | str]:
    picture, notes = decode(image)
    results: list[ImageFacts | str] = []
    for copy in copies:
        assert copy.box
        try:
            content = cut_face(picture, copy.box)
        except UnusableImage as fault:
            results.append(str(fault))
            continue
        # What JPEG made of it is what will be read.
        face = read_rgb(content)
        pixels = pixel_hash(face) if hash_pixels else ""
        results.append(_write(copy.target, content, facts_of(content, face.size, notes, is_black(face), pixels)))
    return results


def _read_small(path: str) -> Path | bytes:
    """Return a small file's content, and the path of a large one.

    Raises:
        UnusableImage: It is no file, or too large.
    """
    # Here and in `_write` Path objects would take a tenth of the time that a small picture does.
    try:
        status = os.stat(path)  # noqa: PTH116
    except ValueError:  # a name may hold what no path can
        raise UnusableImage("missing file") from None
    except OSError as error:
        # What no missing file raises, such as a folder that may not be entered.
        if error.errno not in MISSING:
            raise
        raise UnusableImage("missing file") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnusableImage("missing file")
    if status.st_size == 0:
        # Files that systems make up have no size, and reading one may wait for ever.
        raise UnusableImage("empty file")
    if status.st_size > MAX_BYTES:
        raise UnusableImage(f"huge file of {status.st_size} bytes")
    if status.st_size > SMALL_FILE:
        return Path(path)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _write(target: str, content: bytes, facts: ImageFacts) -> ImageFacts | str:
    if facts.black:
        return "entirely black"
    rest = content
    with open(target, "wb", buffering=0) as file:  # noqa: PTH123
        while rest:
            rest = rest[file.write(rest) :]
    return facts
