"""Readers of the answers of Wikimedia Commons, and of the HTML that strangers wrote into them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fer.attribution.artifact import attribution_files
from fer.attribution.commons import API_URL, Commons
from fer.attribution.credits import Credit, sanitize
from fer.attribution.lookup import look_up
from fer.attribution.plain_text import clean_name, file_title, html_to_text, one_line, web_address, without_contacts
from fer.data.datasets.wikimedia import ListedFile
from fer.utils import http
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import TEXTS, altered, as_json, spoilt

FILES = [
    ListedFile(
        f"{number}/{name}.jpg", "0" * 64, "1" * 64, 10, 10, title=f"File:{name}.jpg" if name else "", flickr_id="12"
    )
    for number, name in ((1, "A B"), (2, "C"), (3, ""))
]
MARKUP = (
    "<script>alert(1)</script>",
    "<a href='javascript:alert(1)'>x</a>",
    "<span style='display:none",
    "<span display:none" * 1000,
    "<div style='display: none'>" * 700,
    "&lt;" * 5000,
    "&amp;" * 4000,
    "<" * 20_000,
    "</a>" * 5000,
    "</a><a>" * 2500,
    "<b>" * 6000,
    "<!--" * 5000,
    "<svg><math><style>" * 500,
    "a@" * 1000,
    "a" * 2000 + "@",
    "+1 " * 700,
    "tel: " + "(" * 2000,
    "([{" * 700,
    "<br>" * 5000,
    "\u202egnp.exe",
    "&#x0;&#xd800;&#x110000;",
    "https://[::1",
    '//user@host/"><script>',
    "http://a/" + "%" * 2000,
)


def answer() -> dict[str, Any]:
    """What the API says of three titles."""
    info = {
        "timestamp": "2010-05-06T07:08:09Z",
        "user": "Uploader",
        "sha1": "0" * 40,
        "size": 1234,
        "width": 800,
        "height": 600,
        "mime": "image/jpeg",
        "canonicaltitle": "File:A B.jpg",
        "descriptionurl": "https://commons.wikimedia.org/wiki/File:A_B.jpg",
        "extmetadata": {
            "Artist": {"value": "<a href='//x'>Jane</a>", "source": "commons-desc-page"},
            "LicenseShortName": {"value": "CC BY 2.0"},
            "LicenseUrl": {"value": "https://creativecommons.org/licenses/by/2.0"},
            "Credit": {"value": "own work"},
            "NonFree": {"value": "true"},
        },
    }
    return {
        "batchcomplete": True,
        "query": {
            "normalized": [{"from": "File:A_B.jpg", "to": "File:A B.jpg", "fromencoded": False}],
            "redirects": [{"from": "File:C.jpg", "to": "File:D.jpg"}],
            "pages": [
                {"pageid": 1, "ns": 6, "title": "File:A B.jpg", "imageinfo": [info]},
                {"ns": 6, "title": "File:D.jpg", "missing": True},
            ],
        },
    }


class Server:
    """Answers every request alike."""

    def __init__(self, content: bytes, status: int, waiting: str) -> None:
        self.content = content
        self.status = status
        self.waiting = waiting

    def get(self, url: str, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = self.status
        response.url = url
        response._content = self.content
        response._content_consumed = True
        response.headers["Retry-After"] = self.waiting
        return response


@contextmanager
def without_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.time, "sleep", lambda seconds: None)
        yield


def read_answer(value: tuple[bytes, int, str], folder: Path) -> dict[str, Credit]:
    """Look pictures up, and write the page of what was found."""
    client = Commons("somebody@example.org")
    client._session = Server(*value)  # type: ignore[assignment]
    with without_pauses():
        credits = look_up(client, FILES, {}, "2026-11-27", {"2/C.jpg": "File:C.jpg"})
    assert set(credits) == {item.file for item in FILES}
    page = attribution_files([sanitize(credit) for credit in credits.values()])
    assert "<script" not in "".join(page.values()).lower()
    return credits


def answers() -> SearchStrategy[tuple[bytes, int, str]]:
    sound = answer()
    errors = {"error": {"code": "maxlag", "info": "Waiting for a database server: 6 seconds lagged", "lag": 6}}
    endless = sound | {"continue": {"iistart": "x", "continue": "||"}}
    contents = st.one_of(
        altered(sound).map(as_json),
        altered(sound).map(as_json),
        marked_up(sound).map(as_json),
        altered(endless).map(as_json),
        altered(errors).map(as_json),
        spoilt([as_json(sound)], [b"[" * 5000, b"{}", b"null", b"NaN", b"<html>"]),
    )
    statuses = st.sampled_from((200, 200, 200, 200, 200, 404, 429, 500))
    waits = st.sampled_from(("", "5", "-1", "9" * 400, "Wed, 21 Oct 2099 07:28:00 GMT", "1e9", "x"))
    return st.tuples(contents, statuses, waits)


def marked_up(value: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    """Return answers whose texts are hostile HTML."""

    def build(texts: dict[str, str], title: str) -> dict[str, Any]:
        copy = json.loads(json.dumps(value))
        info = copy["query"]["pages"][0]["imageinfo"][0]
        for name, text in texts.items():
            info["extmetadata"][name] = {"value": text}
        info["canonicaltitle"] = title
        info["descriptionurl"] = title
        return copy

    fields = st.sampled_from(("Artist", "Credit", "Attribution", "LicenseShortName", "LicenseUrl", "Restrictions"))
    return st.builds(build, st.dictionaries(fields, markup(), max_size=4), markup())


def markup() -> SearchStrategy[str]:
    pieces = st.one_of(st.sampled_from(MARKUP), st.sampled_from(TEXTS), st.text(max_size=20))
    return st.lists(pieces, max_size=5).map("".join)


def read_markup(text: str, folder: Path) -> str:
    """Make plain text of HTML, and addresses and titles of what is written as such."""
    plain = html_to_text(text)
    assert "<script" not in plain.lower()
    for line in (plain, one_line(text), clean_name(plain), without_contacts(plain), web_address(text)):
        assert "\n" not in line
        assert len(line) <= 10_000
    assert file_title(text).startswith("File:")
    return plain


def targets() -> list[Target[Any]]:
    """Return the readers of what Commons says."""
    sound = (as_json(answer()), 200, "")
    endless = (as_json(answer() | {"continue": {"iistart": "x", "continue": "||"}}), 200, "")
    sizes = answer()
    sizes["query"]["pages"][0]["imageinfo"][0]["width"] = "800"
    assert API_URL.startswith("https://")
    return [
        Target(
            "answers of Commons",
            answers(),
            read_answer,
            dict,
            (sound,),
            (endless, (as_json(sizes), 200, "")),
        ),
        Target("HTML of Commons", markup(), read_markup, str, ("<a href='//x'>Jane</a>",), MARKUP),
    ]
