"""Read pictures of any mode into upright RGB."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
"""Larger pictures are left out: no face set holds one, and decoding a bomb would exhaust the memory."""
MAX_BYTES = 200_000_000
"""Larger files are left out before they are copied: a picture within the limit above takes less, even uncompressed."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read: decoding other formats, such as EPS, may start programs."""
BITS_PER_SAMPLE = 258
"""A TIFF tag."""
ORIENTATION = 0x0112
"""An EXIF tag; 1 for upright pictures."""
GROUND = (128, 128, 128, 255)
"""What shows through transparent pixels: mid-grey."""


class UnusableImage(Exception):
    """A file that is no usable picture; the message says why in a few words."""


def read_rgb(source: Path | bytes) -> Image.Image:
    """Return a picture as displayed: upright, RGB, transparency over mid-grey.

    Args:
        source: A file or its content.

    Raises:
        UnusableImage: It is empty, truncated, huge or no picture.
    """
    with open_picture(source) as image:
        return decode(image)[0]


def decode(image: ImageFile.ImageFile) -> tuple[Image.Image, list[str]]:
    """Decode an opened picture; return it as displayed, and notes on what had to be converted.

    Raises:
        UnusableImage: It is truncated or damaged.
    """
    try:
        image.load()
        notes = [] if image.mode == "RGB" else [image.mode]
        if image.getexif().get(ORIENTATION, 1) != 1:
            notes.append("rotated by EXIF")
        if not notes and "transparency" not in image.info:
            # Nothing to convert, and a copy would cost as much as decoding in the memory it touches. Pillow keeps the
            # pixels of a picture whose file is closed.
            return image, notes
        return upright_rgb(image), notes
    except Exception as error:
        raise _as_unusable(error) from None


def open_picture(source: Path | bytes) -> ImageFile.ImageFile:
    """Open a picture of one of `FORMATS`, and read of it what tells its size; no other code opens pictures of users.

    Args:
        source: A file or its content.

    Raises:
        UnusableImage: It is empty, huge or no picture.
    """
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size == 0:
            raise UnusableImage("empty file")
        if size > MAX_BYTES:
            raise UnusableImage(f"huge file of {size} bytes")
        with warnings.catch_warnings():
            # Pillow warns of large pictures before our own limit judges them.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            image.close()
            raise UnusableImage(f"huge picture of {image.width}x{image.height} pixels")
        return image
    except Exception as error:
        raise _as_unusable(error) from None


def _as_unusable(error: Exception) -> UnusableImage:
    """Return an UnusableImage of a few words for whatever Pillow raised."""
    match error:
        case UnusableImage():
            return error
        case FileNotFoundError():
            return UnusableImage("missing file")
        case UnidentifiedImageError():
            return UnusableImage("no readable picture (of no known format)")
        case Image.DecompressionBombError():
            return UnusableImage("huge picture")
    # On damaged files Pillow's decoders raise nearly anything: OSError, SyntaxError, RuntimeError, struct.error.
    return UnusableImage(f"no readable picture ({' '.join(str(error).split())[:80]})")


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return a decoded picture as displayed: upright, RGB, transparency over mid-grey.

    Raises:
        UnusableImage: It is grey of 32 bits.
    """
    # Asked first, because a turned picture no longer tells its format; Pillow scales any PGM beyond 8 bits to 16.
    has_16_bits = image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    # Asked here, because Pillow would copy a picture that needs no turning.
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if has_16_bits:
        # Pillow's own conversion would clip at 255 instead of scaling, and it keeps the values of TIFFs of 12 bits.
        values = np.asarray(image).astype(np.int32) >> (bits - 8)
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        # Such values have no agreed range, so that nobody can tell which of them is white.
        raise UnusableImage("grey values of 32 bits: save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, GROUND)
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")
