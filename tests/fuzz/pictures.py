"""Readers of pictures, and pictures of every format that is read, with what their headers may claim."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from fer.data.checked_copies import Copy, copy_pictures
from fer.data.images import ImageFacts, inspect
from fer.portable import images
from fer.portable.images import UnusableImage, read_rgb
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import NUMBERS, spoilt

PIXELS = 2_000_000
"""More are refused here, so that the memory of an example tells what the file takes beside its pixels."""
SIDES = st.one_of(st.integers(0, 40), st.sampled_from([number for number in NUMBERS if 0 <= number < 2**32]))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def samples() -> list[bytes]:
    """Small pictures of all formats that are read, in the forms that Pillow writes."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    found = [
        encoded(rgb, "JPEG", exif=exif),
        encoded(rgb, "JPEG", progressive=True, icc_profile=b"profile" * 20, comment=b"comment"),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb.convert("L"), "JPEG", restart_marker_blocks=1),
        encoded(rgb, "PNG", exif=exif),
        encoded(rgb.convert("P"), "PNG", transparency=3),
        encoded(rgb.convert("RGBA"), "PNG", **frames),
        encoded(deep, "PNG"),
        encoded(rgb, "GIF", **frames, duration=20),
        encoded(rgb, "BMP"),
        encoded(rgb.convert("P"), "BMP"),
        encoded(rgb.convert("1"), "PPM"),
        encoded(rgb, "PPM"),
        encoded(deep, "PPM"),
        b"P3\n2 2\n255\n1 2 3 4 5 6 7 8 9 10 11 12\n",
        b"P2\n# comment\n2 2\n65535\n1 2 3 65535\n",
        encoded(rgb, "WEBP", exif=exif),
        encoded(rgb, "WEBP", lossless=True),
        encoded(rgb.convert("RGBA"), "WEBP", **frames),
        encoded(rgb, "TIFF", exif=exif),
        encoded(rgb, "TIFF", **frames),
        encoded(deep, "TIFF"),
        encoded(rgb.convert("CMYK"), "TIFF"),
    ]
    for compression in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg"):
        found.append(encoded(rgb, "TIFF", compression=compression))
    for compression in ("group3", "group4"):
        found.append(encoded(rgb.convert("1"), "TIFF", compression=compression))
    return found


def png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of these chunks, each with its right checksum."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


def pngs() -> SearchStrategy[bytes]:
    """Return PNG files whose checksums are right and whose claims are not."""
    header = st.builds(
        lambda width, height, *rest: (b"IHDR", struct.pack(">II", width, height) + bytes(rest)),
        SIDES,
        SIDES,
        st.sampled_from((0, 1, 2, 4, 8, 16, 32, 255)),
        st.integers(0, 7),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 2),
    )
    unpacked = st.one_of(st.binary(max_size=200), st.integers(0, 3_000_000).map(bytes))
    packed = unpacked.map(zlib.compress)
    kinds = (b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"gAMA", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"sBIT", b"cHRM", b"IEND")
    plain = st.tuples(st.sampled_from(kinds), st.one_of(packed, st.binary(max_size=40)))
    texts = st.builds(
        lambda kind, head, content: (kind, head + content),
        st.sampled_from((b"zTXt", b"iCCP", b"iTXt", b"tEXt")),
        st.sampled_from((b"a\0\0", b"a\0\1\0\0\0", b"a\0", b"\0", b"")),
        packed,
    )
    return st.builds(
        lambda first, middle, last: png([first, *middle, *last]),
        header,
        st.lists(plain | texts, max_size=5),
        st.sampled_from(([(b"IEND", b"")], [])),
    )


def tiff(entries: Sequence[tuple[int, int, int, int]], data: bytes, order: str = "<") -> bytes:
    """Return a TIFF file of one folder of (tag, type, count, value) and some bytes behind it."""
    mark = b"II" if order == "<" else b"MM"
    packed = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return struct.pack(f"{order}2sHIH", mark, 42, 8, len(entries)) + packed + bytes(4) + data


