import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from fer.data import checked_copies
from fer.data.checked_copies import Copy, copy_pictures
from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.images import FACE_SIDE, inspect
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.portable.images import UnusableImage, decode
from fer.portable.memory import SMALL_FILE

Box = tuple[float, float, float, float]


@pytest.fixture
def gradient(tmp_path: Path) -> Path:
    """A picture of 300x200 whose red tells x and whose green tells y."""
    down, across = np.mgrid[:200, :300]
    pixels = np.stack([across // 2, down, np.full_like(down, 90)], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "group.png")
    return tmp_path / "group.png"


def boxed(path: Path, box: Box, name: str = "face.jpg") -> Candidate:
    return Candidate(path, "fear", "train", name, f"{path.name}#{name}", box=box)


def made_of(*candidates: Candidate) -> DataSet:
    return replace(WIKIMEDIA, scan=lambda source: Scan(list(candidates)), expected_counts={})


def prepared(tmp_path: Path, *candidates: Candidate) -> Prepared:
    return prepare(made_of(*candidates), tmp_path, tmp_path / "data")


def kept(tmp_path: Path, *candidates: Candidate) -> list[Image.Image]:
    """The pictures of a prepared set, in order of path."""
    rows = prepared(tmp_path, *candidates).manifest.images
    return [Image.open(tmp_path / "data" / row.path) for row in rows]


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((100, 80, 140, 120), (90, 70, 150, 130)),
        ((100, 80, 120, 120), (80, 70, 140, 130)),  # the square has the longer side
        ((0, 10, 40, 50), (0, 0, 50, 60)),  # cut at the picture's edges
        ((260, 150, 320, 210), (245, 135, 300, 200)),  # a box that reaches beyond the picture
        ((100.4, 80.4, 140.4, 120.4), (90, 70, 151, 131)),
    ],
)
def test_what_is_around_a_box_is_kept(gradient: Path, tmp_path: Path, box: Box, area: Box) -> None:
    (picture,) = kept(tmp_path, boxed(gradient, box))
    expected = Image.open(gradient).crop(area)
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", expected.size)
    differences = np.asarray(picture).astype(int) - np.asarray(expected)
    assert np.abs(differences).max() <= 4


def test_colours_are_not_subsampled(tmp_path: Path) -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    (picture,) = kept(tmp_path, boxed(tmp_path / "stripes.png", (0, 0, 40, 40)))
    assert np.abs(np.asarray(picture).astype(int) - stripes).mean() < 8


def test_a_large_face_is_made_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1500), (90, 80, 70)).save(tmp_path / "large.png")
    (picture,) = kept(tmp_path, boxed(tmp_path / "large.png", (300, 400, 1100, 1100)))
    assert picture.size == (FACE_SIDE, FACE_SIDE)
    assert picture.getpixel((50, 50)) == pytest.approx((90, 80, 70), abs=2)


def test_one_file_holds_several_faces(gradient: Path, tmp_path: Path) -> None:
    left = boxed(gradient, (20, 50, 60, 90), "group_0.jpg")
    right = boxed(gradient, (220, 50, 260, 90), "group_1.jpg")
    done = prepared(tmp_path, left, right)
    assert [row.source_name for row in done.manifest.images] == ["group.png#group_0.jpg", "group.png#group_1.jpg"]
    reds = [np.asarray(Image.open(tmp_path / "data" / row.path))[..., 0].mean() for row in done.manifest.images]
    assert reds == pytest.approx([20, 120], abs=2)


