"""A client of the MediaWiki API of Wikimedia Commons: one request at a time, patient, by its rules of etiquette.

https://www.mediawiki.org/wiki/API:Etiquette and https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy
"""

import gzip
import json
import platform
import re
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from threading import Lock
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlencode
from urllib.request import Request, urlopen

from fer.attribution.plain_text import web_address
from fer.errors import ConfigError, DataError

ADDRESS = "https://commons.wikimedia.org/w/api.php"
CLIENT = "fer-experiments/0.1.0"
"""Name and version in the User-Agent."""
TITLES = 50
"""Titles a call may hold."""
LONGEST_ADDRESS = 7000
"""Characters of an address that servers take for sure; a longer request is posted."""
ANSWERS = 200
"""Continuations after which an answer counts as endless."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt, where the server does not say."""
LONGEST_WAIT = 120.0
"""Seconds of a `Retry-After` that are waited; a server that asks for more is left alone."""
REPORTS_EVERY = 10.0
"""Seconds between two lines on one wait."""
TEMPORARY = (408, 429, *range(500, 600))
"""HTTP statuses that pass."""
BUSY = ("maxlag", "ratelimited", "readonly", "internal_api_error_")
"""Beginnings of the codes of API errors that pass."""
NO_TITLE = re.compile(r"[#<>\[\]|{}\x00-\x1f\x7f\ufffd]")
"""Characters of no title. In a request `|` would end the title, `#` lead to another page, a control code warn."""
IMAGE = {
    "prop": "imageinfo",
    "iiprop": "url|user|sha1|size|mime|timestamp|extmetadata|canonicaltitle",
    # Only these: a picture's page also holds positions, which nobody needs for a credit.
    "iiextmetadatafilter": "Artist|Attribution|AuthorCount|Credit|DeletionReason|LicenseShortName|LicenseUrl|NonFree"
    "|Restrictions|UsageTerms",
    "redirects": "1",
}


@dataclass(frozen=True)
class Found:
    """A title's page.

    Attributes:
        title: Its title, after normalisation and redirects.
        info: The newest entry of `imageinfo`; empty where there is no file.
        fault: Why there is no file, in words.
    """

    title: str
    info: dict[str, Any]
    fault: str = ""


