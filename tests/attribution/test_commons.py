import json
import re
import socket
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from fer.attribution import commons
from fer.attribution.commons import CLIENT, Commons
from fer.errors import DataError
from fer.utils import http
from tests.attribution.mediawiki import Wiki, info, running
from tests.paths import ROOT

MAXLAG = json.dumps({"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged", "lag": 7}}).encode()


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiki]:
    with running(Wiki()) as started:
        monkeypatch.setattr(commons, "API_URL", started.address)
        yield started


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds the client would have waited."""
    monkeypatch.setenv("no_proxy", "*")
    waited: list[float] = []
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def client(wiki: Wiki, waits: list[float]) -> Commons:
    return Commons("https://example.org/project")


def named(count: int) -> list[str]:
    return [f"File:Face {number}.jpg" for number in range(count)]


def stocked(wiki: Wiki, titles: list[str]) -> list[str]:
    wiki.pages = {title: info(title, Artist=f"Author of {title}") for title in titles}
    return titles


def authors(found: dict[str, commons.FilePage]) -> dict[str, str]:
    return {title: item.info["extmetadata"]["Artist"]["value"] for title, item in found.items()}


def test_84_titles_are_two_calls_and_each_gets_its_own_answer(wiki: Wiki, client: Commons) -> None:
    titles = stocked(wiki, named(84))
    assert authors(client.file_pages(titles)) == {title: f"Author of {title}" for title in titles}
    assert [len(request["titles"].split("|")) for request in wiki.asked] == [50, 34]


def test_a_title_asked_twice_is_asked_once(wiki: Wiki, client: Commons) -> None:
    client.file_pages(stocked(wiki, named(2)) * 40)
    assert [request["titles"] for request in wiki.asked] == ["File:Face 0.jpg|File:Face 1.jpg"]


def test_the_request_is_the_one_commons_asks_for(wiki: Wiki, client: Commons) -> None:
    client.file_pages(stocked(wiki, named(1)))
    (request,) = wiki.asked
    assert {key: request[key] for key in ("action", "prop", "format", "formatversion", "redirects", "maxlag")} == {
        "action": "query", "prop": "imageinfo", "format": "json", "formatversion": "2", "redirects": "1", "maxlag": "5",
    }  # fmt: skip
    assert set(request["iiprop"].split("|")) == {
        "url", "user", "sha1", "size", "mime", "timestamp", "extmetadata", "canonicaltitle",
    }  # fmt: skip
    assert wiki.methods == ["GET"]


def test_positions_are_not_even_asked_for(wiki: Wiki, client: Commons) -> None:
    wiki.pages["File:A.jpg"] = info("File:A.jpg", Artist="A", GPSLatitude="50.1", GPSLongitude="4.3")
    assert set(client.file_pages(["File:A.jpg"])["File:A.jpg"].info["extmetadata"]) == {"Artist"}


def test_the_client_names_itself_and_a_contact(wiki: Wiki, client: Commons) -> None:
    client.file_pages(stocked(wiki, named(1)))
    assert re.fullmatch(
        r"fer-experiments/[\d.]+ \(https://example\.org/project\) python-requests/[\d.]+", wiki.headers[0]["user-agent"]
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"fer-experiments/{version}" == CLIENT


@pytest.mark.parametrize("zipped", [True, False])
def test_answers_may_come_compressed_or_not(wiki: Wiki, client: Commons, zipped: bool) -> None:
    wiki.zipped = zipped
    assert authors(client.file_pages(stocked(wiki, named(3))))["File:Face 2.jpg"] == "Author of File:Face 2.jpg"
    assert "gzip" in wiki.headers[0]["accept-encoding"]


@pytest.mark.parametrize("portion", [1, 3])
def test_continuations_are_followed_and_joined(wiki: Wiki, client: Commons, portion: int) -> None:
    wiki.portion = portion
    titles = stocked(wiki, named(7))
    assert authors(client.file_pages(titles)) == {title: f"Author of {title}" for title in titles}
    assert len(wiki.asked) == -(-7 // portion)


def test_titles_are_joined_through_normalisation_and_redirects(wiki: Wiki, client: Commons) -> None:
    stocked(wiki, ["File:B.jpg", "File:Final.jpg", "File:Other.jpg"])
    wiki.redirects = {"File:Old.jpg": "File:Between.jpg", "File:Between.jpg": "File:Final.jpg"}
    found = client.file_pages(["File:old.jpg", "File:b.jpg", "File:Other.jpg", "File:Final.jpg"])
    assert {title: item.title for title, item in found.items()} == {
        "File:old.jpg": "File:Final.jpg",
        "File:b.jpg": "File:B.jpg",
        "File:Other.jpg": "File:Other.jpg",
        "File:Final.jpg": "File:Final.jpg",
    }
    assert authors(found)["File:old.jpg"] == "Author of File:Final.jpg"


def test_redirects_in_a_circle_end(wiki: Wiki, client: Commons) -> None:
    moves = [{"from": "File:A.jpg", "to": "File:B.jpg"}, {"from": "File:B.jpg", "to": "File:A.jpg"}]
    pages = [{"title": "File:A.jpg", "missing": True}]
    wiki.troubles = [(200, {}, json.dumps({"query": {"redirects": moves, "pages": pages}}).encode())]
    found = client.file_pages(["File:A.jpg"])["File:A.jpg"]
    assert (found.info, found.fault) == ({}, "Commons has no such page")


def test_missing_pages_and_pages_without_a_file_are_told_apart(wiki: Wiki, client: Commons) -> None:
    wiki.pages = {"File:Empty.jpg": None, "File:There.jpg": info("File:There.jpg")}
    found = client.file_pages(["File:Gone.jpg", "File:Empty.jpg", "File:There.jpg"])
    assert {title: item.fault for title, item in found.items()} == {
        "File:Gone.jpg": "Commons has no such page",
        "File:Empty.jpg": "the page holds no file",
        "File:There.jpg": "",
    }


def test_an_invalid_title_is_said(wiki: Wiki, client: Commons) -> None:
    page = {"title": "File:A%20b.jpg", "invalidreason": "The title contains invalid characters", "invalid": True}
    wiki.troubles = [(200, {}, json.dumps({"query": {"pages": [page]}}).encode())]
    assert client.file_pages(["File:A%20b.jpg"])["File:A%20b.jpg"].fault == "Commons has no such page"


def test_a_title_the_answer_leaves_out_is_not_taken_for_missing(wiki: Wiki, client: Commons) -> None:
    wiki.troubles = [(200, {}, b'{"query": {"pages": []}}')]
    with pytest.raises(DataError, match="answers otherwise"):
        client.file_pages(["File:A.jpg"])


def test_retry_after_is_waited(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [(429, {"Retry-After": "17"}, b"slow down"), (503, {}, b"")]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert sum(waits) == 17 + 2


def test_retry_after_may_be_a_date(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [
        (429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)}, b"")
    ]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert 30 < sum(waits) <= 40


def test_waiting_says_why_and_how_long(
    wiki: Wiki, client: Commons, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    wiki.troubles = [(429, {"Retry-After": "25"}, b"slow down"), (200, {"Retry-After": "5"}, MAXLAG)]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert waits == [25, 5]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "waiting 25 s for the server: status 429",
        "waiting 5 s for the server: it is busy: Waiting for db1: 7 seconds lagged",
    ]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_statuses_that_pass_are_asked_again(wiki: Wiki, client: Commons, status: int) -> None:
    wiki.troubles = [(status, {}, b"")]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert len(wiki.asked) == 2


@pytest.mark.parametrize(
    "code", ["maxlag", "ratelimited", "readonly", "internal_api_error_DBQueryError", "internal_api_error_Exception"]
)
def test_errors_that_pass_are_asked_again(wiki: Wiki, client: Commons, code: str) -> None:
    wiki.troubles = [(200, {}, json.dumps({"error": {"code": code, "info": f"[a1b2] Caught {code}"}}).encode())]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert len(wiki.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 414, 418])
def test_other_refusals_are_neither_asked_again_nor_blamed_on_the_network(
    wiki: Wiki, client: Commons, waits: list[float], status: int
) -> None:
    wiki.troubles = [(status, {}, b"no")]
    with pytest.raises(DataError, match=rf"refuses the request \({status} .*check contact") as caught:
        client.file_pages(["File:A.jpg"])
    assert "network" not in str(caught.value)
    assert (len(wiki.asked), waits) == (1, [])


def test_a_lagging_database_is_waited_for(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [(200, {"Retry-After": "5"}, MAXLAG), (200, {"Retry-After": "5"}, MAXLAG)]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert waits == [5, 5]


def test_patience_ends_with_one_sentence(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [(200, {"Retry-After": "5"}, MAXLAG)] * 9
    with pytest.raises(DataError, match=r"Waiting for db1.*try again later") as caught:
        client.file_pages(["File:A.jpg"])
    assert len(wiki.asked) == 5
    assert waits == [5, 5, 5, 8]
    assert "\n" not in str(caught.value)


def test_a_server_that_wants_hours_is_left_alone(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [(429, {"Retry-After": "7200"}, b"")]
    with pytest.raises(DataError, match="asks to wait 7200 seconds"):
        client.file_pages(["File:A.jpg"])
    assert (len(wiki.asked), waits) == (1, [])


@pytest.mark.parametrize("trouble", ["cut", "cut gzip", "half"])
def test_an_answer_that_breaks_off_is_one_sentence(wiki: Wiki, client: Commons, trouble: str) -> None:
    wiki.troubles = [trouble]
    with pytest.raises(DataError, match="no usable answer") as caught:
        client.file_pages(stocked(wiki, named(1)))
    assert wiki.address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_silent_server_is_given_up_and_asked_again(
    wiki: Wiki, client: Commons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commons, "TIMEOUT", 0.2)
    wiki.troubles = ["slow"]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    wiki.troubles = ["slow"] * 5
    with pytest.raises(DataError, match="Read timed out"):
        client.file_pages(["File:A.jpg"])


def test_without_a_network_the_address_is_named(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/w/api.php"
        monkeypatch.setattr(commons, "API_URL", address)
        with pytest.raises(DataError, match="with a network") as caught:
            Commons("c").file_pages(["File:A.jpg"])
    assert address in str(caught.value)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ((403, {}, b"blocked"), "403"),
        (
            (200, {}, b'{"error": {"code": "badvalue", "info": "Unrecognized value"}}'),
            "(Unrecognized value)",
        ),
        ((200, {}, b'{"query": {"pages": [{"ns": 6}]}}'), "answers otherwise"),
        ((200, {}, b'{"query": []}'), "answers otherwise"),
        ((200, {}, b'{"batchcomplete": true}'), "answers otherwise"),
        ((200, {}, b"[" * 10_000), "no usable answer"),
        ((200, {}, b'{"query": {"pages": [], "big": ' + b"9" * 10_000 + b"}}"), "no usable answer"),
    ],
)
def test_a_refusal_is_not_asked_twice(wiki: Wiki, client: Commons, trouble: tuple, said: str) -> None:
    wiki.troubles = [trouble]
    with pytest.raises(DataError, match=said):
        client.file_pages(["File:A.jpg"])
    assert len(wiki.asked) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"width": "800"},
        {"height": None},
        {"extmetadata": {"Artist": None}},
        {"extmetadata": {"Artist": {"source": "x"}}},
        {"extmetadata": {"Artist": {"value": ["Jane"]}}},
    ],
    ids=str,
)
def test_parts_of_another_kind_are_no_answer(wiki: Wiki, client: Commons, changes: dict) -> None:
    (title,) = stocked(wiki, named(1))
    wiki.pages[title] = info(title) | changes
    with pytest.raises(DataError, match="answers otherwise than the API of Commons does"):
        client.file_pages([title])


def test_an_answer_without_end_is_left_alone(wiki: Wiki, client: Commons) -> None:
    endless = json.dumps({"query": {}, "continue": {"iistart": "x"}}).encode()
    wiki.troubles = [(200, {}, endless)] * 500
    with pytest.raises(DataError, match="gives an answer without end: try again later"):
        client.file_pages(["File:A.jpg"])
    assert len(wiki.asked) == commons.MAX_PARTS


def test_an_answer_that_would_fill_the_memory_is_not_read_to_its_end(
    wiki: Wiki, client: Commons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commons, "MAX_BYTES", 100_000)
    # The stand-in packs it into a thousandth.
    assert wiki.zipped
    wiki.troubles = [(200, {}, b" " * 10**7)]
    with pytest.raises(DataError, match="gives an answer of more than 100,000 bytes"):
        client.file_pages(["File:A.jpg"])


def test_what_a_server_says_can_be_printed(wiki: Wiki, client: Commons) -> None:
    said = json.dumps({"error": {"code": "bad", "info": "\x1b[31m" + "x" * 5000}})
    wiki.troubles = [(200, {}, said.encode())]
    with pytest.raises(DataError, match="refuses the request") as caught:
        client.file_pages(["File:A.jpg"])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
