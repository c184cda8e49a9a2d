import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from fer.errors import DataError
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.prediction import demo_backend, recogniser
from fer.prediction.demo_backend import Answering, choices, taken
from fer.tracking.models import ListedModel
from tests.data.test_framing import StandIn


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32, terms=("research only",), trained_on=("raf",))), folder)
    return folder


@pytest.fixture
def answers(model: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    monkeypatch.setattr(recogniser, "_detector", StandIn)
    return Answering({"mine": str(model), "gone": str(model / "nowhere")}, "cpu")


def encoded(x: int, y: int, kind: str = "PNG", size: tuple[int, int] = (80, 100)) -> bytes:
    """A picture whose first pixel tells `StandIn` where a face is."""
    picture = Image.new("RGB", size, (90, 90, 90))
    picture.putpixel((0, 0), (x, y, 0))
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


def test_a_picture_is_answered_as_it_was_asked(answers: Answering) -> None:
    page = answers.answer(encoded(30, 40), "mine", whole=False, explain=True)
    assert "1 face." in page and 'class="map"' in page and "mine, " in page
    plain = answers.answer(encoded(30, 40), "mine", whole=False, explain=False)
    assert "1 face." in plain and 'class="map"' not in plain
    assert "No face found" in answers.answer(encoded(0, 0), "mine", whole=False, explain=True)
    assert "1 face." in answers.answer(encoded(0, 0), "mine", whole=True, explain=False)


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(30, 40)[:60], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_picture_is_answered_in_words(answers: Answering, content: bytes) -> None:
    page = answers.answer(content, "mine", whole=False, explain=False)
    assert 'class="fault"' in page and "No answer: " in page and "<img" not in page


def test_a_picture_of_too_many_pixels_is_refused_with_the_limit(answers: Answering) -> None:
    content = io.BytesIO()
    Image.new("1", (8000, 6300)).save(content, "PNG")
    page = answers.answer(content.getvalue(), "mine", whole=True, explain=False)
    assert "8000x6300" in page and "up to 50 million pixels" in page


def test_only_the_models_on_offer_are_loaded(answers: Answering, model: Path) -> None:
    assert "unknown model" in answers.answer(encoded(1, 1), str(model), whole=True, explain=False)
    assert "no model at" in answers.answer(encoded(1, 1), "gone", whole=True, explain=False)
    assert 'class="fault"' in answers.about("gone")
    about = answers.about("mine")
    assert "squeezenet1_1" in about and "research only" in about and "no diagnosis of feelings" in about


def test_a_model_is_loaded_once(answers: Answering) -> None:
    assert answers.recogniser("mine") is answers.recogniser("mine")


def test_the_model_asked_for_comes_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [ListedModel("models:/a/1", "a, champion (version 1)"), ListedModel("models:/b/2", "b, version 2")]
    monkeypatch.setattr(demo_backend, "registered_models", lambda: listed)
    assert list(choices("models:/b/2").items()) == [
        ("b, version 2", "models:/b/2"), ("a, champion (version 1)", "models:/a/1"),
    ]  # fmt: skip
    assert list(choices("some/folder")) == ["some/folder", "a, champion (version 1)", "b, version 2"]


def test_an_upload_is_deleted_as_it_is_read(tmp_path: Path) -> None:
    place = tmp_path / "uploads/abc/face.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"picture")
    assert taken(place, tmp_path / "uploads") == b"picture"
    assert list((tmp_path / "uploads").iterdir()) == []
    with pytest.raises(DataError, match="drop the picture again"):
        taken(place, tmp_path / "uploads")


def test_nothing_outside_the_uploads_is_read_or_deleted(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "uploads/link").symlink_to(tmp_path / "secret")
    for place in (tmp_path / "secret", tmp_path / "uploads/../secret", tmp_path / "uploads/link", tmp_path / "uploads"):
        with pytest.raises(DataError, match="drop the picture again"):
            taken(place, tmp_path / "uploads")
    assert (tmp_path / "secret").read_text() == "kept"