def test_a_box_counts_in_the_picture_as_displayed(tmp_path: Path) -> None:
    upright = Image.new("RGB", (60, 100), (0, 0, 200))
    upright.paste((200, 0, 0), (0, 60, 60, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    done = prepared(tmp_path, boxed(tmp_path / "turned.png", (20, 70, 40, 90)))
    (row,) = done.manifest.images
    assert (row.width, row.height, row.notes) == (30, 30, "rotated by EXIF")
    picture = Image.open(tmp_path / "data" / row.path)
    assert not picture.getexif()
    assert picture.getpixel((15, 15)) == pytest.approx((200, 0, 0), abs=4)


def test_a_face_is_cut_out_of_what_a_reader_returns(gradient: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.touch()
    candidate = replace(boxed(table, (100, 80, 140, 120)), read=gradient.read_bytes)
    (picture,) = kept(tmp_path, candidate)
    assert picture.size == (60, 60)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((100, 80, 100, 120), "its face box is empty or upside down"),
        ((140, 80, 100, 120), "its face box is empty or upside down"),
        ((100, 120, 140, 80), "its face box is empty or upside down"),
        ((float("nan"), 80, 140, 120), "its face box is empty or upside down"),
        ((100, 80, float("inf"), 120), "its face box is empty or upside down"),
        ((400, 80, 440, 120), "its face box lies outside the picture"),
        ((100, -90, 140, -50), "its face box lies outside the picture"),
    ],
)
def test_a_box_that_holds_no_face_is_left_out(gradient: Path, tmp_path: Path, box: Box, reason: str) -> None:
    good = boxed(gradient, (100, 80, 140, 120), "good.jpg")
    done = prepared(tmp_path, boxed(gradient, box), good)
    assert done.left_out == (("group.png#face.jpg", reason),)
    assert [Path(row.path).name for row in done.manifest.images] == ["good.jpg"]
    assert [path.name for path in (tmp_path / "data/train").rglob("*.jpg")] == ["good.jpg"]


def test_a_damaged_or_missing_file_leaves_its_faces_out(gradient: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(gradient.read_bytes()[:200])
    box = (100, 80, 140, 120)
    done = prepared(
        tmp_path,
        boxed(damaged, box, "a.jpg"),
        boxed(damaged, box, "b.jpg"),
        boxed(tmp_path / "none.png", box, "c.jpg"),
        boxed(gradient, box, "d.jpg"),
    )
    assert [Path(row.path).name for row in done.manifest.images] == ["d.jpg"]
    assert [name for name, _ in done.left_out] == ["damaged.png#a.jpg", "damaged.png#b.jpg", "none.png#c.jpg"]
    assert done.left_out[2][1] == "missing file"


def test_a_file_with_several_faces_is_read_once(
    gradient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def counted(image: ImageFile.ImageFile) -> object:
        read.append(image)
        return decode(image)

    monkeypatch.setattr(checked_copies, "decode", counted)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    faces = [boxed(gradient, (10 + 5 * n, 50, 60 + 5 * n, 90), f"group_{n}.jpg") for n in range(40)]
    assert len(prepared(tmp_path, *faces).manifest.images) == 40
    assert len(read) <= 5  # once in each task


def plain(path: Path) -> Candidate:
    return Candidate(path, "fear", "train", path.name, path.name)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A file cut short, or with some wrong bytes."""
    if rng.random() < 0.5:
        return content[: rng.integers(1, len(content))]
    changed = bytearray(content)
    for place in rng.integers(0, len(content), 3):
        changed[place] = rng.integers(0, 256)
    return bytes(changed)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_damaged_jpeg_is_left_out_for_what_decoding_it_wholly_says(options: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)).resize((90, 120)))
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", **options)
    paths = [tmp_path / f"{number:03d}.jpg" for number in range(100)]
    expected = {}
    for path in paths:
        path.write_bytes(damaged(content.getvalue(), rng))
        try:
            inspect(path)
        except UnusableImage as fault:
            expected[path.name] = str(fault)
    (tmp_path / "good.jpg").write_bytes(content.getvalue())
    done = prepared(tmp_path, *map(plain, [*paths, tmp_path / "good.jpg"]))
    assert dict(done.left_out) == expected
    assert 30 < len(expected) < 100


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_facts_of_a_copy_are_those_of_the_whole_picture(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (61, 37), 200).save(tmp_path / f"a.{suffix}", exif=exif)
    (row,) = prepared(tmp_path, plain(tmp_path / f"a.{suffix}")).manifest.images
    facts = inspect(tmp_path / f"a.{suffix}")
    assert (row.sha256, row.bytes, row.width, row.height, row.notes) == facts[:5]
    assert facts[2:4] == ((61, 37) if orientation < 5 else (37, 61))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_file_is_copied_as_a_small_one_is(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1100, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path, quality=95)
    assert path.stat().st_size > SMALL_FILE
    damaged = tmp_path / f"b.{suffix}"
    damaged.write_bytes(path.read_bytes()[:-5000])
    done = prepared(tmp_path, plain(path), plain(damaged), boxed(path, (500, 400, 600, 520), "face.jpg"))
    row, face = sorted(done.manifest.images, key=lambda row: row.path)
    assert (row.sha256, row.bytes, row.width, row.height, row.notes) == inspect(path)[:5]
    assert (tmp_path / "data" / row.path).read_bytes() == path.read_bytes()
    assert (face.width, face.height) == (180, 180)
    ((name, reason),) = done.left_out
    assert name == damaged.name and "truncated" in reason


@pytest.mark.parametrize(("suffix", "size"), [("jpg", (200, 160)), ("png", (200, 160)), ("jpg", (5, 3))])
def test_only_pictures_without_any_light_are_black(suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    """Also of those with a dark middle, and of those hardly brighter than black."""
    rng = np.random.default_rng(0)
    pixels = {"black": np.zeros((*size, 3), np.uint8), "noisy": rng.integers(0, 10, (*size, 3), dtype=np.uint8)}
    pixels["dim"] = np.full((*size, 3), 12, np.uint8)
    pixels["corner"] = pixels["black"].copy()
    pixels["corner"][: size[0] // 4 + 1, : size[1] // 4 + 1] = 250
    paths = [tmp_path / f"{name}.{suffix}" for name in pixels]
    for path in paths:
        Image.fromarray(pixels[path.stem]).save(path)
    black = {path.name for path in paths if inspect(path).black}
    assert f"black.{suffix}" in black and not black & {f"dim.{suffix}", f"corner.{suffix}"}
    done = prepared(tmp_path, *map(plain, paths))
    assert dict(done.left_out) == dict.fromkeys(black, "entirely black")


def test_what_is_no_file_is_missing(gradient: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    names = ["folder.png", "loop.png", "pipe.png", "group.png/below.png", "none.png", "x" * 300]
    candidates = [Candidate(tmp_path / name, "fear", "train", f"{n}.png", name) for n, name in enumerate(names)]
    done = prepared(tmp_path, *candidates, plain(gradient))
    assert done.left_out == tuple((name, "missing file") for name in names)


@pytest.mark.parametrize("text", ["source_name", "person"])
def test_what_would_break_a_line_of_the_manifest_is_left_out(text: str, gradient: Path, tmp_path: Path) -> None:
    odd = replace(plain(gradient), name="odd.png", **{text: "a\x1fb"})
    done = prepared(tmp_path, odd, plain(gradient))
    assert [reason for _, reason in done.left_out] == ["its name is no UTF-8 text in one line"]


def test_a_changed_box_is_prepared_anew(gradient: Path, tmp_path: Path) -> None:
    def digest(box: Box) -> tuple[bool, str]:
        done = prepared(tmp_path, boxed(gradient, box))
        return done.reused, done.manifest.digest

    first = digest((100, 80, 140, 120))
    assert digest((100, 80, 140, 120)) == (True, first[1])
    reused, moved = digest((100, 80, 140, 121))
    assert not reused
    assert moved != first[1]


def test_a_file_without_a_size_is_not_waited_for(tmp_path: Path) -> None:
    # Such as what the kernel has to say, which comes when there is something.
    endless = Path("/proc/kmsg")
    if not endless.is_file():
        pytest.skip("only Linux has such files")
    assert copy_pictures([Copy(str(endless), str(tmp_path / "copy.png"))], hash_pixels=False) == ["empty file"]
    assert not (tmp_path / "copy.png").exists()
