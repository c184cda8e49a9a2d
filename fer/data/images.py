"""Check that a file is a picture, and collect what a manifest keeps of it."""

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fer.portable.detection import Box
from fer.portable.images import MAX_BYTES, UnusableImage, read_with_notes

BLACK = 8
"""A picture that is nowhere brighter shows nothing."""
FACE_MARGIN = 1.5
"""Side of what is kept around a face's box, as a multiple of the box's longer side.

A frame is as long as the detector's box (0.93 to 1.13 times over Wikimedia's faces) and, turned upright, reaches over
up to 1.4 times; the rest is for boxes that other detectors drew tighter or beside the middle.
"""
FACE_SIDE = 320
"""Longest side in pixels of what is kept around a face's box: the face has 213, and CenterFace need not pad."""
FACE_QUALITY = 95
"""JPEG's quality of it, beyond which files grow faster than they gain."""


@dataclass(frozen=True)
class ImageFacts:
    """What a manifest keeps of one picture file.

    Attributes:
        sha256: Hash of the file's bytes.
        bytes: The file's size.
        width: Width in pixels as displayed, after EXIF rotation.
        height: Height in pixels as displayed.
        notes: What had to be converted, such as "CMYK" or "rotated by EXIF"; empty for plain RGB.
        black: Whether every pixel is (nearly) black, as in KDEF's stand-ins.
        pixels: Hash of size and RGB pixels as displayed, the same for every encoding of one picture.
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
    picture, notes = read_with_notes(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Averages over blocks, so that the noise of a camera or of JPEG does not count.
    blocks = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX))
    return ImageFacts(
        sha256=digest,
        bytes=path.stat().st_size,
        width=picture.width,
        height=picture.height,
        notes=", ".join(notes),
        black=int(blocks.max()) < BLACK,
        pixels=pixel_hash(picture),
    )


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
