import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from fer.expressions import EXPRESSIONS
from fer.prediction.annotate import CARDS
from fer.prediction.demo_page import STYLE, answer_page, fault_page, model_page
from tests.prediction.test_annotate import Face


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
    page = Reader(answer_page(Image.new("RGB", (100, 80)), faces, [np.ones((32, 32), np.float32)], "fer, 1 second"))
    assert [name for name, _ in page.pictures] == ["whole", "crop", "map", "crop"]
    assert page.pictures[0][1].size == (640, 512)
    assert "2 faces" in page.words and "fer, 1 second" in page.words
    assert "1: happiness" in page.words and "2: anger" in page.words
    assert (len(page.bars), page.bars[3], page.bars[7 + 5]) == (14, 90.0, 40.0)
    assert page.words.count("90%") == page.words.count("40%") == 1
    assert all(page.words.count(f"\n{name}\n") >= 2 for name in EXPRESSIONS)


def test_no_face_and_too_many_faces_are_said() -> None:
    assert "No face found" in Reader(answer_page(Image.new("RGB", (9, 9)), [], [], "")).words
    many = Reader(answer_page(Image.new("RGB", (99, 99)), [Face((1, 1, 9, 9))] * (CARDS + 3), [], ""))
    assert len(many.pictures) == 1 + CARDS
    assert "And 3 more faces" in many.words


def test_what_comes_from_outside_cannot_become_part_of_the_page() -> None:
    evil = "<img src=x onerror=alert(1)>"
    for page in (
        fault_page(evil),
        model_page(evil, [evil], [evil]),
        answer_page(Image.new("RGB", (9, 9)), [], [], evil),
    ):
        assert evil in Reader(page).words
        assert "onerror" not in re.sub("&lt;.*?&gt;", "", page)


def test_a_model_is_shown_with_its_terms_and_limits() -> None:
    words = Reader(model_page("resnet18", ["research only", "MIT"], ["Not a diagnosis."])).words
    assert all(part in words for part in ("About the model", "resnet18", "research only; MIT", "Not a diagnosis."))
    assert "it inherits none" in Reader(model_page("x", [], [])).words


def test_the_style_fetches_nothing() -> None:
    assert "url(" not in STYLE and "@import" not in STYLE
