"""Files brought from the network to their places: resumed, verified, landed whole, by one process at a time."""

import errno
import hashlib
import os
import time
from http.client import HTTPException, HTTPMessage
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from filelock import FileLock
from tqdm import tqdm

CHUNK = 1 << 18
TIMEOUT = 30.0
"""Seconds without a byte before an attempt is given up."""
PAUSES = (1.0, 2.0, 4.0)
"""Seconds between attempts that bring nothing; when they are used up, so is patience."""
TEMPORARY = (408, 416, 429, 500, 502, 503, 504)
"""Answers worth another attempt."""
LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""Faults of this machine's disk."""
PAGE_STARTS = (b"<!doctype html", b"<html")


class Unsound(Exception):
    """What a server gave is not the file meant; the message says what shows it."""


def fault_of(file: Path, sha256: str) -> str:
    """Return what shows that a file is not the one meant, or nothing."""
    with file.open("rb") as content:
        if content.read(256).lstrip().lower().startswith(PAGE_STARTS):
            return "it is a web page"
        content.seek(0)
        found = hashlib.file_digest(content, "sha256").hexdigest() if sha256 else ""
    return "" if found.startswith(sha256.lower()) else f"its sha256 is {found}, not {sha256}"


def is_local(error: Exception) -> bool:
    """Return whether a fault is of this machine's disk and not of the network."""
    # Faults of the network arrive as HTTPError, or as URLError, whose number is empty.
    return isinstance(error, OSError) and not isinstance(error, HTTPError) and error.errno in LOCAL


def bring(address: str, place: Path, sha256: str = "", *, shown: bool = True) -> None:
    """Download a file unless another process has done so meanwhile, and land it if it is sound.

    A download that breaks off is continued, in this call or a later one, unless the server's file has changed since.

    Args:
        address: Where to get it.
        place: Where to have it.
        sha256: Its digest in hexadecimal, or the first digits; empty: not verified.
        shown: Whether to show progress.

    Raises:
        OSError: The network, or this machine's disk as `is_local` tells; `HTTPException` is possible as well.
        Unsound: It is not the file meant.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    with FileLock(place.with_name(f".{place.name}.lock")):
        if place.is_file():
            return
        try:
            _complete(address, part, place, shown)
        except OSError as error:
            if is_local(error):
                _forget(part)
            raise
        if fault := fault_of(part, sha256):
            _forget(part)
            raise Unsound(f"what {address} gave is not {place.name} ({fault})")
        part.replace(place)
        _forget(part)


def _complete(address: str, part: Path, place: Path, shown: bool) -> None:
    """Fetch until the partial file is whole; an attempt that brought something more costs no patience."""
    # Share links of some servers hand out a cookie at a redirection and ask for it at the next address.
    opener = build_opener(HTTPCookieProcessor(CookieJar()))
    vain = 0
    while True:
        before = _size(part)
        try:
            return _receive(opener, address, part, place, shown)
        except (OSError, HTTPException) as error:
            if is_local(error) or (isinstance(error, HTTPError) and error.code not in TEMPORARY):
                raise
            if isinstance(error, HTTPError) and error.code == 416:
                _forget(part)
            vain = 0 if _size(part) > before else vain + 1
            if vain > len(PAUSES):
                raise
            time.sleep(PAUSES[max(vain - 1, 0)])


def _receive(opener: OpenerDirector, address: str, part: Path, place: Path, shown: bool) -> None:
    """Make one request for what is missing of a partial file and append the answer; start over where that is no use."""
    version = _version_file(part)
    # Without a mark of the version the rest of another file could be appended.
    start = _size(part) if version.is_file() else 0
    headers = {"User-Agent": "fer"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text(encoding="utf-8")}
    with opener.open(Request(address, headers=headers), timeout=TIMEOUT) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise Unsound(f"{address} answers with a web page instead of {place.name}")
        if answer.status != 206:
            start = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            _forget(part)
            raise ConnectionError("the server sent another part of the file than asked for")
        if not start:
            part.unlink(missing_ok=True)  # before its mark changes: the two must belong together whenever this stops
        _remember(version, answer.headers)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        # Seldom where nobody watches: a log file keeps every refresh.
        interval = 0.2 if os.isatty(2) else 10.0
        bar = tqdm(
            total=total, initial=start, desc=place.name, unit="B", unit_scale=True, unit_divisor=1024,
            mininterval=interval, maxinterval=interval, disable=not shown,
        )  # fmt: skip
        with part.open("ab" if start else "wb") as file, bar:
            while chunk := answer.read1(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise ConnectionError(f"the server broke off after {_size(part)} of {total} bytes")


def _remember(version: Path, headers: HTTPMessage) -> None:
    """Keep what tells this version of the file from another: a strong tag, else the date of change."""
    tag = headers.get("ETag", "")
    mark = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    if mark:
        version.write_text(mark, encoding="utf-8")
    else:
        version.unlink(missing_ok=True)


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _forget(part: Path) -> None:
    for file in (part, _version_file(part)):
        file.unlink(missing_ok=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
