import hashlib
import os
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image, ImageDraw

from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.images import inspect
from fer.data.prepare import prepare
from fer.portable import images
from fer.portable.images import UnusableImage, read_rgb
from fer.prediction.files import use_picture

COLOUR = (200, 60, 20)
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a picture is stored so that the EXIF orientation shows it upright."""


def pixel(path: Path, place: tuple[int, int] = (4, 4)) -> tuple[int, ...]:
    image = read_rgb(path)
    assert image.mode == "RGB"
    return tuple(image.getpixel(place))


def close(got: tuple[int, ...], wanted: tuple[int, ...], tolerance: int) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(got, wanted, strict=True))


def test_rgb_is_unchanged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "a.png")), noise)
    assert inspect(tmp_path / "a.png").notes == ""


def test_grey_becomes_equal_channels(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 77).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == (77, 77, 77)
    assert inspect(tmp_path / "a.png").notes == "L"


@pytest.mark.parametrize(("alpha", "wanted"), [(255, COLOUR), (0, (128, 128, 128)), (128, (164, 94, 74))])
def test_transparency_lies_over_mid_grey(tmp_path: Path, alpha: int, wanted: tuple[int, int, int]) -> None:
    Image.new("RGBA", (9, 9), (*COLOUR, alpha)).save(tmp_path / "a.png")
    assert close(pixel(tmp_path / "a.png"), wanted, 1)


def test_transparent_grey_lies_over_mid_grey_too(tmp_path: Path) -> None:
    Image.new("LA", (9, 9), (250, 0)).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == (128, 128, 128)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palettes_transparent_colour_becomes_mid_grey(tmp_path: Path, suffix: str) -> None:
    image = Image.new("P", (9, 9), 0)
    image.putpalette([10, 20, 30, *COLOUR])
    ImageDraw.Draw(image).rectangle((0, 0, 8, 2), fill=1)
    image.save(tmp_path / f"a.{suffix}", transparency=0)
    assert pixel(tmp_path / f"a.{suffix}", (4, 1)) == COLOUR
    assert pixel(tmp_path / f"a.{suffix}", (4, 6)) == (128, 128, 128)


def test_a_palette_without_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([10, 20, 30, *COLOUR])
    image.save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == COLOUR


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_shows_the_same_colours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (16, 16), COLOUR).convert("CMYK").save(path)
    assert close(pixel(path), COLOUR, 6)
    assert inspect(path).notes == "CMYK"


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.array([0, 0x3FFF, 0x8000, 0xFFFF], np.uint16), (4, 1))
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(np.asarray(read_rgb(tmp_path / f"a.{suffix}")), in_rgb([0, 63, 128, 255]))


def test_16_bit_grey_of_the_other_byte_order_is_scaled_too(tmp_path: Path) -> None:
    Image.new("I;16B", (4, 4), 0x8000).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as stored:
        assert stored.mode == "I;16B"
    assert pixel(tmp_path / "a.tif", (1, 1)) == (128, 128, 128)


def test_16_bit_grey_is_scaled_when_turned_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    ramp = np.tile(np.array([0, 0x3FFF, 0x8000, 0xFFFF], np.uint16), (4, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "a.png")), in_rgb([255, 128, 63, 0]))


def test_12_bit_grey_is_scaled_by_its_own_range(tmp_path: Path) -> None:
    rows = [(0x000, 0x7FF), (0x800, 0xFFF)]
    packed = b"".join((first << 12 | second).to_bytes(3, "big") for first, second in rows)
    # Width, height, bits, compression (none), black is zero, offset, rows in the strip, its bytes.
    tags = {256: 2, 257: 2, 258: 12, 259: 1, 262: 1, 273: 200, 278: 2, 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", key, 4, 1, value) for key, value in tags.items())
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(head.ljust(200, b"\0") + packed)
    assert np.asarray(read_rgb(tmp_path / "a.tif"))[..., 0].tolist() == [[0, 127], [128, 255]]


@pytest.mark.parametrize("kind", [np.int32, np.float32], ids=["I", "F"])
def test_32_bit_grey_is_refused_for_nobody_knows_its_scale(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.tile(np.array([0, 100], kind), (2, 1))).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as stored:
        assert stored.mode == ("I" if kind is np.int32 else "F")
    with pytest.raises(UnusableImage, match="grey values of 32 bits: save it with 8 or 16 bits"):
        read_rgb(tmp_path / "a.tif")


def in_rgb(row: list[int]) -> NDArray[np.uint8]:
    """A grey picture in RGB with four such rows."""
    return np.repeat(np.tile(np.array(row, np.uint8), (4, 1))[..., None], 3, axis=2)


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (24, 40), (0, 0, 255))
    ImageDraw.Draw(upright).rectangle((0, 0, 23, 15), fill=(255, 0, 0))  # red above
    ImageDraw.Draw(upright).rectangle((0, 0, 7, 39), fill=(0, 255, 0))  # green left
    turn = TURNED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (upright.transpose(turn) if turn is not None else upright).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "a.png")), np.asarray(upright))
    facts = inspect(tmp_path / "a.png")
    assert (facts.width, facts.height) == (24, 40)
    assert facts.notes == ("" if orientation == 1 else "rotated by EXIF")


def test_facts_tell_hash_and_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (30, 20), COLOUR).save(path)
    facts = inspect(path)
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts.bytes, facts.width, facts.height) == (path.stat().st_size, 30, 20)


def picture(path: Path, format: str = "JPEG") -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format)
    return path.read_bytes()


def empty(path: Path) -> None:
    path.touch()


def truncated_jpeg(path: Path) -> None:
    path.write_bytes(picture(path)[:-2000])


def truncated_png(path: Path) -> None:
    path.write_bytes(picture(path, "PNG")[:-2000])


def header_only(path: Path) -> None:
    path.write_bytes(picture(path)[:20])


def no_picture(path: Path) -> None:
    path.write_bytes(b"an editor's backup")


def missing(path: Path) -> None:
    assert not path.exists()


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (empty, "empty file"),
        (missing, "missing file"),
        (truncated_jpeg, "truncated"),
        (truncated_png, "no readable picture"),
        (header_only, "no readable picture"),
        (no_picture, "no readable picture"),
        (folder, "no readable picture"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("read", [read_rgb, inspect], ids=["read_rgb", "inspect"])
def test_what_is_no_picture_is_refused_in_a_few_words(
    tmp_path: Path, make: Callable[[Path], None], reason: str, read: Callable[[Path], object]
) -> None:
    make(tmp_path / "a.jpg")
    with pytest.raises(UnusableImage, match=reason) as caught:
        read(tmp_path / "a.jpg")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(("limit", "usable"), [(4096, True), (4095, False)])
def test_huge_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, usable: bool) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", limit)
    picture(tmp_path / "a.jpg")
    if usable:
        assert read_rgb(tmp_path / "a.jpg").size == (64, 64)
    else:
        with pytest.raises(UnusableImage, match="huge picture of 64x64"):
            read_rgb(tmp_path / "a.jpg")


def test_what_pillow_calls_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnusableImage, match="huge"):
        inspect(tmp_path / "a.jpg")


def test_pillows_warning_of_large_pictures_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_rgb(tmp_path / "a.jpg").size == (64, 64)


@pytest.mark.parametrize("format", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_bytes_are_read_as_their_file_is(tmp_path: Path, format: str) -> None:
    content = picture(tmp_path / "a", format)
    assert np.array_equal(np.asarray(read_rgb(content)), np.asarray(read_rgb(tmp_path / "a")))


@pytest.mark.parametrize("format", ["EPS", "TGA", "ICO"])
def test_only_common_formats_are_read(tmp_path: Path, format: str) -> None:
    content = picture(tmp_path / "a", format)
    for read, source in ((read_rgb, content), (read_rgb, tmp_path / "a"), (inspect, tmp_path / "a")):
        with pytest.raises(UnusableImage, match="of no known format"):
            read(source)


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mark that a stand-in for Ghostscript leaves when it is started."""
    mark, program = tmp_path / "started", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for it once
    return mark


