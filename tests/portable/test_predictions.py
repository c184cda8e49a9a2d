import base64
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.framing import center_face_weights
from fer.data.packing import pack
from fer.data.prepare import prepare
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.portable import images, predictions
from fer.portable.predictions import BOX, Predictor, decode_value
from tests.data.test_framing import StandIn, face_at

Pixels = np.ndarray


class Several:
    """A detector that finds a small face at the left, a large one in the middle, and one too small to be framed."""

    def faces(self, picture: Pixels) -> list:
        return [face_at(20, 50, score=0.75), face_at(50, 50, size=14, score=0.625), face_at(80, 80, size=0.5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("model")
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32)), made)
    (made / "detector.onnx").write_bytes(center_face_weights())
    return made


@pytest.fixture
def predictor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    made = Predictor(folder, folder / "detector.onnx")
    monkeypatch.setattr(made, "_detector", Several())
    return made


def content(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(seed: int = 0, size: tuple[int, int] = (100, 100)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


GOOD = base64.b64encode(content(picture())).decode()


def test_a_picture_gives_a_row_for_every_face_its_main_face_first(predictor: Predictor) -> None:
    rows = predictor.rows([GOOD, GOOD], "auto")
    assert [row["input_row"] for row in rows] == [0, 0, 1, 1]
    assert [row["face_score"] for row in rows] == [0.625, 0.75] * 2
    assert [rows[0][name] for name in BOX] == [36, 32.5, 64, 67.5]
    for row in rows:
        assert list(row) == predictor.columns
        assert sum(row[name] for name in EXPRESSIONS) == pytest.approx(1)
        assert row["expression"] == max(EXPRESSIONS, key=row.__getitem__)
        assert row["error"] is None


def test_without_framing_the_whole_picture_is_one_face(predictor: Predictor) -> None:
    (row,) = predictor.rows([base64.b64encode(content(picture(size=(60, 40)))).decode()], "none")
    assert [row[name] for name in BOX] == [0, 0, 60, 40]
    assert (row["face_score"], row["error"]) == (1, None)


def test_a_box_counts_in_pixels_of_the_picture_as_displayed(predictor: Predictor) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (row,) = predictor.rows([content(picture(size=(60, 40)), "JPEG", exif=exif)], "none")
    assert [row[name] for name in BOX] == [0, 0, 40, 60]


@pytest.mark.parametrize(
    "value",
    [GOOD, f"data:image/png;base64,{GOOD}", "\n".join(GOOD[n : n + 76] for n in range(0, len(GOOD), 76)),
     base64.b64decode(GOOD)],
    ids=["plain", "data URL", "wrapped", "bytes"],
)  # fmt: skip
def test_every_way_to_send_a_picture_gives_the_same_answer(predictor: Predictor, value: str | bytes) -> None:
    assert predictor.rows([value], "auto") == predictor.rows([GOOD], "auto")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "the row is empty: send"),
        (float("nan"), "the row is empty: send"),
        ("", "the row is empty: send"),
        (17, "the row holds no text: send"),
        (["x"], "the row holds no text: send"),
        (np.zeros(3), "the row holds no text: send"),
        (pandas.NA, "the row holds no text: send"),
        ("not base64!", "the row is not base64: send"),
        ("Grüße", "the row is not base64: send"),
        ("data:image/png;base64,", "the picture is not readable: send a JPEG or PNG"),
        (base64.b64encode(b"no picture").decode(), "the picture is not readable: send a JPEG or PNG"),
        (base64.b64encode(base64.b64decode(GOOD)[:-4000]).decode(), "the picture is not readable: send"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "the picture is not readable: send"),
        ("/etc/hostname", "the row is not base64: send"),
    ],
    ids=[
        "null",
        "nan",
        "no text",
        "number",
        "list",
        "array",
        "not available",
        "words",
        "umlauts",
        "nothing",
        "no picture",
        "cut",
        "eps",
        "path",
    ],
)
def test_a_row_that_is_no_picture_has_its_own_sentence_and_harms_no_other(
    predictor: Predictor, value: object, sentence: str
) -> None:
    first, _, bad, last, _ = predictor.rows([GOOD, value, GOOD], "auto")
    assert bad["error"].startswith(sentence)
    assert bad == dict.fromkeys(predictor.columns) | {"input_row": 1, "error": bad["error"]}
    assert first == last | {"input_row": 0}


def test_a_picture_of_too_many_pixels_is_refused(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 9_999)
    assert predictor.rows([GOOD], "auto")[0]["error"].startswith("the picture is too large: send")


def test_a_text_longer_than_any_picture_is_refused_before_it_is_decoded(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "LONGEST_TEXT", len(GOOD) - 1)
    assert predictor.rows([GOOD], "auto")[0]["error"].startswith("the picture is too large: send")


def test_blanks_in_a_text_take_no_more_memory_than_the_text() -> None:
    blanks = "A \n" * 300_000
    tracemalloc.start()
    assert len(decode_value(blanks)) == 225_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(blanks)


def test_a_picture_without_a_face_says_how_to_take_it_whole(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "_detector", StandIn())
    black = content(Image.new("RGB", (40, 40)))
    (row,) = predictor.rows([black], "auto")
    assert row["error"].startswith("no face was found: give the params framing=none")
    assert row["expression"] is row["anger"] is row["box_left"] is None
    assert predictor.rows([black], "none")[0]["error"] is None


def test_a_fault_of_ours_is_one_rows_and_tells_nothing_of_the_machine(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def faces(self, picture: Pixels) -> list:
            raise RuntimeError("/secret/place")

    monkeypatch.setattr(predictor, "_detector", Broken())
    (row, other) = predictor.rows([GOOD, None], "auto")
    assert row["error"].startswith("the picture could not be processed")
    assert other["error"].startswith("the row is empty")
    assert "/secret/place" in caplog.text


def test_an_unknown_framing_is_said_in_every_row(predictor: Predictor) -> None:
    rows = predictor.rows([GOOD, GOOD], "both")
    assert [row["error"] for row in rows] == ["the params framing must be auto or none"] * 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_are_answered_never_a_crash(predictor: Predictor, kind: str) -> None:
    rng, whole, refused = np.random.default_rng(1), content(picture(size=(24, 20)), kind), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 9)):
            damaged[place] = rng.integers(0, 256)
        (row,) = predictor.rows([bytes(damaged[: rng.integers(1, len(damaged) + 1)])], "none")
        refused += row["error"] is not None
        assert row["error"] is None or "/" not in row["error"]
    assert refused


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA", "CMYK"])
def test_a_served_model_sees_what_training_saw(mode: str, folder: Path, tmp_path: Path) -> None:
    shades = picture().convert("L")
    deep = Image.fromarray(np.asarray(shades, np.uint16) * 257)
    drawn = deep if mode == "I;16" else picture().convert(mode)
    (tmp_path / "download/3").mkdir(parents=True)
    drawn.save(tmp_path / "download/3/a.tif")
    manifest = prepare(WIKIMEDIA, tmp_path / "download", tmp_path / "data").manifest
    (trained,) = pack(manifest, tmp_path / "data", 32)
    (face,) = Predictor(folder, folder / "detector.onnx")._faces((tmp_path / "download/3/a.tif").read_bytes(), "none")
    assert np.array_equal(face.crop, trained)
    if mode in ("L", "I;16"):
        assert np.array_equal(trained[..., 0], shades.resize((32, 32), Image.Resampling.BILINEAR))
