import csv
import io
import re
import shutil
import subprocess
from dataclasses import fields, replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from fer.attribution import artifact
from fer.attribution.artifact import FONT_SIZE, LEFT_TO_RIGHT, credited_sheet
from fer.attribution.credits import API, HAND, Credit, sanitize
from fer.expressions import EXPRESSIONS
from tests.pages import HOSTILE, Page

GOOD = Credit(
    file="6/Sword_of_Anger.jpg",
    pixels="0f" * 32,
    title="File:Sword of Anger.jpg",
    page="https://commons.wikimedia.org/wiki/File:Sword_of_Anger.jpg",
    author="A. Painter",
    licence="CC BY-SA 3.0",
    licence_url="https://creativecommons.org/licenses/by-sa/3.0/",
    credit="Own work",
    restrictions="personality",
    uploader="Some Body",
    sha1="ab" * 20,
    revised="2012-03-04T05:06:07Z",
    looked_up="2026-11-24",
    source=API,
    notes=("contradiction: the file says all rights reserved",),
)
UNKNOWN = Credit(file="1/Carol's_portrait.JPG", pixels="1e" * 32)
PERSIAN = "دختر بچه‌های «غمگین» ایرانی"
TEXTS = [item.name for item in fields(Credit) if item.name not in ("notes", "pixels")]
hostile = pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)


def everywhere(evil):
    """A resolved and an unresolved picture with a hostile text in every field that may hold one."""
    fault = {name: evil for name in TEXTS if name not in ("source", "looked_up")} | {"notes": (evil, evil)}
    return [replace(GOOD, **fault), replace(GOOD, **fault | {"file": f"{evil} 2"}, looked_up=evil, source=evil)]


def attribution_files(credits):
    """The files of credits that came through `credits_of`, which makes plain text of them."""
    return artifact.attribution_files([sanitize(credit) for credit in credits])


def credit_line(credit):
    """The line of a credit that came through `credits_of`."""
    return artifact.credit_line(sanitize(credit))


def rows(content):
    return list(csv.DictReader(io.StringIO(content, newline=""), strict=True))


def test_credits_name_title_author_source_licence_changes_restrictions_date_and_contradictions_in_every_format():
    made = attribution_files([GOOD])
    assert set(made) == {"attribution.html", "attribution.csv"}
    shown = Page(made["attribution.html"])
    known = (
        "Sword of Anger.jpg", "A. Painter", "CC BY-SA 3.0", "Own work", "cropped and resized", "personality",
        "2026-11-24", "contradiction: the file says all rights reserved", "6/Sword_of_Anger.jpg", "Some Body",
        "Wikimedia Commons", "revision of 2012-03-04T05:06:07Z",
    )  # fmt: skip
    for text in known:
        assert text in shown.text
    (row,) = rows(made["attribution.csv"])
    assert row == {"resolved": "true", **{name: getattr(GOOD, name) for name in TEXTS}} | {
        "pixels": GOOD.pixels,
        "notes": GOOD.notes[0],
    }


def test_title_uploader_source_and_licence_are_links():
    uploader = "https://commons.wikimedia.org/wiki/User:Some_Body"
    expected = [GOOD.page, uploader, GOOD.page, GOOD.licence_url]
    assert Page(attribution_files([GOOD])["attribution.html"]).links == expected


def test_every_picture_is_accounted_for_and_the_unresolved_are_counted_and_listed_with_a_page_to_visit():
    likely = Credit(file="2/b.jpg", pixels="2d", title="File:B (x).jpg")
    made = attribution_files([GOOD, UNKNOWN, likely, replace(GOOD, file="7/c.jpg", source="embedded metadata")])
    shown = Page(made["attribution.html"])
    assert "4 pictures from Wikimedia Commons, 3 unresolved" in shown.text
    assert "Unresolved (3)" in shown.text
    assert "Credits (1)" in shown.text
    assert shown.text.count("page to visit") == 1  # the one without a title
    assert "https://commons.wikimedia.org/w/index.php?ns6=1&search=Carol%27s%20portrait" in shown.links
    assert "https://commons.wikimedia.org/wiki/File:B_%28x%29.jpg" in shown.links
    assert [row["resolved"] for row in rows(made["attribution.csv"])] == ["true", "false", "false", "false"]
    assert all(row["page"].startswith("https://") for row in rows(made["attribution.csv"]))


def test_what_was_entered_by_hand_is_marked_so_and_its_source_named_in_every_format():
    page = "https://photos.example.org/1"
    entered = replace(GOOD, source=HAND, page=page, title="", credit="", uploader="")
    made = attribution_files([entered, replace(GOOD, file="6/other.jpg")])
    assert all(page in content for content in made.values())
    content = made["attribution.html"]
    assert "2 pictures from Wikimedia Commons, 0 unresolved, 1 entered by hand" in content
    shown = [text for text in content.split("<tr>") if "6/" in text]
    for mark in ("entered by hand", "photos.example.org</bdi>", "untitled"):
        assert [mark in row for row in shown] == [True, False]
    assert [row["source"] for row in rows(made["attribution.csv"])] == [HAND, API]
    marks = [credit_line(credit).replace(LEFT_TO_RIGHT, "") for credit in (entered, GOOD)]
    assert marks[0] == "A. Painter, CC BY-SA 3.0, cropped and resized, credit entered by hand"
    assert HAND not in marks[1]


def test_a_picture_in_doubt_is_listed_as_unresolved_with_the_reason():
    made = attribution_files([replace(GOOD, notes=("in doubt: the title is a common word",))])
    assert "1 picture from Wikimedia Commons, 1 unresolved" in made["attribution.html"]
    assert all("in doubt: the title" in content for content in made.values())
    assert credit_line(replace(GOOD, notes=("in doubt: x",))).startswith("not attributed: see ")


