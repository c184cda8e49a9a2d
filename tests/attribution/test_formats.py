import csv
import io
import re
import shutil
import subprocess
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from fer.attribution.credits import API, HAND, Credit
from fer.attribution.formats import COLUMNS, LEFT_TO_RIGHT, artifacts, cleaned, line, safe_link

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


def entries(content):
    """Parse BibTeX as its program does, by counting braces: a dict of fields by key."""
    found, place = {}, 0
    while (start := content.find("@", place)) >= 0:
        kind, key = re.compile(r"@(\w+)\{([^,\s{}]+),").match(content, start).groups()
        assert kind == "misc"
        assert key not in found
        place, values = content.index(",", start) + 1, {}
        while field := re.compile(r"\s*(\w+) = ").match(content, place):
            begin = place = field.end()
            depth = 0
            while depth or place == begin:
                depth += {"{": 1, "}": -1}.get(content[place], 0)
                place += 1
            values[field[1]] = content[begin + 1 : place - 1]
            assert content[place] == ","
            place += 1
        end = re.compile(r"\s*\}\n").match(content, place)
        assert end, content[place : place + 40]
        found[key], place = values, end.end()
    assert content.count("@misc{") >= len(found)
    return found


def test_credits_name_title_author_source_licence_changes_restrictions_date_and_contradictions_in_every_format():
    made = artifacts([GOOD])
    assert set(made) == {f"attribution.{ending}" for ending in ("html", "md", "csv", "bib")}
    shown = Page(made["attribution.html"])
    known = (
        "Sword of Anger.jpg", "A. Painter", "CC BY-SA 3.0", "Own work", "cropped and resized", "personality",
        "2026-11-24", "contradiction: the file says all rights reserved", "6/Sword_of_Anger.jpg", "Some Body",
        '2026-11-20: author was "B. Sculptor"',
    )  # fmt: skip
    for text in known:
        assert text in shown.text
        assert text in made["attribution.md"].replace("\\_", "_").replace("&#58;", ":")
    (entry,) = entries(made["attribution.bib"]).values()
    assert entry["title"] == "{Sword of Anger.jpg}"
    assert entry["author"] == "{A. Painter}"
    assert (entry["url"], entry["urldate"]) == (GOOD.page, "2026-11-24")
    assert "CC BY-SA 3.0 https://creativecommons.org/licenses/by-sa/3.0/; cropped and resized" in entry["note"]
    assert "all rights reserved" in entry["note"]
    assert 'author was "B. Sculptor"' in entry["note"]
    (row,) = rows(made["attribution.csv"])
    assert row == {"resolved": "true", **{name: getattr(GOOD, name) for name in TEXTS}} | {
        "pixels": GOOD.pixels,
        "notes": GOOD.notes[0],
        "history": GOOD.history[0],
    }


def test_title_uploader_source_and_licence_are_links():
    made = artifacts([GOOD])
    uploader = "https://commons.wikimedia.org/wiki/User:Some_Body"
    expected = [GOOD.page, uploader, GOOD.page, GOOD.licence_url]
    assert Page(made["attribution.html"]).links == expected
    assert re.findall(r"\]\((.*?)\)", made["attribution.md"]) == expected


def test_every_picture_is_accounted_for_and_the_unresolved_are_counted_and_listed_with_a_page_to_visit():
    likely = Credit(file="2/b.jpg", pixels="2d", title="File:B (x).jpg")
    made = artifacts([GOOD, UNKNOWN, likely, replace(GOOD, file="7/c.jpg", source="embedded metadata")])
    for content in (made["attribution.html"], made["attribution.md"], made["attribution.bib"]):
        assert "4 pictures from Wikimedia Commons, 3 unresolved" in content
    shown = Page(made["attribution.html"])
    assert "Unresolved (3)" in shown.text
    assert "Credits (1)" in shown.text
    assert shown.text.count("page to visit") == 1  # the one without a title
    assert "https://commons.wikimedia.org/w/index.php?ns6=1&search=Carol%27s%20portrait" in shown.links
    assert "https://commons.wikimedia.org/wiki/File:B_%28x%29.jpg" in shown.links
    assert [row["resolved"] for row in rows(made["attribution.csv"])] == ["true", "false", "false", "false"]
    assert all(row["page"].startswith("https://") for row in rows(made["attribution.csv"]))
    notes = [entry["note"] for entry in entries(made["attribution.bib"]).values()]
    assert ["unresolved: visit the page" in note for note in notes] == [False, True, True, True]


