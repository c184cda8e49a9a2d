"""Reading pictures of any mode into upright RGB, and judging whether a file is one."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
"""Larger pictures are left out: no face set holds one, and decoding a bomb would exhaust the memory."""
MAX_BYTES = 200_000_000
"""Larger files are left out before they are copied: a picture within the limit above takes less, even uncompressed."""


class UnusableImage(Exception):
    """A file that is no usable picture; the message says why in a few words."""


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


def read_rgb(path: Path) -> Image.Image:
    """Return a picture as displayed: upright, RGB, transparency over mid-grey.

    Raises:
        UnusableImage: The file is empty, truncated, huge or no picture.
    """
    return _read(path)[0]


def refuse_large_file(path: Path) -> None:
    """Raise for a file too large to be a picture, without reading it.

    Raises:
        UnusableImage: As said.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UnusableImage(f"huge file of {size} bytes")


def inspect(path: Path) -> ImageFacts:
    """Decode a picture wholly and return its facts.

    Raises:
        UnusableImage: As `read_rgb`.
    """
    upright, notes = _read(path)
    content = path.read_bytes()
    black = int(np.asarray(upright.convert("L").resize((32, 32), Image.Resampling.BOX)).max()) < 8
    digest = hashlib.sha256(content).hexdigest()
    pixels = hashlib.sha256(f"{upright.size}".encode() + upright.tobytes()).hexdigest()
    return ImageFacts(digest, len(content), upright.width, upright.height, ", ".join(notes), black, pixels)


def _read(path: Path) -> tuple[Image.Image, list[str]]:
    """Return a picture as displayed, and what had to be converted."""
    try:
        if path.stat().st_size == 0:
            raise UnusableImage("empty file")
        with warnings.catch_warnings():
            # Pillow warns of large pictures before our own limit judges them.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        if image.width * image.height > MAX_PIXELS:
            raise UnusableImage(f"huge picture of {image.width}x{image.height} pixels")
        image.load()
        notes = [] if image.mode == "RGB" else [image.mode]
        if image.getexif().get(0x0112, 1) != 1:
            notes.append("rotated by EXIF")
        return _upright_rgb(image), notes
    except UnusableImage:
        raise
    except FileNotFoundError:
        raise UnusableImage("missing file") from None
    except UnidentifiedImageError:
        raise UnusableImage("no readable picture (of no known format)") from None
    except Image.DecompressionBombError:
        raise UnusableImage("huge picture") from None
    except Exception as error:
        # On damaged files Pillow's decoders raise nearly anything: OSError, SyntaxError, RuntimeError, struct.error.
        raise UnusableImage(f"no readable picture ({' '.join(str(error).split())[:80]})") from None


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        return Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")
