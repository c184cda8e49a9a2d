"""Collect what a manifest keeps of a picture file, and cut faces out of pictures."""

import hashlib
import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from fer.portable.detection import Box
from fer.portable.images import MAX_BYTES, UnusableImage, decode
from fer.portable.memory import open_within_budget

BLACK = 8
"""A picture that is nowhere brighter shows nothing."""
BLOCKS = 32
"""Blocks a side over whose averages this is judged."""
LIT = 64
"""Red or green of a block from which its average is far above `BLACK`."""
FACE_MARGIN = 1.5
"""Side of what is kept around a face's box, as a multiple of the box's longer side.

A frame is as long as the detector's box (0.93 to 1.13 times over Wikimedia's faces) and, turned upright, reaches over
up to 1.4 times; the rest is for boxes that other detectors drew tighter or beside the middle.
"""
FACE_SIDE = 320
"""Longest side in pixels of what is kept around a face's box: the face has 213, and CenterFace need not pad."""
FACE_QUALITY = 95
"""JPEG's quality of it, beyond which files grow faster than they gain."""


class ImageFacts(NamedTuple):
    """What a manifest keeps of one picture file.

    Attributes:
        sha256: Hash of the file's bytes.
        bytes: The file's size.
        width: Width in pixels as displayed, after EXIF rotation.
        height: Height in pixels as displayed.
        notes: What had to be converted, such as "CMYK" or "rotated by EXIF"; empty for plain RGB.
        black: Whether every pixel is (nearly) black, as in KDEF's stand-ins.
        pixels: Hash of size and RGB pixels as displayed, the same for every encoding of one picture; empty where
            nobody asked for it.
    """

    sha256: str
    bytes: int
    width: int
    height: int
    notes: str
    black: bool
    pixels: str


def refuse_large_file(path: Path) -> None:
    """Refuse a file too large to be a picture, without reading it.

    Raises:
        UnusableImage: It is too large.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnusableImage(f"huge file of {size} bytes")


def inspect(path: Path) -> ImageFacts:
    """Decode a picture wholly and return its facts.

    Raises:
        UnusableImage: As `read_rgb`.
    """

    def look(image: ImageFile.ImageFile) -> ImageFacts:
        picture, notes = decode(image)
        return facts_of(path.read_bytes(), picture.size, notes, is_black(picture), pixel_hash(picture))

    return open_within_budget(path, look)


def facts_of(content: bytes, size: tuple[int, int], notes: list[str], black: bool, pixels: str) -> ImageFacts:
    """Return the facts of a file with this content, of which the rest is known."""
    width, height = size
    return ImageFacts(
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        width=width,
        height=height,
        notes=", ".join(notes),
        black=black,
        pixels=pixels,
    )


def is_lit(picture: Image.Image) -> bool:
    """Return whether a picture, perhaps a reduced one, is bright in its middle: then it is not black, for sure."""
    x, y = picture.width / BLOCKS, picture.height / BLOCKS
    middle = BLOCKS // 2
    block = (middle * x, middle * y, (middle + 1) * x, (middle + 1) * y)
    average = picture.resize((1, 1), Image.Resampling.BOX, block).getpixel((0, 0))
    assert isinstance(average, tuple)
    return max(average[:2]) >= LIT


def is_black(picture: Image.Image) -> bool:
    """Return whether every pixel is (nearly) black."""
    # Averages over blocks, so that the noise of a camera or of JPEG does not count.
    blocks = np.asarray(picture.convert("L").resize((BLOCKS, BLOCKS), Image.Resampling.BOX))
    return int(blocks.max()) < BLACK


def cut_face(picture: Image.Image, box: Box) -> bytes:
    """Cut out a face with all that a detector needs to frame it, as a JPEG file without subsampling of colours.

    Args:
        picture: RGB.
        box: Left, top, right and bottom of the face in pixels of the picture; may reach beyond it.

    Returns:
        A square of `FACE_MARGIN` times the box's longer side about its centre, as far as the picture goes, made smaller
        where it is longer than `FACE_SIDE`. Another version of Pillow or libjpeg may give other bytes.

    Raises:
        UnusableImage: The box is none of a face in this picture.
    """
    left, top, right, bottom = box
    if not (left < right and top < bottom and all(map(math.isfinite, box))):
        raise UnusableImage("its face box is empty or upside down")
    x = (left + right) / 2
    y = (top + bottom) / 2
    if not (0 <= x < picture.width and 0 <= y < picture.height):
        raise UnusableImage("its face box lies outside the picture")
    reach = FACE_MARGIN * max(right - left, bottom - top) / 2
    kept = picture.crop(
        (
            max(math.floor(x - reach), 0),
            max(math.floor(y - reach), 0),
            min(math.ceil(x + reach), picture.width),
            min(math.ceil(y + reach), picture.height),
        )
    )
    kept.thumbnail((FACE_SIDE, FACE_SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    # A comment of the download would be copied from there.
    kept.save(content, "JPEG", quality=FACE_QUALITY, subsampling=0, comment=b"")
    return content.getvalue()


def pixel_hash(picture: Image.Image) -> str:
    """Hash an RGB picture's size and pixels, the same for every encoding of it."""
    digest = hashlib.sha256(f"{picture.size}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()