@dataclass
class Commons:
    """The API at one address.

    Attributes:
        contact: A page or e-mail address by which Wikimedia can reach whoever runs this; it goes into the User-Agent.
        address: Of `api.php`.
        timeout: Seconds without a byte before an attempt is given up.
    """

    contact: str
    address: str = ADDRESS
    timeout: float = 30.0
    _one: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        if not (self.address.isascii() and web_address(self.address)):
            raise ConfigError(f"api {self.address!r} must be the web address of an api.php, such as {ADDRESS}")

    def files(self, titles: Sequence[str]) -> dict[str, Found]:
        """Return what Commons has under each title.

        Args:
            titles: As `file_title` returns them; answers are joined to them by name, never by order.

        Raises:
            DataError: The API cannot be reached, or answers with what is none of its answers.
        """
        unique = [title for title in dict.fromkeys(titles) if not NO_TITLE.search(title)]
        refused = "the title holds a character that no title on Commons may"
        found = {title: Found(title, {}, refused) for title in titles if NO_TITLE.search(title)}
        with self._understood():
            for start in range(0, len(unique), TITLES):
                found |= self._batch(unique[start : start + TITLES])
        return found

    def with_sha1(self, sha1: str) -> list[str]:
        """Return the titles of the files with this content."""
        request = {"list": "allimages", "aisha1": sha1, "ailimit": "10"}
        with self._understood():
            return [str(item["title"]) for answer in self._query(request) for item in answer.get("allimages", ())]

    def mentioning(self, number: str) -> list[str]:
        """Return the titles of the files on whose page, or else in whose title, a number stands."""
        for search in (f'insource:"{number}"', f'intitle:"{number}"'):
            request = {"list": "search", "srsearch": search, "srnamespace": "6", "srlimit": "10", "srprop": ""}
            with self._understood():
                # One answer is enough: where there are more than ten files, none of them is the one.
                if titles := [str(item["title"]) for item in next(self._query(request)).get("search", ())]:
                    return titles
        return []

    def _batch(self, titles: list[str]) -> dict[str, Found]:
        leads: dict[str, str] = {}
        pages: dict[str, dict[str, Any]] = {}
        for answer in self._query({**IMAGE, "titles": "|".join(titles)}):
            for item in answer.get("normalized", ()):
                leads[unquote(item["from"]) if item.get("fromencoded") else item["from"]] = item["to"]
            leads |= {item["from"]: item["to"] for item in answer.get("redirects", ())}
            for page in answer.get("pages", ()):
                # A continued answer names every page again, some without what an earlier or later one tells of it.
                pages[page["title"]] = pages.get(page["title"], {}) | page
        return {title: _found(title, leads, pages) for title in titles}

    def _query(self, request: dict[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the `query` part of an answer and of its continuations."""
        fixed = {"action": "query", "format": "json", "formatversion": "2", "maxlag": "5", **request}
        more: dict[str, str] = {}
        for _ in range(ANSWERS):
            answer = self._ask(fixed | more)
            yield answer["query"]
            if "continue" not in answer:
                return
            more = {key: str(value) for key, value in answer["continue"].items()}
        raise DataError(f"{self.address} continues its answer without end: try again later")

    def _ask(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Return one answer, after waiting and asking again where that may help."""
        for pause in (*PAUSES, None):
            try:
                with self._one:
                    headers, answer = self._receive(parameters)
                error = answer.get("error", {})
                if not error:
                    return self._complete(answer)
                why, wait = f"it is busy: {error.get('info', error.get('code'))}", _seconds(headers)
                if not str(error.get("code")).startswith(BUSY):
                    raise DataError(f"{self.address} refuses the request: {error.get('info', error.get('code'))}")
            except HTTPError as error:
                why, wait = str(error), _seconds(error.headers)
                error.close()
                if error.code not in TEMPORARY:
                    raise DataError(f"{self.address} refuses the request ({why}): check api and contact") from None
            except (OSError, HTTPException, EOFError, zlib.error, ValueError) as error:
                # A broken connection, or an answer that breaks off: gzip, JSON or its length say so.
                why, wait = str(error) or type(error).__name__, 0.0
            if pause is None or wait > LONGEST_WAIT:
                break
            _wait(max(wait, pause), why)
        later = f" and asks to wait {wait:.0f} seconds" if wait > LONGEST_WAIT else ""
        raise DataError(f"{self.address} gave no usable answer ({why}){later}: try again later, with a network")

    def _complete(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer unless the API warns: then it left out something, which must not count as not being there.

        Raises:
            DataError: It warns of more than of parts that will go in a later version.
        """
        for module, warning in answer.get("warnings", {}).items():
            grave = [text for text in warning["warnings"].splitlines() if "deprecat" not in text]
            if grave:
                why = f"did not do all it was asked ({module}: {' '.join(grave)})"
                raise DataError(f"{self.address} warns that it {why}: check api; no credit was changed")
        return answer

    def _receive(self, parameters: dict[str, str]) -> tuple[Message, dict[str, Any]]:
        encoded = urlencode(parameters)
        posted = len(self.address) + len(encoded) > LONGEST_ADDRESS
        agent = f"{CLIENT} ({self.contact}) Python-urllib/{platform.python_version()}"
        headers = {"User-Agent": agent, "Accept-Encoding": "gzip"}
        address = self.address if posted else f"{self.address}?{encoded}"
        request = Request(address, encoded.encode() if posted else None, headers)
        with urlopen(request, timeout=self.timeout) as answer:
            content = answer.read()
            if answer.headers.get("Content-Encoding", "").lower() == "gzip":
                content = gzip.decompress(content)
            parsed = json.loads(content)
        if not isinstance(parsed, dict):
            raise ValueError("its answer is no JSON object")
        return answer.headers, parsed

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self.address} answers otherwise than the API of Commons does ({error!r})") from None


def _found(title: str, leads: dict[str, str], pages: dict[str, dict[str, Any]]) -> Found:
    """Follow a title through normalisation and redirects to its page."""
    target, seen = title, {title}
    while target in leads and leads[target] not in seen:
        target = leads[target]
        seen.add(target)
    page = pages.get(target)
    if page is None:
        fault = "its redirects lead in a circle" if target in leads else "the answer leaves the title out"
    elif (page.get("imageinfo") or [{}])[0]:
        return Found(target, page["imageinfo"][0])
    elif page.get("invalid"):
        fault = "the title cannot be one of Commons"
    else:
        fault = "Commons has no such page" if page.get("missing") else "the page holds no file"
    return Found(target, {}, fault)


def _wait(seconds: float, why: str) -> None:
    """Wait, and tell on stderr why and how long still, so that nobody takes the program for dead."""
    while seconds > 0:
        print(f"Commons: {why}; asking again in {seconds:.0f} s", file=sys.stderr, flush=True)
        step = min(seconds, REPORTS_EVERY)
        time.sleep(step)
        seconds -= step


def _seconds(headers: Message) -> float:
    """Return how long a server asks to wait: `Retry-After` holds seconds or a date."""
    said = headers.get("Retry-After", "")
    if said.strip().isdecimal():
        return float(said)
    try:
        return max((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0
