"""Check that a file is a picture, and collect what a manifest keeps of it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fer.portable.images import MAX_BYTES, UnusableImage, read_with_notes

BLACK = 8
"""A picture that is nowhere brighter shows nothing."""


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


def pixel_hash(picture: Image.Image) -> str:
    """Hash an RGB picture's size and pixels, the same for every encoding of it."""
    digest = hashlib.sha256(f"{picture.size}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()
