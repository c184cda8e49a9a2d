import csv
import io
import re
import shutil
import subprocess
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from fer.attribution.credits import API, HAND, Credit
from fer.attribution.formats import LEFT_TO_RIGHT, attribution_files, credit_line, safe_link, sanitize

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
    history=('2026-11-20: author was "B. Sculptor"',),
)
UNKNOWN = Credit(file="1/Carol's_portrait.JPG", pixels="1e" * 32)
PERSIAN = "دختر بچه‌های «غمگین» ایرانی"
TEXTS = [item.name for item in fields(Credit) if item.name not in ("notes", "history", "pixels")]
HOSTILE = {
    "script": "<script>alert(1)</script>Eve",
    "escaped script": "&lt;script&gt;alert(1)&lt;/script&gt;Eve",
    "twice escaped script": "&amp;lt;script&amp;gt;alert(1)&amp;lt;/script&amp;gt;Eve",
    "unfinished script": "Eve<script src=//evil.example/x.js",
    "handler": "<img src=x onerror=alert(1)>Eve",
    "attribute": '"\' onmouseover=alert(1) x="Eve',
    "javascript link": '<a href="javascript:alert(1)">Eve</a>',
    "data link": '<a href="data:text/html,<script>alert(1)</script>">Eve</a>',
    "bare javascript": "javascript:alert(1)//Eve",
    "split javascript": "java\nscript:alert(1)//Eve",
    "bare data": "data:text/html,Eve",
    "end of table": "</td></tr></table></body><h1>Eve",
    "comment": "Eve <!-- x",
    "markdown": "| [Eve](javascript:alert(1)) ![x](http://evil.example/x.png) `code` <b>**bold**</b> #x",
    "markdown escapes": "\\| \\[Eve](data:x) \\\\`",
    "address": "https://evil.example/Eve and www.evil.example, ftp://evil.example",
    "formula": '=HYPERLINK("http://evil.example","Eve")',
    "plus": "+1+cmd|' /C calc'!A0 Eve",
    "minus": "-2+3 Eve",
    "at": "@SUM(1+1) Eve",
    "tab": "\t=1+1 Eve",
    "return": "\r\n=1+1 Eve",
    "bibtex": "}} } {{ Eve, @misc{stolen, title = {x}} \\input{/etc/passwd} $x^2$ 100% #1 & ~_",
    "one brace": "Eve }",
    "control": "E\x00v\x1be \u202eevE\u202c \ud800",
}
hostile = pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)


def everywhere(evil):
    """A resolved and an unresolved picture with a hostile text in every field that may hold one."""
    fault = {name: evil for name in TEXTS if name not in ("source", "looked_up")} | {"notes": (evil, evil)}
    fault |= {"history": (evil,)}
    return [replace(GOOD, **fault), replace(GOOD, **fault | {"file": f"{evil} 2"}, looked_up=evil, source=evil)]


class Page(HTMLParser):
    """A page's elements and attributes; fails on any that is not closed, or closed twice."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.attributes, self.texts = [], [], [], [], []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)


def rows(content):
    return list(csv.DictReader(io.StringIO(content, newline=""), strict=True))


def test_credits_name_title_author_source_licence_changes_restrictions_date_and_contradictions_in_every_format():
    made = attribution_files([GOOD])
    assert set(made) == {"attribution.html", "attribution.csv"}
    shown = Page(made["attribution.html"])
    known = (
        "Sword of Anger.jpg", "A. Painter", "CC BY-SA 3.0", "Own work", "cropped and resized", "personality",
        "2026-11-24", "contradiction: the file says all rights reserved", "6/Sword_of_Anger.jpg", "Some Body",
        '2026-11-20: author was "B. Sculptor"', "Wikimedia Commons", "revision of 2012-03-04T05:06:07Z",
    )  # fmt: skip
    for text in known:
        assert text in shown.text
    (row,) = rows(made["attribution.csv"])
    assert row == {"resolved": "true", **{name: getattr(GOOD, name) for name in TEXTS}} | {
        "pixels": GOOD.pixels,
        "notes": GOOD.notes[0],
        "history": GOOD.history[0],
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


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)",
        "data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://x.example/", "/wiki/File:A.jpg", "wiki", "",
        "http://", "https://[", "https://commons.wikimedia.org@evil.example/",
    ],
)  # fmt: skip
def test_only_web_addresses_become_links(address):
    assert safe_link(address) == ""


def test_a_link_holds_nothing_that_ends_an_attribute_or_brackets():
    known = "https://commons.wikimedia.org/wiki/File:A_(b)_%22c%22.jpg?x=1&y=2#z"
    assert safe_link(known) == "https://commons.wikimedia.org/wiki/File:A_%28b%29_%22c%22.jpg?x=1&y=2#z"
    assert safe_link("https://x.example/دختر{}|\\^") == "https://x.example/%D8%AF%D8%AE%D8%AA%D8%B1%7B%7D%7C%5C%5E"


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
