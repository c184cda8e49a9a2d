"""Query the MediaWiki API of Wikimedia Commons, one request at a time, by its rules of etiquette.

https://www.mediawiki.org/wiki/API:Etiquette and https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, JSONDecodeError

from fer.attribution.plain_text import web_address
from fer.errors import ConfigError, DataError
from fer.utils.http import TEMPORARY, retrying_session, wait

API_URL = "https://commons.wikimedia.org/w/api.php"
CLIENT = "fer-experiments/0.1.0"
"""Name and version in the User-Agent."""
TITLES_PER_REQUEST = 50
"""More are refused; so many of ours make an address of 2,300 characters, of the 8,000 that servers take."""
MAX_CONTINUATIONS = 200
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt at an unusable answer, where the server names none."""
BUSY_CODES = ("maxlag", "ratelimited", "readonly", "internal_api_error_")
"""Beginnings of the codes of API errors that pass; they come with status 200."""
INVALID_IN_TITLE = re.compile(r"[#<>\[\]|{}\x00-\x1f\x7f\ufffd]")
"""Characters of no title. In a request `|` would end the title, `#` lead to another page, a control code warn."""
# Only these: a picture's page also holds positions, which nobody needs for a credit.
METADATA_FIELDS = (
    "Artist",
    "Attribution",
    "AuthorCount",
    "Credit",
    "DeletionReason",
    "LicenseShortName",
    "LicenseUrl",
    "NonFree",
    "Restrictions",
    "UsageTerms",
)
IMAGE_INFO = {
    "prop": "imageinfo",
    "iiprop": "url|user|sha1|size|mime|timestamp|extmetadata|canonicaltitle",
    "iiextmetadatafilter": "|".join(METADATA_FIELDS),
    "redirects": "1",
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


class _PassingFault(Exception):
    """A reason to ask again, after so many seconds at least."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class Commons:
    """A client of the API at one address.

    Args:
        contact: A page or e-mail address by which Wikimedia can reach whoever runs this; it goes into the User-Agent.
        api: Address of `api.php`.
        timeout: Seconds without a byte before an attempt is given up.

    Raises:
        ConfigError: The address is none of the web.
    """

    def __init__(self, contact: str, api: str = API_URL, timeout: float = 30.0) -> None:
        if not (api.isascii() and web_address(api)):
            raise ConfigError(f"api {api!r} must be the web address of an api.php, such as {API_URL}")
        self.api = api
        self.timeout = timeout
        self._session = retrying_session(f"{CLIENT} ({contact}) {requests.utils.default_user_agent()}")
        # Etiquette: requests come one after the other, also where threads share a client.
        self._lock = Lock()

    def file_pages(self, titles: Sequence[str]) -> dict[str, FilePage]:
        """Return the page under each title.

        Args:
            titles: As `file_title` returns them; answers are joined to them by name, never by order.

        Raises:
            DataError: The API cannot be reached, or answers with what is none of its answers.
        """
        pages = {}
        valid = []
        for title in dict.fromkeys(titles):
            if INVALID_IN_TITLE.search(title):
                fault = "the title holds a character that no title on Commons may"
                pages[title] = FilePage(title, {}, fault)
            else:
                valid.append(title)
        with self._translate_errors():
            for start in range(0, len(valid), TITLES_PER_REQUEST):
                pages |= self._request_pages(valid[start : start + TITLES_PER_REQUEST])
        return pages

    def _request_pages(self, titles: list[str]) -> dict[str, FilePage]:
        moves: dict[str, str] = {}
        pages: dict[str, dict[str, Any]] = {}
        for answer in self._query({**IMAGE_INFO, "titles": "|".join(titles)}):
            for item in (*answer.get("normalized", ()), *answer.get("redirects", ())):
                moves[item["from"]] = item["to"]
            for page in answer.get("pages", ()):
                # A continued answer names every page again, some without what another part tells of it.
                pages[page["title"]] = pages.get(page["title"], {}) | page
        return {title: _follow(title, moves, pages) for title in titles}

    def _query(self, request: dict[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the `query` part of an answer and of its continuations."""
        fixed = {
            "action": "query",
            "format": "json",
            "formatversion": "2",
            # Etiquette: refuse while the servers lag by more than five seconds.
            "maxlag": "5",
            **request,
        }
        continuation: dict[str, str] = {}
        for _ in range(MAX_CONTINUATIONS):
            answer = self._ask(fixed | continuation)
            yield answer["query"]
            if "continue" not in answer:
                return
            continuation = answer["continue"]
        raise DataError(f"{self.api} continues its answer without end: try again later")

    def _ask(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Return one answer; ask again where the server is busy or its answer breaks off."""
        for pause in PAUSES:
            try:
                return self._attempt(parameters)
            except _PassingFault as fault:
                wait(max(pause, fault.seconds), str(fault))
        return self._attempt(parameters)

    def _attempt(self, parameters: dict[str, str]) -> dict[str, Any]:
        try:
            with self._lock:
                response = self._session.get(self.api, params=parameters, timeout=self.timeout)
            # The session has asked again where the status says that the fault passes.
            if not response.ok and response.status_code not in TEMPORARY:
                status = f"{response.status_code} {response.reason}"
                raise DataError(f"{self.api} refuses the request ({status}): check api and contact")
            response.raise_for_status()
            answer = response.json()
        except (ChunkedEncodingError, ContentDecodingError, JSONDecodeError) as error:
            raise _PassingFault(f"its answer breaks off ({error})") from None
        if "error" in answer:
            self._check_error(answer["error"], response)
        self._check_warnings(answer.get("warnings", {}))
        complete: dict[str, Any] = answer
        return complete

    def _check_error(self, error: dict[str, Any], response: requests.Response) -> None:
        message = str(error.get("info", error.get("code")))
        if not str(error.get("code")).startswith(BUSY_CODES):
            raise DataError(f"{self.api} refuses the request: {message}")
        # Beside its errors the API names seconds only, never a date.
        header = response.headers.get("Retry-After", "")
        seconds = float(header) if header.isdecimal() else 0.0
        raise _PassingFault(f"it is busy: {message}", seconds)

    def _check_warnings(self, warnings: dict[str, Any]) -> None:
        """Refuse an answer from which something was left out: it must not count as not being there."""
        for module, warning in warnings.items():
            # Notices of what a later version of the API will lack change nothing today.
            texts = [text for text in warning["warnings"].splitlines() if "deprecat" not in text]
            if texts:
                fault = f"it did not do all it was asked ({module}: {' '.join(texts)})"
                raise DataError(f"{self.api} warns that {fault}: check api; no credit was changed")

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, _PassingFault) as error:
            # What requests says holds the whole address, of thousands of characters; its cause is enough.
            cause = getattr(error.args[0], "reason", None) or error
            advice = "try again later, with a network"
            raise DataError(f"{self.api} gave no usable answer ({cause}): {advice}") from None
        except (KeyError, TypeError, AttributeError) as error:
            # Looking into an answer of another shape fails in one of these ways.
            raise DataError(f"{self.api} answers otherwise than the API of Commons does ({error!r})") from None


def _follow(title: str, moves: dict[str, str], pages: dict[str, dict[str, Any]]) -> FilePage:
    """Follow a title through normalisation and redirects to its page."""
    target = title
    left = dict(moves)
    while target in left:
        # Each move is made once, so that a circle ends.
        target = left.pop(target)
    page = pages.get(target)
    if page is None:
        return FilePage(target, {}, "the answer leaves the title out")
    entries = page.get("imageinfo") or [{}]
    if entries[0]:
        return FilePage(target, entries[0])
    if page.get("invalid"):
        return FilePage(target, {}, "the title cannot be one of Commons")
    if page.get("missing"):
        return FilePage(target, {}, "Commons has no such page")
    return FilePage(target, {}, "the page holds no file")
