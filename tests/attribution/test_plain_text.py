import html
import time

import pytest

from fer.attribution.plain_text import MAX_LENGTH, clean_name, file_title, html_to_text, web_address, without_contacts

SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        ('<a href="//commons.wikimedia.org/wiki/User:A" title="User:A">Ann</a> &amp; Bob', "Ann & Bob"),
        ('<bdi><a rel="nofollow" class="external text" href="https://a.example">Jos&eacute;</a></bdi>', "José"),
        ("Ann<br>Bob<br />Cy", "Ann; Bob; Cy"),
        ("<div>Ann</div><div>Bob</div>", "Ann; Bob"),
        ("<ul><li>Ann</li>\n<li>Bob</li></ul>", "Ann; Bob"),
        ("<ol><li>Ann,</li><li></li><li><a>Bob</a> and <a>Cy</a></li></ol>", "Ann; Bob and Cy"),
        ('<a href="/a">Ann</a> <a href="/b">Bob</a><a href="/c">Cy</a>', "Ann; Bob; Cy"),
        ('<bdi><a href="/a">Ann</a></bdi>\n<bdi><a href="/b">Bob</a></bdi>', "Ann; Bob"),
        ('<a href="/a">Ann</a> (<a href="/b">talk</a>)', "Ann (talk)"),
        ('<a href="/a">Ann</a> <abbr>Dr.</abbr>', "Ann Dr."),
        ("<p>Ann\nAuthor\n</p>", "Ann Author"),
        ('Unknown author<span style="display: none;">Unknown author</span>', "Unknown author"),
        ("مصطفی معراجی\u200c", "مصطفی معراجی\u200c"),
        ("I <3 you", "I <3 you"),
        ("Ann\n\tof\x00 Berlin\u2028", "Ann of Berlin"),
        ("CC\u202e 0.3 AS-YB", "CC 0.3 AS-YB"),
        ("", ""),
    ],
)
def test_html_becomes_what_a_browser_shows(markup: str, shown: str) -> None:
    assert html_to_text(markup) == shown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Jane Roe ( )", "Jane Roe"),
        ("Jane Roe () [ ], Berlin", "Jane Roe , Berlin"),
        ("Jane Roe (talk)", "Jane Roe (talk)"),
        ("; Jane Roe;", "Jane Roe"),
        ("Wilfredo R. Rodriguez H.", "Wilfredo R. Rodriguez H."),
        ("@janeroe", "@janeroe"),
        ("مریم", "مریم"),
        ("12", "12"),
        ("@", ""),
        ("( )", ""),
        ("- / -", ""),
        ("🌸", ""),
        ("", ""),
    ],
)
def test_an_author_needs_letters_or_digits(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    "part", ["</a>", "</a> <b>", "<", "<span x", "<div style='display:none'>", "<span display:none"]
)
def test_a_page_of_a_million_characters_is_no_reason_to_hang(part: str) -> None:
    started = time.monotonic()
    html_to_text(f"Ann{part * (1_000_000 // len(part))}")
    assert time.monotonic() - started < 30


def test_half_a_character_is_none() -> None:
    assert html_to_text("<i>a\ud800b</i>") == "a?b"


TITLE = "File:Sword of Anger.jpg"


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("Sword of Anger.jpg", TITLE),
        ("Sword_of_Anger.jpg", TITLE),
        (" file: Sword_of_Anger.jpg ", TITLE),
        ("Image:Sword of Anger.jpg", TITLE),
        ("https://commons.wikimedia.org/wiki/File:Sword_of_Anger.jpg", TITLE),
        ("https://commons.wikimedia.org/wiki/File:Sword_of_Anger.jpg?uselang=de#filelinks", TITLE),
        ("https://commons.m.wikimedia.org/wiki/File:V%C3%A9lib.jpg", "File:Vélib.jpg"),
        ("Ve\u0301lib.jpg", "File:V\u00e9lib.jpg"),
        ("Profile: a.jpg", "File:Profile: a.jpg"),
        ("A/wiki/b.jpg", "File:A/wiki/b.jpg"),
    ],
)
def test_a_title_is_understood_as_people_type_it(typed: str, title: str) -> None:
    assert file_title(typed) == title
    assert file_title(title) == title