def test_what_was_entered_by_hand_is_marked_so_and_its_source_named_in_every_format():
    page = "https://photos.example.org/1"
    entered = replace(GOOD, source=HAND, page=page, title="", credit="", uploader="")
    made = artifacts([entered, replace(GOOD, file="6/other.jpg")])
    for content in made.values():
        assert page in content
    for ending in ("html", "md", "bib"):
        assert "2 pictures from Wikimedia Commons, 0 unresolved, 1 entered by hand" in made[f"attribution.{ending}"]
    for ending in ("html", "md"):
        rows_ = [text for text in re.split("<tr>|\n", made[f"attribution.{ending}"]) if "6/" in text]
        assert ["entered by hand" in row for row in rows_] == [True, False]
        assert ["photos.example.org</bdi>" in row or "photos.example.org]" in row for row in rows_] == [True, False]
        assert ["untitled" in row for row in rows_] == [True, False]
    assert [row["source"] for row in rows(made["attribution.csv"])] == [HAND, API]
    entries_ = list(entries(made["attribution.bib"]).values())
    assert ["entered by hand" in entry["note"] for entry in entries_] == [True, False]
    assert [entry["howpublished"].split(",")[0] for entry in entries_] == ["photos.example.org", "Wikimedia Commons"]
    marks = [line(credit).replace(LEFT_TO_RIGHT, "") for credit in (entered, GOOD)]
    assert marks[0] == "A. Painter, CC BY-SA 3.0, cropped and resized, credit entered by hand"
    assert HAND not in marks[1]


def test_a_picture_in_doubt_is_listed_as_unresolved_with_the_reason():
    made = artifacts([replace(GOOD, notes=("in doubt: the title is a common word",))])
    assert "1 picture from Wikimedia Commons, 1 unresolved" in made["attribution.html"]
    assert all("in doubt: the title" in content.replace("&#58;", ":") for content in made.values())
    assert line(replace(GOOD, notes=("in doubt: x",))).startswith("not attributed: see ")


def test_nothing_unresolved_is_said_too():
    made = artifacts([GOOD])
    assert "1 picture from Wikimedia Commons, 0 unresolved" in made["attribution.html"]
    assert "Unresolved" not in Page(made["attribution.html"]).text


@hostile
def test_no_hostile_field_gets_an_element_an_attribute_or_a_link_into_the_page(evil):
    shown = Page(artifacts(everywhere(evil))["attribution.html"])
    allowed = "html head meta title style body h1 h2 p div table thead tbody tr th td a bdi"
    assert set(shown.tags) <= set(allowed.split())
    assert set(shown.attributes) <= {"lang", "charset", "http-equiv", "content", "name", "href", "rel"}
    assert all(link.startswith(("http://", "https://")) for link in shown.links)
    assert shown.tags.count("td") == 2 * len(COLUMNS)
    without_files = shown.text
    for item in everywhere(evil):
        without_files = without_files.replace(cleaned(item).file, "")
    assert "script>" not in without_files
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", shown.text)


