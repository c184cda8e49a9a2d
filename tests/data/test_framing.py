import hashlib
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from fer.data.datasets.kdef import KDEF, PROFILE_SIDE
from fer.data.datasets.registry import DATASETS
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.framing import read_thumbnail
from fer.data.manifest import ImageRow, Manifest, read_manifest
from fer.data.packing import pack
from fer.data.prepare import prepare
from fer.data.prepared import load_prepared, preparation_counts
from fer.errors import DataError
from fer.portable.detection import Face
from fer.portable.framing import (
    EYES_TO_MOUTH,
    MAX_REACH,
    SMALL_WINDOW,
    Frame,
    cut,
    frame_of,
    main_face,
    read_frame,
)
from fer.portable.images import read_rgb
from fer.portable.memory import BYTES_PER_PIXEL
from fer.utils.paths import manifest_path

Pixels = NDArray[np.uint8]
SIDE = 10 / EYES_TO_MOUTH
"""The frame's side of a face whose eyes are 10 pixels above its mouth."""


def face_at(x: float, y: float, size: float = 10, lean: float = 0, score: float = 0.9) -> Face:
    """A face whose box is centred at (x, y), leaning clockwise; its eyes are `size` above its mouth."""
    points = size * np.array([(-0.5, -0.4), (0.5, -0.4), (0, 0.1), (-0.35, 0.6), (0.35, 0.6)])
    angle = math.radians(lean)
    turned = points @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return Face((x - size, y - 1.25 * size, x + size, y + 1.25 * size), score, np.array([x, y]) + turned)


class StandIn:
    """A detector that goes by the first pixel: red is the face's x, green its y, blue its lean; black: no face."""

    name, version = "stand-in", "1"

    def __init__(self) -> None:
        self.asked = 0

    def faces(self, picture: Pixels) -> list[Face]:
        self.asked += 1
        x, y, lean = (int(value) for value in picture[0, 0])
        return [face_at(x, y, lean=lean)] if x else []


class Never:
    """A detector that must not be made."""

    def __init__(self) -> None:
        pytest.fail("the detector was made")


def paint(path: Path, x: int, y: int, lean: int = 0, size: tuple[int, int] = (80, 100)) -> None:
    """Write noise whose first pixel tells `StandIn` where a face is."""
    pixels = np.random.default_rng([x, y]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    pixels[0, 0] = x, y, lean
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Wikimedia's layout: faces in three pictures, none in `1/none.png`."""
    folder = tmp_path / "download"
    paint(folder / "1/left.png", 30, 40)
    paint(folder / "1/none.png", 0, 0)
    paint(folder / "2/leaning.png", 50, 44, 20)
    paint(folder / "3/wide.png", 60, 45, size=(160, 90))
    return folder


def by_name(manifest: Manifest) -> dict[str, ImageRow]:
    return {Path(row.path).name: row for row in manifest.images}


def ramp(width: int = 120, height: int = 90) -> Image.Image:
    """A picture whose red is the column's number and whose green is the row's."""
    rows, columns = np.indices((height, width))
    return Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8))


# Geometry


@pytest.mark.parametrize(("side", "first", "step"), [(32, 44, 1), (16, 44.5, 2), (8, 45.5, 4), (64, 43.75, 0.5)])
def test_an_upright_square_is_cut_at_any_scale(side: int, first: float, step: float) -> None:
    pixels = np.asarray(cut(ramp(), Frame(60, 40, 32), side), float)
    wanted = first + step * np.arange(side)
    assert np.abs(pixels[:, :, 0] - wanted).max() <= 0.5
    assert np.abs(pixels[:, :, 1] - (wanted - 20)[:, None]).max() <= 0.5


def test_at_its_own_size_an_upright_square_is_a_plain_crop() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8))
    assert np.array_equal(cut(picture, Frame(30, 28, 20), 20), picture.crop((20, 18, 40, 38)))