def seen(path: Path) -> tuple[int, int]:
    """The size of a picture as `predict` reads it."""
    return use_picture(path, lambda picture: picture.size)


def test_no_reader_starts_a_program(tmp_path: Path, ghostscript: Path, own_copy: Callable[[str], Path]) -> None:
    source = own_copy("wikimedia")
    place = source / "3/postscript.jpg"
    content = picture(place, "EPS")
    readers = [(read_rgb, place), (inspect, place), (seen, place), (read_rgb, content)]
    for read, given in readers:
        with suppress(UnusableImage):
            read(given)
    assert ("3/postscript.jpg", "no readable picture (of no known format)") in prepare(
        WIKIMEDIA, source, tmp_path / "data"
    ).left_out
    assert not ghostscript.exists()
    with pytest.raises(OSError), Image.open(place) as opened:  # whatever Pillow makes of its failure
        opened.load()
    assert ghostscript.exists(), "the stand-in would have been started"


def test_pictures_are_opened_in_one_place() -> None:
    package = Path(images.__file__).parents[1]
    opening = [path for path in package.rglob("*.py") if "Image.open(" in path.read_text(encoding="utf-8")]
    assert opening == [Path(images.__file__)]
    assert opening[0].read_text(encoding="utf-8").count("Image.open(") == 1


def test_too_many_bytes_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(UnusableImage, match="huge file of 11 bytes"):
        read_rgb(b"x" * 11)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_damaged_bytes_are_read_or_refused_never_a_crash(tmp_path: Path, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a", format, **({} if format == "GIF" else {"exif": exif}))
    whole, rng, refused = (tmp_path / "a").read_bytes(), np.random.default_rng(1), 0
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(0, len(content) if rng.random() < 0.5 else 60, rng.integers(1, 9)):
            content[place] = rng.integers(0, 256)
        (tmp_path / "a").write_bytes(content)
        try:
            inspect(tmp_path / "a")
        except UnusableImage:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_damaged_exif_is_no_crash(tmp_path: Path, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    Image.new("RGB", (24, 20), COLOUR).save(tmp_path / "a", format, exif=exif)
    content = (tmp_path / "a").read_bytes()
    for head in (b"II*\x00", b"MM\x00*"):
        content = content.replace(head, b"MX" + head[2:])
    assert b"MX" in content
    (tmp_path / "a").write_bytes(content)
    try:
        assert read_rgb(tmp_path / "a").mode == "RGB"
    except UnusableImage as fault:
        assert "no readable picture" in str(fault)


def test_black_stand_ins_are_seen_and_dark_pictures_are_not(tmp_path: Path) -> None:
    Image.new("RGB", (56, 76)).save(tmp_path / "black.jpg")
    dark = Image.new("RGB", (56, 76), (3, 3, 3))
    ImageDraw.Draw(dark).rectangle((20, 20, 40, 50), fill=(40, 30, 30))
    dark.save(tmp_path / "dark.jpg")
    assert inspect(tmp_path / "black.jpg").black
    assert not inspect(tmp_path / "dark.jpg").black