def tiffs() -> SearchStrategy[bytes]:
    """Return TIFF files with any sizes, strips, tiles and ways of compression."""
    numbers = st.one_of(st.integers(0, 40), st.sampled_from([number for number in NUMBERS if 0 <= number < 2**32]))
    tags = (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339)
    others = (347, 530, 532, 700, 34377, 34665, 34675, 34853)
    entry = st.tuples(st.sampled_from(tags + others), st.integers(0, 18), st.one_of(st.just(1), numbers), numbers)
    # What makes a picture of 16 x 16 pixels; an entry drawn for the same tag takes the place of its own.
    sound = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 400, 277: 1, 278: 16, 279: 256}
    codes = st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34676, 34925, 50000, 50001))

    def build(drawn: Sequence[tuple[int, int, int, int]], code: int, data: bytes, order: str) -> bytes:
        entries = {tag: (tag, 4, 1, value) for tag, value in (sound | {259: code}).items()}
        entries |= {entry[0]: entry for entry in drawn}
        return tiff(sorted(entries.values()), data.ljust(700, b"\0"), order)

    return st.builds(build, st.lists(entry, max_size=6), codes, st.binary(max_size=300), st.sampled_from("<>"))


def gifs() -> SearchStrategy[bytes]:
    """Return GIF files with screens and frames of any size and place."""
    sides = st.one_of(st.integers(0, 40), st.sampled_from((255, 1000, 65535)))
    head = st.builds(lambda width, height, flags: struct.pack("<6sHHBBB", b"GIF89a", width, height, flags, 0, 0),
                     sides, sides, st.integers(0, 255))  # fmt: skip
    frame = st.builds(
        lambda x, y, width, height, flags, data: struct.pack("<BHHHHB", 0x2C, x, y, width, height, flags)
        + bytes([8, len(data)]) + data + b"\0",
        sides, sides, sides, sides, st.integers(0, 255), st.binary(max_size=200),
    )  # fmt: skip
    return st.builds(lambda *parts: b"".join([*parts[:-1], *parts[-1], b";"]), head, st.lists(frame, max_size=3))


@contextmanager
def fewer_pixels() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "MAX_PIXELS", PIXELS)
        yield


def read_content(content: bytes, folder: Path) -> Image.Image:
    with fewer_pixels():
        return read_rgb(content)


def read_file(content: bytes, folder: Path) -> ImageFacts:
    path = folder / "picture.jpg"
    path.write_bytes(content)
    with fewer_pixels():
        return inspect(path)


def copy_file(content: bytes, folder: Path) -> list[ImageFacts | str]:
    """Copy a picture, and a face that is said to be in it, as `prepare` does."""
    path = folder / "picture.png"
    path.write_bytes(content)
    whole = Copy(str(path), str(folder / "copy.png"))
    face = Copy(str(path), str(folder / "face.jpg"), box=(1.0, 2.0, 9.0, 12.0))
    with fewer_pixels():
        results = copy_pictures([whole, face], hash_pixels=False)
    assert all(isinstance(result, ImageFacts) or "\n" not in result for result in results)
    if isinstance(results[0], str):
        raise UnusableImage(results[0])
    return results


def targets() -> list[Target[bytes]]:
    """Return the readers of pictures."""
    sound = samples()
    inputs = st.one_of(spoilt(sound), spoilt(sound), pngs(), tiffs(), gifs())
    refusals = (UnusableImage,)
    return [
        Target("pictures, as bytes", inputs, read_content, Image.Image, tuple(sound), refusals=refusals),
        Target("pictures, as files", inputs, read_file, ImageFacts, tuple(sound), refusals=refusals),
        Target("pictures, copied", inputs, copy_file, list, tuple(sound), refusals=refusals),
    ]