@pytest.mark.parametrize("degrees", [90, -90, 17, -33.3, 180])
def test_a_turned_square_is_turned_upright(degrees: float) -> None:
    """A point (u, v) right of and below the middle comes from there turned clockwise, as the page shows it."""
    pixels = np.asarray(cut(ramp(), Frame(60, 45, 40, degrees), 40), float)
    v, u = np.indices((40, 40)) - 19.5
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    # A pixel's value is the place of its left and upper edge, half a pixel before its middle.
    assert np.abs(pixels[:, :, 0] - (60 - 0.5 + u * cosine - v * sine)).max() <= 1
    assert np.abs(pixels[:, :, 1] - (45 - 0.5 + u * sine + v * cosine)).max() <= 1


def test_beyond_the_picture_its_edge_goes_on() -> None:
    pixels = np.asarray(cut(ramp(), Frame(0, 90, 40), 40))
    assert (pixels[:, :20, 0] == 0).all() and (pixels[:, 20:, 0] == np.arange(20)).all()
    assert (pixels[20:, :, 1] == 89).all() and (pixels[:20, :, 1] == np.arange(70, 90)[:, None]).all()
    far = np.asarray(cut(Image.new("RGB", (9, 9), (7, 8, 9)), Frame(-60, 90, 40, 30), 16))
    assert (far == (7, 8, 9)).all()


@pytest.mark.parametrize("frame", [Frame(70.3, 61.8, 90.5, 14.2), Frame(30, 80, 100, -40), Frame(64, 64, 30, 5)])
@pytest.mark.parametrize("side", [24, 96])
def test_pixels_are_those_of_an_independent_warp(frame: Frame, side: int) -> None:
    rng = np.random.default_rng(3)
    smooth = np.stack([gaussian_filter(rng.random((128, 128)), 4) for _ in range(3)], axis=2)
    source = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    fine = 8  # points a pixel and direction
    v, u = ((np.indices((side * fine,) * 2) + 0.5) / (side * fine) - 0.5) * frame.side
    sine, cosine = math.sin(math.radians(frame.rotation)), math.cos(math.radians(frame.rotation))
    places = [frame.y - 0.5 + u * sine + v * cosine, frame.x - 0.5 + u * cosine - v * sine]
    sampled = [map_coordinates(source[:, :, n].astype(float), places, order=1, mode="nearest") for n in range(3)]
    wanted = np.stack(sampled, axis=2).reshape(side, fine, side, fine, 3).mean(axis=(1, 3))
    found = np.asarray(cut(Image.fromarray(source), frame, side), float)
    assert np.abs(found - wanted).mean() < 1.2
    assert np.abs(found - wanted).max() < 14


def test_what_is_too_fine_for_the_result_becomes_grey() -> None:
    board = np.indices((200, 200)).sum(0) % 2 * 255
    picture = Image.fromarray(board.astype(np.uint8)).convert("RGB")
    for rotation in (0, 30):
        assert np.ptp(np.asarray(cut(picture, Frame(100, 100, 120, rotation), 20), int)) < 12


def test_without_a_frame_the_picture_is_stretched_as_in_2021() -> None:
    wanted = ramp().resize((40, 40), Image.Resampling.BILINEAR)
    assert np.array_equal(cut(ramp(), None, 40), wanted)


def test_a_frame_is_written_and_read_with_one_digit() -> None:
    assert str(Frame(60.26, -3.04, 100.449, -0.04)) == "60.3 -3.0 100.4 0.0"
    assert read_frame("60.3 -3.0 100.4 0.0", 120) == Frame(60.3, -3.0, 100.4, 0.0)
    assert read_frame("", 120) is None


