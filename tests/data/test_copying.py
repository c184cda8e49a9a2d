from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.images import FACE_SIDE
from fer.data.prepare import prepare
from fer.data.prepared import Prepared

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


def test_a_changed_box_is_prepared_anew(gradient: Path, tmp_path: Path) -> None:
    def digest(box: Box) -> tuple[bool, str]:
        done = prepared(tmp_path, boxed(gradient, box))
        return done.reused, done.manifest.digest

    first = digest((100, 80, 140, 120))
    assert digest((100, 80, 140, 120)) == (True, first[1])
    reused, moved = digest((100, 80, 140, 121))
    assert not reused
    assert moved != first[1]
