import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.prediction import demo, recogniser
from fer.prediction.annotate import MAX_CARDS
from fer.prediction.demo import DemoBackend, error_html, faces_html, model_choices, take_upload
from fer.utils.rendering import render
from tests.data.test_framing import StandIn
from tests.prediction.test_annotate import Face


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32, terms=("research only",), trained_on=("raf",))), folder)
    return folder


@pytest.fixture
def backend(model: Path, monkeypatch: pytest.MonkeyPatch) -> DemoBackend:
    monkeypatch.setattr(recogniser, "_detector", StandIn)
    return DemoBackend({"mine": str(model), "gone": str(model / "nowhere")}, "cpu")


def encoded(x: int, y: int, kind: str = "PNG", size: tuple[int, int] = (80, 100)) -> bytes:
    """A picture whose first pixel tells `StandIn` where a face is."""
    picture = Image.new("RGB", size, (90, 90, 90))
    picture.putpixel((0, 0), (x, y, 0))
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


def test_a_picture_is_answered_as_it_was_asked(backend: DemoBackend) -> None:
    page = backend.predict(encoded(30, 40), "mine", whole=False, explain=True)
    assert "1 face." in page and 'class="map"' in page and "mine, " in page
    plain = backend.predict(encoded(30, 40), "mine", whole=False, explain=False)
    assert "1 face." in plain and 'class="map"' not in plain
    assert "No face found" in backend.predict(encoded(0, 0), "mine", whole=False, explain=True)
    assert "1 face." in backend.predict(encoded(0, 0), "mine", whole=True, explain=False)


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(30, 40)[:60], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_picture_is_answered_in_words(backend: DemoBackend, content: bytes) -> None:
    page = backend.predict(content, "mine", whole=False, explain=False)
    assert 'class="fault"' in page and "No answer: " in page and "<img" not in page


def test_a_picture_of_too_many_pixels_is_refused_with_the_limit(backend: DemoBackend) -> None:
    content = io.BytesIO()
    Image.new("1", (8000, 6300)).save(content, "PNG")
    page = backend.predict(content.getvalue(), "mine", whole=True, explain=False)
    assert "8000x6300" in page and "up to 50 million pixels" in page


def test_only_the_models_on_offer_are_loaded(backend: DemoBackend, model: Path) -> None:
    assert "unknown model" in backend.predict(encoded(1, 1), str(model), whole=True, explain=False)
    assert "no model at" in backend.predict(encoded(1, 1), "gone", whole=True, explain=False)
    assert 'class="fault"' in backend.describe("gone")
    about = backend.describe("mine")
    assert "squeezenet1_1" in about and "research only" in about and "no diagnosis of feelings" in about


def test_a_model_is_loaded_once(backend: DemoBackend) -> None:
    assert backend.recogniser("mine") is backend.recogniser("mine")


def test_the_model_asked_for_comes_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"models:/a/1": "a, champion (version 1)", "models:/b/2": "b, version 2"}
    monkeypatch.setattr(demo, "registered_models", lambda: labels)
    assert list(model_choices("models:/b/2").items()) == [
        ("b, version 2", "models:/b/2"), ("a, champion (version 1)", "models:/a/1"),
    ]  # fmt: skip
    assert list(model_choices("some/folder")) == ["some/folder", "a, champion (version 1)", "b, version 2"]


def test_an_upload_is_deleted_as_it_is_read(tmp_path: Path) -> None:
    place = tmp_path / "uploads/abc/face.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"picture")
    assert take_upload(place, tmp_path / "uploads") == b"picture"
    assert list((tmp_path / "uploads").iterdir()) == []
    with pytest.raises(DataError, match="drop the picture again"):
        take_upload(place, tmp_path / "uploads")


def test_nothing_outside_the_uploads_is_read_or_deleted(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "uploads/link").symlink_to(tmp_path / "secret")
    for place in (tmp_path / "secret", tmp_path / "uploads/../secret", tmp_path / "uploads/link", tmp_path / "uploads"):
        with pytest.raises(DataError, match="drop the picture again"):
            take_upload(place, tmp_path / "uploads")
    assert (tmp_path / "secret").read_text() == "kept"


class Reader(HTMLParser):
    """What a browser would show: words, pictures, and how wide bars are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.pictures, self.bars, self.tags = "", [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            kind, _, content = given["src"].partition(";base64,")
            assert kind == "data:image/jpeg", "nothing is fetched from elsewhere"
            self.pictures.append((given["class"], Image.open(io.BytesIO(base64.b64decode(content)))))
        if given.get("class") == "bar":
            self.bars.append(float(re.fullmatch(r"width:([\d.]+)%", given["style"])[1]))

    def handle_data(self, data):
        self.words += data + "\n"


def test_the_answer_shows_picture_faces_maps_and_every_probability() -> None:
    faces = [Face((10, 10, 60, 60), share=0.9), Face((70, 10, 90, 60), "anger", share=0.4)]
    page = Reader(faces_html(Image.new("RGB", (100, 80)), faces, [np.ones((32, 32), np.float32)], "fer, 1 second"))
    assert [name for name, _ in page.pictures] == ["whole", "crop", "map", "crop"]
    assert page.pictures[0][1].size == (640, 512)
    assert "2 faces" in page.words and "fer, 1 second" in page.words
    assert "1: happiness" in page.words and "2: anger" in page.words
    assert (len(page.bars), page.bars[3], page.bars[7 + 5]) == (14, 90.0, 40.0)
    assert page.words.count("90%") == page.words.count("40%") == 1
    assert all(page.words.count(f"\n{name}\n") >= 2 for name in EXPRESSIONS)


def test_no_face_and_too_many_faces_are_said() -> None:
    assert "No face found" in Reader(faces_html(Image.new("RGB", (9, 9)), [], [], "")).words
    many = Reader(faces_html(Image.new("RGB", (99, 99)), [Face((1, 1, 9, 9))] * (MAX_CARDS + 3), [], ""))
    assert len(many.pictures) == 1 + MAX_CARDS
    assert "And 3 more faces" in many.words


def test_what_comes_from_outside_cannot_become_part_of_the_page() -> None:
    evil = "<img src=x onerror=alert(1)>"
    for page in (
        error_html(evil),
        render("demo_model.html", summary=evil, terms=[evil], limits=[evil]),
        faces_html(Image.new("RGB", (9, 9)), [], [], evil),
    ):
        assert evil in Reader(page).words
        assert "onerror" not in re.sub("&lt;.*?&gt;", "", page)


def test_a_model_is_shown_with_its_terms_and_limits() -> None:
    known = {"summary": "resnet18", "terms": ["research only", "MIT"], "limits": ["Not a diagnosis."]}
    words = Reader(render("demo_model.html", **known)).words
    assert all(part in words for part in ("About the model", "resnet18", "research only; MIT", "Not a diagnosis."))
    assert "it inherits none" in Reader(render("demo_model.html", summary="x", terms=[], limits=[])).words


def test_the_style_fetches_nothing() -> None:
    style = render("demo.css")
    assert "url(" not in style and "@import" not in style