def test_a_frame_as_written_is_the_one_read_again() -> None:
    frame = Frame(60.26, -3.04, 100.449, -0.04)
    assert frame.as_written() == read_frame(str(frame), 120)


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 4 5", "a b c d", "1 2 0 0", "1 2 -5 0", "nan 2 3 0", "1 2 1e9 0"])
def test_other_text_is_no_frame(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_frame(text, 100)


# Policy


def test_the_frame_is_centred_on_the_box_and_sized_by_eyes_and_mouth() -> None:
    assert frame_of(face_at(50, 60)) == Frame(50, 60, pytest.approx(SIDE), 0)
    assert frame_of(face_at(50, 60, size=25)).side == pytest.approx(2.5 * SIDE)


@pytest.mark.parametrize("lean", [-50, -7.5, 30])
def test_a_leaning_head_is_framed_leaning_and_cut_upright(lean: float) -> None:
    face = face_at(100, 90, size=30, lean=lean)
    frame = frame_of(face)
    assert (frame.side, frame.rotation) == (pytest.approx(3 * SIDE), pytest.approx(lean))
    pixels = np.zeros((200, 200, 3), np.uint8)
    for channel, (x, y) in enumerate([face.landmarks[0], face.landmarks[1], face.landmarks[3:].mean(0)]):
        pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3, channel] = 255
    seen = np.asarray(cut(Image.fromarray(pixels), frame, 100), float)
    rows, columns = np.indices((100, 100)) + 0.5
    (left, right, mouth) = [
        [(where * seen[:, :, channel]).sum() / seen[:, :, channel].sum() for where in (columns, rows)]
        for channel in range(3)
    ]
    assert left[1] == pytest.approx(right[1], abs=1.5)
    assert (left[0] + right[0]) / 2 == pytest.approx(50, abs=1.5) == mouth[0]
    assert mouth[1] - left[1] == pytest.approx(100 * EYES_TO_MOUTH, abs=1.5)


def test_the_main_face_is_the_largest() -> None:
    large, small = face_at(70, 50, size=14), face_at(30, 50, size=10, score=0.99)
    assert main_face([small, large], 100, 100) is large


def test_a_larger_face_at_the_edge_yields_to_one_in_the_middle() -> None:
    middle, corner = face_at(50, 50, size=10), face_at(92, 8, size=14)
    assert main_face([corner, middle], 100, 100) is middle
    assert main_face([corner], 100, 100) is corner


def test_without_faces_or_usable_landmarks_there_is_no_main_face() -> None:
    point = replace(face_at(50, 50), landmarks=np.full((5, 2), 50.0))
    strewn = replace(face_at(50, 50), landmarks=100 * face_at(0, 0).landmarks)
    assert main_face([], 100, 100) is main_face([point, strewn], 100, 100) is None


# Prepared sets