@hostile
def test_a_hostile_field_breaks_neither_the_rows_of_markdown_nor_links_anywhere_else(evil):
    content = artifacts(everywhere(evil))["attribution.md"]
    lines = [line for line in content.splitlines() if line.startswith("|")]
    assert len(lines) == 6
    unescaped = r"(?<!\\)(?:\\\\)*"
    for row in lines:
        assert len(re.findall(unescaped + r"\|", row)) == len(COLUMNS) + 1
    links = re.findall(unescaped + r"\]\(([^)]*)\)", content)
    assert len(links) == len(re.findall(unescaped + r"\[", content)) == len(re.findall(unescaped + r"\]", content))
    assert all(re.fullmatch(r"https?://[^\s<>()\[\]|\\`\"';]+", link) for link in links)
    outside = re.sub(r"\]\([^)]*\)", "", content)
    assert not re.search(r"[<>]|(?<!\\)`|://|www\.", outside)


@hostile
def test_no_cell_of_the_table_is_a_formula(evil):
    content = artifacts(everywhere(evil))["attribution.csv"]
    found = rows(content)
    assert len(found) == 2
    for row in found:
        assert None not in row
        assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("sign", "=+-@")
def test_a_cell_that_would_be_a_formula_keeps_its_text_behind_an_apostrophe(sign):
    (row,) = rows(artifacts([replace(GOOD, author=f"{sign}1+1")])["attribution.csv"])
    assert row["author"] == f"'{sign}1+1"
    (row,) = rows(artifacts([replace(GOOD, author=f"\t{sign}1+1")])["attribution.csv"])
    assert row["author"] == f"'{sign}1+1"


@hostile
def test_no_hostile_field_ends_its_bibtex_entry(evil):
    found = entries(artifacts([*everywhere(evil), GOOD])["attribution.bib"])
    first, second, good = found.values()
    assert good["author"] == "{A. Painter}"
    for entry in (first, second):
        assert set(entry) <= {"title", "author", "howpublished", "url", "urldate", "note"}
        assert entry["url"].startswith("https://commons.wikimedia.org/")
        bare = re.sub(r"\\[&%$#_]|\\text\w+\{\}", "", entry["note"] + entry["title"])
        assert not set(bare[:-1].removeprefix("{")) & set("\\&%$#_~^")


def test_bibtex_keys_are_unique_where_names_differ_only_in_what_a_key_cannot_hold():
    names = ("5/دختر.jpg", "5/بچه.jpg", "5/a b.jpg", "5/a_b.jpg", "5/a-b.jpg", "5/A b.jpg")
    assert len(entries(artifacts([replace(GOOD, file=name) for name in names])["attribution.bib"])) == len(names)


def test_persian_letters_joiners_and_quotes_survive_in_every_format():
    name = f'{PERSIAN} "Vélib\'"'
    for content in artifacts([replace(GOOD, title=f"File:{name}", author=name)]).values():
        assert PERSIAN in content
        assert "Vélib" in content
    made = artifacts([replace(GOOD, author=name)])
    assert name in Page(made["attribution.html"]).text
    assert rows(made["attribution.csv"])[0]["author"] == name
    assert next(iter(entries(made["attribution.bib"]).values()))["author"] == f"{{{name}}}"


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
    assert not cleaned(emptied).resolved
    assert "1 unresolved" in artifacts([emptied])["attribution.md"]


def test_a_line_for_figures_names_title_author_licence_and_changes_or_the_page():
    assert line(GOOD).replace(LEFT_TO_RIGHT, "") == "Sword of Anger.jpg, A. Painter, CC BY-SA 3.0, cropped and resized"
    assert line(UNKNOWN).startswith("not attributed: see https://commons.wikimedia.org/w/index.php?")


def test_the_page_is_self_contained_allows_no_script_and_is_readable_in_light_and_dark():
    content = artifacts([GOOD, UNKNOWN])["attribution.html"]
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
    page.write_text(artifacts(pictures)["attribution.html"], encoding="utf-8", errors="strict")
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert Page(seen.replace("<!DOCTYPE html>", "")).tags.count("tr") == len(pictures) + 2