@pytest.mark.parametrize(
    "markup",
    [
        f"Ann {SCRIPT}",
        f"Ann {html.escape(SCRIPT)}",
        f"Ann {html.escape(html.escape(html.escape(SCRIPT)))}",
        "Ann <scr<script>ipt>alert(1)</scr</script>ipt>",
        "Ann <SCRIPT SRC=//evil.example></SCRIPT>",
        'Ann <img src=x onerror="alert(1)">',
        "Ann <style>@import 'x'</style>",
        "Ann <svg/onload=alert(1)>",
        "Ann <!-- --><iframe src=javascript:alert(1)></iframe>",
    ],
)
def test_no_markup_survives_however_it_is_wrapped(markup: str) -> None:
    shown = html_to_text(markup)
    assert shown.startswith("Ann")
    assert not any(part in shown.lower() for part in ("<script", "<img", "<svg", "<iframe", "onerror", "@import"))


def test_text_escaped_without_end_holds_no_tag() -> None:
    markup = SCRIPT
    for _ in range(30):
        markup = html.escape(markup)
    assert "<" not in html_to_text(markup)


def test_a_field_is_not_endless() -> None:
    assert len(html_to_text("x" * 10 * MAX_LENGTH)) == MAX_LENGTH


@pytest.mark.parametrize("contact", ["+55 61 5550 0100", "+1 (202) 555-0143", "tel. 555 01 00", "ann@mail.example.org"])
def test_contacts_do_not_stay_in_a_credit(contact: str) -> None:
    assert without_contacts(f"Ann Author 2010 {contact}") == "Ann Author 2010"


@pytest.mark.parametrize(
    "text", ["Ann Author, 2010-2015", "CC BY-SA 3.0", "PH2 Ann Author", "Wilfredo R. Rodriguez H.", "Via Flickr"]
)
def test_names_years_and_licences_stay(text: str) -> None:
    assert without_contacts(text) == text


def test_a_credit_line_keeps_its_flickr_address_but_no_contact() -> None:
    line = "https://www.flickr.com/photos/12345678@N00/4746058508/ Mobile phone photo"
    assert without_contacts(line) == line
    assert without_contacts(f"{line}, call +1 202 555 0143 or ann@mail.example.org") == f"{line}, call or"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://creativecommons.org/licenses/by/4.0", "https://creativecommons.org/licenses/by/4.0"),
        ("//creativecommons.org/licenses/by/4.0", "https://creativecommons.org/licenses/by/4.0"),
        ("http://a.example/?a=1&amp;b=2", "http://a.example/?a=1&b=2"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ('https://a.example/"onclick="x', "https://a.example/%22onclick=%22x"),
        ("https://", ""),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_only_addresses_of_the_web_are_addresses(text: str, address: str) -> None:
    assert web_address(text) == address


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)",
        "data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://x.example/", "/wiki/File:A.jpg", "wiki", "",
        "http://", "https://[", "https://commons.wikimedia.org@evil.example/",
    ],
)  # fmt: skip
def test_only_web_addresses_become_links(address):
    assert web_address(address) == ""


def test_a_link_holds_nothing_that_ends_an_attribute_or_brackets():
    known = "https://commons.wikimedia.org/wiki/File:A_(b)_%22c%22.jpg?x=1&y=2#z"
    assert web_address(known) == "https://commons.wikimedia.org/wiki/File:A_%28b%29_%22c%22.jpg?x=1&y=2#z"
    assert web_address("https://x.example/دختر{}|\\^") == "https://x.example/%D8%AF%D8%AE%D8%AA%D8%B1%7B%7D%7C%5C%5E"
