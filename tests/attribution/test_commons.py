import json
import re
import socket
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from fer.attribution import commons
from fer.attribution.commons import CLIENT, Commons
from fer.errors import ConfigError, DataError
from fer.utils import http
from tests.attribution.mediawiki import Wiki, info, running
from tests.paths import ROOT

MAXLAG = json.dumps({"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged", "lag": 7}}).encode()


@pytest.fixture
def wiki() -> Iterator[Wiki]:
    with running(Wiki()) as started:
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
    return Commons("https://example.org/project", wiki.address, timeout=5)


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


def test_a_continuation_without_end_is_given_up(wiki: Wiki, client: Commons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commons, "MAX_CONTINUATIONS", 4)
    endless = json.dumps({"continue": {"iicontinue": "1|x", "continue": "||"}, "query": {"pages": []}}).encode()
    wiki.troubles = [(200, {}, endless)] * 9
    with pytest.raises(DataError, match="without end"):
        client.file_pages(["File:A.jpg"])
    assert len(wiki.asked) == 4


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
    wiki.troubles = [(200, {}, json.dumps({"query": {"redirects": moves}}).encode())]
    found = client.file_pages(["File:A.jpg"])["File:A.jpg"]
    assert (found.info, found.fault) == ({}, "the answer leaves the title out")


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
    assert client.file_pages(["File:A%20b.jpg"])["File:A%20b.jpg"].fault == "the title cannot be one of Commons"


@pytest.mark.parametrize("sign", ["|", "#", "[", "\n", "\ufffd"])
def test_a_character_of_no_title_costs_that_title_alone(wiki: Wiki, client: Commons, sign: str) -> None:
    titles = stocked(wiki, named(50))
    bad = f"File:Face{sign}0.jpg"
    found = client.file_pages([*titles[:20], bad, *titles[20:]])
    assert "holds a character that no title on Commons may" in found.pop(bad).fault
    assert authors(found) == {title: f"Author of {title}" for title in titles}
    assert len(wiki.asked) == 1


WARNED = {
    "query": {"warnings": 'Unrecognized value for parameter "prop": imageinfo'},
    "main": {"warnings": "Unrecognized parameters: iiprop, iiextmetadatafilter."},
    "imageinfo": {"warnings": "Some text that is\nThe parameter x has been deprecated."},
}


@pytest.mark.parametrize("module", WARNED)
def test_a_warning_is_no_missing_page_but_stops_with_one_sentence(wiki: Wiki, client: Commons, module: str) -> None:
    pages = [{"ns": 6, "title": "File:A.jpg", "pageid": 1}]
    answer = {"warnings": {module: WARNED[module]}, "query": {"pages": pages}}
    wiki.troubles = [(200, {}, json.dumps(answer).encode())]
    with pytest.raises(DataError, match="warns that it did not do all it was asked") as caught:
        client.file_pages(["File:A.jpg"])
    assert WARNED[module]["warnings"].split("\n")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(wiki.asked) == 1


def test_notices_of_deprecations_are_no_reason_to_stop(wiki: Wiki, client: Commons) -> None:
    stocked(wiki, named(1))
    notice = "Subscribe to the mediawiki-api-announce mailing list for notice of API deprecations.\nx is deprecated."
    answer = {
        **wiki.answer({"titles": "File:Face 0.jpg", **commons.IMAGE_INFO}),
        "warnings": {"main": {"warnings": notice}},
    }
    wiki.troubles = [(200, {}, json.dumps(answer).encode())]
    assert authors(client.file_pages(named(1))) == {"File:Face 0.jpg": "Author of File:Face 0.jpg"}


def test_a_title_the_answer_leaves_out_is_not_taken_for_missing(wiki: Wiki, client: Commons) -> None:
    wiki.troubles = [(200, {}, b'{"query": {"pages": []}}')]
    assert client.file_pages(["File:A.jpg"])["File:A.jpg"].fault == "the answer leaves the title out"


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
    with pytest.raises(DataError, match=rf"refuses the request \({status} .*check api") as caught:
        client.file_pages(["File:A.jpg"])
    assert "network" not in str(caught.value)
    assert (len(wiki.asked), waits) == (1, [])


@pytest.mark.parametrize(
    "address",
    ["commons.wikimedia.org/w/api.php", "htp://a.example/api.php", "http://", "http://a.example:port/api.php",
     "http://a.example:99999/api.php", "http://a b.example/", "http://exämple.org/api.php", "file:///etc/passwd", "x"],
)  # fmt: skip
def test_a_malformed_address_is_refused_before_anything_is_asked(waits: list[float], address: str) -> None:
    with pytest.raises(ConfigError, match="must be the web address of an api") as caught:
        Commons("c", address).file_pages(["File:A.jpg"])
    assert repr(address) in str(caught.value)
    assert waits == []


def test_a_lagging_database_is_waited_for(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [(200, {"Retry-After": "5"}, MAXLAG), (200, {"Retry-After": "5"}, MAXLAG)]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert waits == [5, 5]


def test_patience_ends_with_one_sentence(wiki: Wiki, client: Commons, waits: list[float]) -> None:
    wiki.troubles = [(200, {"Retry-After": "5"}, MAXLAG)] * 9
    with pytest.raises(DataError, match=r"busy: Waiting for db1.*try again later") as caught:
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
def test_an_answer_that_breaks_off_is_asked_for_again(wiki: Wiki, client: Commons, trouble: str) -> None:
    wiki.troubles = [trouble]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    assert len(wiki.asked) == 2


@pytest.mark.parametrize("trouble", ["cut", "cut gzip", "half"])
def test_answers_that_always_break_off_are_one_sentence(wiki: Wiki, client: Commons, trouble: str) -> None:
    wiki.troubles = [trouble] * 9
    with pytest.raises(DataError, match="no usable answer") as caught:
        client.file_pages(stocked(wiki, named(1)))
    assert wiki.address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_silent_server_is_given_up_and_asked_again(wiki: Wiki, client: Commons) -> None:
    client.timeout, wiki.troubles = 0.2, ["slow"]
    assert authors(client.file_pages(stocked(wiki, named(1))))
    wiki.troubles = ["slow"] * 5
    with pytest.raises(DataError, match="Read timed out"):
        client.file_pages(["File:A.jpg"])


def test_without_a_network_the_address_is_named(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/w/api.php"
        with pytest.raises(DataError, match="with a network") as caught:
            Commons("c", address).file_pages(["File:A.jpg"])
    assert address in str(caught.value)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ((403, {}, b"blocked"), "403"),
        ((200, {}, b'{"error": {"code": "badvalue", "info": "Unrecognized value"}}'), "refuses .* Unrecognized value"),
        ((200, {}, b'{"query": {"pages": [{"ns": 6}]}}'), "answers otherwise"),
        ((200, {}, b'{"query": []}'), "answers otherwise"),
        ((200, {}, b'{"batchcomplete": true}'), "answers otherwise"),
        ((200, {}, b'{"warnings": {"main": 1}, "query": {}}'), "answers otherwise"),
    ],
)
def test_a_refusal_is_not_asked_twice(wiki: Wiki, client: Commons, trouble: tuple, said: str) -> None:
    wiki.troubles = [trouble]
    with pytest.raises(DataError, match=said):
        client.file_pages(["File:A.jpg"])
    assert len(wiki.asked) == 1


def test_requests_never_overlap(wiki: Wiki, client: Commons) -> None:
    titles = stocked(wiki, named(200))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client.file_pages, [titles] * 4))
    assert (len(wiki.asked), wiki.most_at_once) == (16, 1)