def test_a_prepared_set_tells_every_frame_and_leaves_files_as_they_are(download: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    done = prepare(WIKIMEDIA, download, root, StandIn)
    rows = by_name(done.manifest)
    assert rows["left.png"].square() == Frame(30, 40, round(SIDE, 1), 0)
    assert rows["leaning.png"].square() == Frame(50, 44, round(SIDE, 1), 20)
    assert rows["left.png"].framed == "detected"
    assert rows["left.png"].landmarks == "25.0 36.0 35.0 36.0 30.0 41.0 26.5 46.0 33.5 46.0"
    assert rows["left.png"].detector == "stand-in 1, score 0.90"
    assert done.framing == "auto"
    for row in done.manifest.images:
        assert (root / row.path).read_bytes() == (download / row.source_name).read_bytes()
    assert read_manifest(manifest_path(root, "wikimedia")) == done.manifest


def test_a_face_not_found_takes_the_median_frame_and_is_counted(download: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    row = by_name(prepare(WIKIMEDIA, download, root, StandIn).manifest)["none.png"]
    # Shares of width 30/80, 50/80, 60/160; of height 40/100, 44/100, 45/90; of the shorter side SIDE/80 twice, SIDE/90.
    assert row.frame == str(Frame(30, 44, SIDE))
    assert (row.framed, row.landmarks, row.detector) == ("not found, median frame", "", "")
    assert preparation_counts(root, "wikimedia") == {"left_out": 0, "repaired": 0, "not_found": 1}


def test_in_a_set_without_any_face_pictures_stay_whole_and_are_counted(tmp_path: Path) -> None:
    paint(tmp_path / "download/4/a.png", 0, 0)
    done = prepare(WIKIMEDIA, tmp_path / "download", tmp_path, StandIn)
    assert [(row.frame, row.framed) for row in done.manifest.images] == [("", "not found, whole picture")]
    assert preparation_counts(tmp_path, "wikimedia")["not_found"] == 1


def test_kdefs_full_profiles_take_a_fixed_box_and_are_never_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "download/KDEF/AF01"
    for angle, x, y in (("FL", 70, 7), ("HL", 30, 48), ("S", 37, 53), ("HR", 36, 47), ("FR", 9, 70)):
        paint(folder / f"AF01NE{angle}.JPG", x, y)
    paint(folder / "AF01HAS.JPG", 0, 0)
    detector = StandIn()
    done = prepare(KDEF, tmp_path / "download", tmp_path / "data", lambda: detector)
    rows = by_name(done.manifest)
    assert detector.asked == 4
    # In the middle of 80 pixels, at the median of 47, 48 and 53.
    for angle in ("FL", "FR"):
        assert rows[f"AF01NE{angle}.JPG"].frame == str(Frame(40, 48, SIDE * PROFILE_SIDE))
        assert rows[f"AF01NE{angle}.JPG"].framed == "fixed box"
    assert {rows[f"AF01NE{angle}.JPG"].framed for angle in ("HL", "S", "HR")} == {"detected"}
    assert rows["AF01HAS.JPG"].frame == str(Frame(37, 53, SIDE)), "as the other frontal pictures"
    assert rows["AF01HAS.JPG"].framed == "not found, median frame"
    assert preparation_counts(tmp_path / "data", "kdef")["not_found"] == 1


@pytest.mark.parametrize("name", ["raf", "drawn-raf", "drawn-kdef", "drawn-wikimedia"])
def test_sets_that_come_framed_and_drawn_ones_pass_through(raw_trees: Path, tmp_path: Path, name: str) -> None:
    source = raw_trees / name.removeprefix("drawn-")
    done = prepare(DATASETS[name], source, tmp_path, Never)
    assert done.framing == "none"
    assert {(row.frame, row.framed, row.landmarks, row.detector) for row in done.manifest.images} == {("",) * 4}
    assert "not_found" not in preparation_counts(tmp_path, name)
    assert prepare(DATASETS[name], source, tmp_path).reused
    assert DATASETS["ferplus"].framing is None


def test_a_prepared_set_remembers_its_framing(download: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    whole = prepare(WIKIMEDIA, download, root)
    assert prepare(WIKIMEDIA, download, root).reused
    framed = prepare(WIKIMEDIA, download, root, StandIn)
    assert not framed.reused
    assert prepare(WIKIMEDIA, download, root, Never) == replace(framed, reused=True)
    assert load_prepared(WIKIMEDIA, root, framing="none") is None
    assert load_prepared(WIKIMEDIA, root, framing="auto") == load_prepared(WIKIMEDIA, root)
    again = prepare(WIKIMEDIA, download, root)
    assert (again, again.reused) == (whole, False)


def test_frames_enter_the_digest_and_sets_without_keep_theirs(download: Path, tmp_path: Path) -> None:
    whole = prepare(WIKIMEDIA, download, tmp_path / "whole").manifest
    framed = prepare(WIKIMEDIA, download, tmp_path / "framed", StandIn).manifest
    moved = replace(framed.images[0], frame=str(Frame(31, 40, SIDE)))
    digests = {whole.digest, framed.digest, Manifest("wikimedia", (moved, *framed.images[1:])).digest}
    assert len(digests) == 3
    # As before there were frames: models trained then are compared by it.
    keys = [(row.path, row.expression, row.split, "", "", "", row.sha256) for row in whole.images]
    content = "wikimedia" + "".join("\x1f".join(key) + "\n" for key in keys)
    assert whole.digest == hashlib.sha256(content.encode()).hexdigest()[:36]


@pytest.mark.parametrize("frame", ["10 20", "1 2 0 0", "x", "1 2 99999 0"])
def test_a_damaged_frame_says_to_prepare_again(download: Path, tmp_path: Path, frame: str) -> None:
    root = tmp_path / "data"
    manifest = prepare(WIKIMEDIA, download, root, StandIn).manifest
    Manifest("wikimedia", (replace(manifest.images[0], frame=frame),)).write(manifest_path(root, "wikimedia"))
    with pytest.raises(DataError, match="is damaged or of another version of fer: run prepare again for 'wikimedia'"):
        read_manifest(manifest_path(root, "wikimedia"))


def test_packs_hold_what_the_frames_hold(download: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    manifest = prepare(WIKIMEDIA, download, root, StandIn).manifest
    pixels = pack(manifest, root, 24)
    for index, row in enumerate(manifest.images):
        frame, picture = row.square(), read_rgb(root / row.path)
        assert np.array_equal(pixels[index], np.asarray(cut(picture, frame, 24)))
        assert not np.array_equal(pixels[index], np.asarray(cut(picture, None, 24)))
        assert read_thumbnail(row, root, 1000).size == (round(frame.side),) * 2


@pytest.mark.parametrize("shape", [(600, 600), (2, 90_000)], ids=str)
def test_a_frame_far_beyond_its_picture_takes_no_more_memory_than_the_picture_is_given(shape: tuple[int, int]) -> None:
    picture = Image.new("RGB", shape, (9, 80, 200))
    frame = Frame(shape[0] / 2, shape[1] / 2, MAX_REACH * max(shape), 30.0)
    tracemalloc.start()
    cut_out = np.asarray(cut(picture, frame, 24))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < BYTES_PER_PIXEL * max(picture.width * picture.height, SMALL_WINDOW)
    # Beyond the picture its edge goes on, except in the corners of what is turned.
    assert np.abs(cut_out[6:18, 6:18].astype(int) - (9, 80, 200)).max() <= 1


def test_a_large_frame_shows_what_a_smaller_picture_would() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture = coarse.resize((1200, 1200), Image.Resampling.BICUBIC)
    large = np.asarray(cut(picture, Frame(600, 600, 2400), 24)).astype(int)
    small = np.asarray(cut(picture.reduce(4), Frame(150, 150, 600), 24)).astype(int)
    assert np.abs(large - small).max() <= 3
    assert large.std() > 10


def test_framing_none_packs_the_whole_picture_bit_for_bit(download: Path, tmp_path: Path) -> None:
    manifest = prepare(WIKIMEDIA, download, tmp_path / "data").manifest
    pixels = pack(manifest, tmp_path / "data", 24)
    for index, row in enumerate(manifest.images):
        with Image.open(download / row.source_name) as picture:
            wanted = np.asarray(picture.resize((24, 24), Image.Resampling.BILINEAR))
        assert np.array_equal(pixels[index], wanted)
        whole = read_rgb(tmp_path / "data" / row.path)
        assert np.array_equal(np.asarray(read_thumbnail(row, tmp_path / "data", 1000)), np.asarray(whole))


def test_a_missing_detector_leaves_the_old_tree(download: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    before = prepare(WIKIMEDIA, download, root)

    def missing() -> StandIn:
        raise DataError("finding faces needs a package")

    with pytest.raises(DataError, match="needs a package"):
        prepare(WIKIMEDIA, download, root, missing)
    assert load_prepared(WIKIMEDIA, root) == replace(before, reused=True)


def test_the_option_chooses_and_a_set_of_the_other_framing_needs_its_download(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer.pipeline import prepare as command

    root = tmp_path / "data"
    monkeypatch.setattr(command, "center_face", StandIn)
    assert command.prepare_set(WIKIMEDIA, download, root, "none").framing == "none"
    assert command.prepare_set(WIKIMEDIA, download, root, "auto").framing == "auto"
    assert command.prepare_set(WIKIMEDIA, None, root, "auto").reused
    with pytest.raises(DataError, match="was not found in"):
        command.prepare_set(WIKIMEDIA, None, root, "none")
