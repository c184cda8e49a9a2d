"""Query the MediaWiki API of Wikimedia Commons, one request at a time, by its rules of etiquette.

https://www.mediawiki.org/wiki/API:Etiquette and https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from fer.errors import LONGEST_QUOTE, DataError, shortened
from fer.portable.json_files import parse_json
from fer.utils.http import retrying_session, wait
from fer.utils.paths import printable

API_URL = "https://commons.wikimedia.org/w/api.php"
CLIENT = "fer-experiments/0.1.0"
"""Name and version in the User-Agent."""
TIMEOUT = 30.0
"""Seconds without a byte before an attempt is given up."""
TITLES_PER_REQUEST = 50
"""More are refused; so many of ours make an address of 2,300 characters, of the 8,000 that servers take."""
MAX_PARTS = 2 * TITLES_PER_REQUEST
"""Parts of one answer that are asked for: each tells of a file at least, so that more would never end."""
MAX_BYTES = 20_000_000
"""Of a part; that of fifty titles has less than a hundredth."""
RETRY = "try again later, with a network"
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt while the servers are busy and name none."""
BUSY_CODES = ("maxlag", "ratelimited", "readonly", "internal_api_error_")
"""Beginnings of the codes of API errors that pass; they come with status 200."""
# Only these: a picture's page also holds positions, which nobody needs for a credit.
METADATA_FIELDS = (
    "Artist",
    "Attribution",
    "Credit",
    "DeletionReason",
    "LicenseShortName",
    "LicenseUrl",
    "NonFree",
    "Restrictions",
    "UsageTerms",
)
REQUEST = {
    "action": "query",
    "format": "json",
    "formatversion": "2",
    "prop": "imageinfo",
    "iiprop": "url|user|sha1|size|mime|timestamp|extmetadata|canonicaltitle",
    "iiextmetadatafilter": "|".join(METADATA_FIELDS),
    "redirects": "1",
    # Etiquette: refuse while the servers lag by more than five seconds.
    "maxlag": "5",
}


@dataclass(frozen=True)
class FilePage:
    """The page of a file.

    Attributes:
        title: Its title, after normalisation and redirects.
        info: The newest entry of `imageinfo`; empty where there is no file.
        fault: Why there is no file.
    """

    title: str
    info: dict[str, Any]
    fault: str = ""


class Commons:
    """A client of the API.

    Args:
        contact: A page or e-mail address by which Wikimedia can reach whoever runs this; it goes into the User-Agent.
    """

    def __init__(self, contact: str) -> None:
        library = requests.utils.default_user_agent()
        self._session = retrying_session(f"{CLIENT} ({contact}) {library}")

    def file_pages(self, titles: Sequence[str]) -> dict[str, FilePage]:
        """Return the page under each title.

        Args:
            titles: As `file_title` returns them; answers are joined to them by name, never by order.

        Raises:
            DataError: The API cannot be reached, or answers with what is none of its answers.
        """
        distinct = list(dict.fromkeys(titles))
        pages: dict[str, FilePage] = {}
        with _translate_errors():
            for start in range(0, len(distinct), TITLES_PER_REQUEST):
                batch = distinct[start : start + TITLES_PER_REQUEST]
                pages |= self._request_pages(batch)
        return pages

    def _request_pages(self, titles: list[str]) -> dict[str, FilePage]:
        moves: dict[str, str] = {}
        pages: dict[str, dict[str, Any]] = {}
        request = REQUEST | {"titles": "|".join(titles)}
        continuation: dict[str, str] = {}
        for _ in range(MAX_PARTS):
            answer = self._ask(request | continuation)
            query = answer["query"]
            for move in (*query.get("normalized", ()), *query.get("redirects", ())):
                moves[move["from"]] = move["to"]
            for page in query.get("pages", ()):
                # A continued answer names every page again, some without what another part tells of it.
                earlier = pages.get(page["title"], {})
                pages[page["title"]] = earlier | page
            if "continue" not in answer:
                return {title: _follow(title, moves, pages) for title in titles}
            continuation = answer["continue"]
        raise DataError(f"{API_URL} gives an answer without end: try again later")

    def _ask(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Return one answer; ask again while the servers are busy."""
        for pause in (*PAUSES, None):
            # The session itself asks again where a status or the network says that the fault passes.
            response = self._session.get(API_URL, params=parameters, timeout=TIMEOUT, stream=True)
            with response:
                if not response.ok:
                    status = _shown(f"{response.status_code} {response.reason}")
                    raise DataError(f"{API_URL} refuses the request ({status}): check contact, or try again later")
                answer: dict[str, Any] = parse_json(_content(response))
            if "error" not in answer:
                return answer
            code = answer["error"]["code"]
            message = _shown(answer["error"]["info"])
            if pause is None or not code.startswith(BUSY_CODES):
                break
            # Beside its errors the API names seconds only, never a date.
            header = response.headers.get("Retry-After", "")
            asked = float(header) if header.isdecimal() else 0.0
            wait(max(pause, asked), f"it is busy: {message}")
        raise DataError(f"{API_URL} refuses the request ({message}): try again later")


def _content(response: requests.Response) -> bytes:
    """Read an answer, which may come compressed, as far as answers reach.

    Raises:
        DataError: It is larger.
    """
    content = bytearray()
    for part in response.iter_content(2**16):
        content += part
        if len(content) > MAX_BYTES:
            raise DataError(f"{API_URL} gives an answer of more than {MAX_BYTES:,} bytes: try again later")
    return bytes(content)


def _shown(text: object) -> str:
    """Return what a server says as a message tells it."""
    return shortened(printable(str(text)), 2 * LONGEST_QUOTE)


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        # What requests says holds the whole address, of thousands of characters; its cause is enough.
        cause = getattr(error.args[0], "reason", None) if error.args else None
        raise DataError(f"{API_URL} gave no usable answer ({_shown(cause or error)}): {RETRY}") from None
    except ValueError as error:
        raise DataError(f"{API_URL} gave no usable answer ({_shown(error)}): {RETRY}") from None
    except (KeyError, TypeError, AttributeError) as error:
        # Looking into an answer of another shape fails in one of these ways.
        raise DataError(f"{API_URL} answers otherwise than the API of Commons does ({_shown(repr(error))})") from None


def _follow(title: str, moves: dict[str, str], pages: dict[str, dict[str, Any]]) -> FilePage:
    """Follow a title through normalisation and redirects to its page."""
    target = title
    # No more steps than there are moves, so that a circle ends.
    for _ in moves:
        target = moves.get(target, target)
    if not isinstance(target, str):
        raise TypeError("a title is no text")
    page = pages[target]
    entries = page.get("imageinfo", [])
    if entries:
        return FilePage(target, _checked_info(entries[0]))
    has_page = not page.get("missing") and not page.get("invalid")
    fault = "the page holds no file" if has_page else "Commons has no such page"
    return FilePage(target, {}, fault)


def _checked_info(info: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of `imageinfo` once its parts are what the API says they are, or absent.

    Raises:
        KeyError: A part of the metadata has no value.
        TypeError: A part is something else.
        AttributeError: The entry is something else.
    """
    # Without any, and where the API's extension for them failed, the metadata are an empty list.
    metadata = info.get("extmetadata") or {}
    values = [entry["value"] for entry in metadata.values()]
    numbers = [info.get("width", 0), info.get("height", 0)]
    are_texts = all(isinstance(value, str | int | float) for value in values)
    if not are_texts or not all(isinstance(number, int) for number in numbers):
        raise TypeError("imageinfo holds something else")
    return info