def test_nothing_unresolved_is_said_too():
    made = attribution_files([GOOD])
    assert "1 picture from Wikimedia Commons, 0 unresolved" in made["attribution.html"]
    assert "Unresolved" not in Page(made["attribution.html"]).text


@hostile
def test_no_hostile_field_gets_an_element_an_attribute_or_a_link_into_the_page(evil):
    shown = Page(attribution_files(everywhere(evil))["attribution.html"])
    allowed = "html head meta title style body h1 h2 p div table thead tbody tr th td a bdi"
    assert set(shown.tags) <= set(allowed.split())
    assert set(shown.attributes) <= {"lang", "charset", "http-equiv", "content", "name", "href", "rel", "class"}
    assert shown.attributes.count("class") == 2  # of the two tables
    assert all(link.startswith(("http://", "https://")) for link in shown.links)
    assert shown.tags.count("td") == 2 * 8
    without_files = shown.text
    for item in everywhere(evil):
        without_files = without_files.replace(sanitize(item).file, "")
    assert "script>" not in without_files
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", shown.text)


@hostile
def test_no_cell_of_the_table_is_a_formula(evil):
    content = attribution_files(everywhere(evil))["attribution.csv"]
    found = rows(content)
    assert len(found) == 2
    for row in found:
        assert None not in row
        assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("sign", "=+-@")
def test_a_cell_that_would_be_a_formula_keeps_its_text_behind_an_apostrophe(sign):
    (row,) = rows(attribution_files([replace(GOOD, author=f"{sign}1+1")])["attribution.csv"])
    assert row["author"] == f"'{sign}1+1"
    (row,) = rows(attribution_files([replace(GOOD, author=f"\t{sign}1+1")])["attribution.csv"])
    assert row["author"] == f"'{sign}1+1"


def test_persian_letters_joiners_and_quotes_survive_in_every_format():
    name = f'{PERSIAN} "Vélib\'"'
    for content in attribution_files([replace(GOOD, title=f"File:{name}", author=name)]).values():
        assert content.count(PERSIAN) == content.count("Vélib") == 2
    made = attribution_files([replace(GOOD, author=name)])
    assert name in Page(made["attribution.html"]).text
    assert rows(made["attribution.csv"])[0]["author"] == name


def test_an_author_who_is_nothing_but_a_script_leaves_the_picture_unresolved():
    emptied = replace(GOOD, author="<script>alert(1)</script>")
    assert emptied.resolved
    assert not sanitize(emptied).resolved
    assert "1 unresolved" in attribution_files([emptied])["attribution.html"]


def test_a_line_for_figures_names_title_author_licence_and_changes_or_the_page():
    assert (
        credit_line(GOOD).replace(LEFT_TO_RIGHT, "")
        == "Sword of Anger.jpg, A. Painter, CC BY-SA 3.0, cropped and resized"
    )
    assert credit_line(UNKNOWN).startswith("not attributed: see https://commons.wikimedia.org/w/index.php?")


def test_the_page_is_self_contained_allows_no_script_and_is_readable_in_light_and_dark():
    content = attribution_files([GOOD, UNKNOWN])["attribution.html"]
    shown = Page(content)
    assert content.startswith("<!DOCTYPE html>\n<html lang=")
    assert "color-scheme: light dark" in content
    assert "default-src 'none'" in content
    assert not {"script", "link", "img", "iframe"} & set(shown.tags)
    assert "url(" not in content
    assert "@import" not in content


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium on this machine")
def test_chromium_shows_every_picture_and_runs_no_script(tmp_path):
    page = tmp_path / "attribution.html"
    pictures = [GOOD, UNKNOWN, *(credit for evil in HOSTILE.values() for credit in everywhere(evil))]
    page.write_text(attribution_files(pictures)["attribution.html"], encoding="utf-8", errors="strict")
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert Page(seen.replace("<!DOCTYPE html>", "")).tags.count("tr") == len(pictures) + 2


KNOWN = Credit(
    file="1/a.jpg", pixels="0f", title="File:A face.jpg", page="https://commons.wikimedia.org/wiki/File:A_face.jpg",
    author="A. Painter", licence="CC BY-SA 3.0", looked_up="2026-11-24", source=API,
)  # fmt: skip
GREY = Image.new("RGB", (64, 80), (120, 120, 120))
LONG = "An_author_with_one_very_long_name_" * 6


def sheet_of(per_class, **changed):
    """A sheet of grey pictures whose authors are named by class and number."""
    authors = [f"Author {name} {number}" for name in EXPRESSIONS for number in range(per_class)]
    credits = [replace(KNOWN, author=author, **changed) for author in authors]
    return credited_sheet({name: [GREY] * per_class for name in EXPRESSIONS}, credits, "any")


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
    _, numbers, credits = drawn(figure := sheet_of(2))
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
    (width, height), numbers, credits = drawn(figure := sheet_of(12, **changed))
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
    figure = credited_sheet({"fear": [GREY]}, [replace(KNOWN, source="")], "any")
    _, _, credits = drawn(figure)
    # An address longer than a line is broken anywhere.
    shown = words(credits).replace(" ", "")
    assert "1notattributed:seehttps://commons.wikimedia.org/wiki/File:A_face.jpg" in shown


def test_a_name_in_letters_the_font_lacks_is_replaced_by_the_page_that_tells_it():
    figure = credited_sheet({"fear": [GREY]}, [replace(KNOWN, author="王小明")], "any")
    _, _, credits = drawn(figure)
    shown = words(credits).replace(" ", "")
    assert "titleandauthor:https://commons.wikimedia.org/wiki/File:A_face.jpg,CCBY-SA3.0,croppedand" in shown
