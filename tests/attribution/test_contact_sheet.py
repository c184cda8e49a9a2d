import io
from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from fer.attribution.contact_sheet import FONT_SIZE, CreditedPicture, credited_sheet
from fer.attribution.credits import API, Credit
from fer.expressions import EXPRESSIONS

KNOWN = Credit(
    file="1/a.jpg", pixels="0f", title="File:A face.jpg", page="https://commons.wikimedia.org/wiki/File:A_face.jpg",
    author="A. Painter", licence="CC BY-SA 3.0", looked_up="2026-11-24", source=API,
)  # fmt: skip
GREY = Image.new("RGB", (64, 80), (120, 120, 120))
LONG = "An_author_with_one_very_long_name_" * 6


def rows(per_class, **changed):
    return {
        name: [CreditedPicture(GREY, replace(KNOWN, author=f"Author {name} {n}", **changed)) for n in range(per_class)]
        for name in EXPRESSIONS
    }


def drawn(figure):
    """The figure's size in pixels, its numbers and its credits, as they are saved."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Image.open(stream).size, figure.axes[0].texts, figure.texts


def words(texts):
    """Texts joined, without the marks that keep their order."""
    return " ".join(text.get_text() for text in texts).replace("\u200e", "")


def boxes(texts, figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [text.get_window_extent(renderer) for text in texts]


def test_pictures_are_numbered_row_by_row_and_each_number_has_its_credit_below():
    _, numbers, credits = drawn(figure := credited_sheet(rows(2), "any"))
    assert [text.get_text() for text in numbers] == [str(n) for n in range(1, 15)]
    assert [tuple(text.get_position()) for text in numbers[:3]] == [(2, 2), (66, 2), (2, 66)]
    expected = [
        f"{n}  A face.jpg, Author {name} {k}, CC BY-SA 3.0, cropped and resized"
        for n, (name, k) in enumerate([(name, k) for name in EXPRESSIONS for k in range(2)], start=1)
    ]
    assert words(text for text in credits if text is not figure._suptitle) == " ".join(expected)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"title": f"File:{LONG}"},
        {"title": "File:WWWW MMMM " + "WM" * 60},
        {"title": "File:دختر بچه‌های غمگین ایرانی"},
    ],
    ids=["usual", "one long word", "wide letters", "Persian"],
)
def test_credits_of_84_pictures_are_readable_inside_the_figure_and_touch_nothing(changed):
    (width, height), numbers, credits = drawn(figure := credited_sheet(rows(12, **changed), "any"))
    assert 800 <= width <= 1000
    texts = [text for text in credits if text is not figure._suptitle]
    found = boxes(texts, figure)
    assert all(text.get_fontsize() == FONT_SIZE >= 7 for text in texts)
    assert all(0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height for box in found)
    assert not [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a.overlaps(b)]
    sheet = figure.axes[0].get_tightbbox()
    assert max(box.y1 for box in found) < sheet.y0
    assert sheet.width > 700
    marks = boxes(numbers, figure)
    assert not [(a, b) for i, a in enumerate(marks) for b in marks[i + 1 :] if a.overlaps(b)]


def test_an_unresolved_picture_says_where_to_look():
    figure = credited_sheet({"fear": [CreditedPicture(GREY, replace(KNOWN, source=""))]}, "any")
    _, _, credits = drawn(figure)
    shown = words(credits)
    assert "1  not attributed: see https://commons.wikimedia.org/wiki/File:A_face.jpg" in shown


def test_a_name_in_letters_the_font_lacks_is_replaced_by_the_page_that_tells_it():
    figure = credited_sheet({"fear": [CreditedPicture(GREY, replace(KNOWN, author="王小明"))]}, "any")
    _, _, credits = drawn(figure)
    shown = words(credits)
    assert "title and author: https://commons.wikimedia.org/wiki/File:A_face.jpg, CC BY-SA 3.0, cropped and" in shown


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^pictures hold no expression"):
        credited_sheet({}, "any")
