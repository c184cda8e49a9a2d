"""Download files: continued after a break, verified, put into place whole, by one process at a time.

Libraries that download with a checksum start over after a break and know whole digests only; the files here have some
hundred megabytes, and torchvision names the first digits of theirs.
"""

import errno
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import requests
from filelock import FileLock
from tqdm import tqdm
from urllib3.exceptions import HTTPError as TransferError

from fer.utils.http import TEMPORARY

CHUNK = 1 << 18
TIMEOUT = 30.0
"""Seconds without a byte before an attempt is given up."""
PAUSES = (1.0, 2.0, 4.0)
"""Seconds between attempts that receive nothing; when they are used up, so is patience."""
RANGE_NOT_SATISFIABLE = 416
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
PAGE_STARTS = (b"<!doctype html", b"<html")


class CorruptDownload(Exception):
    """What a server gave is not the file meant; the message says what shows it."""


def file_fault(path: Path, sha256: str) -> str:
    """Return what shows that a file is not the one meant, or an empty text.

    Args:
        path: The file.
        sha256: Its digest in hexadecimal, or the first digits; empty: not verified.
    """
    with path.open("rb") as content:
        if content.read(256).lstrip().lower().startswith(PAGE_STARTS):
            return "it is a web page"
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest() if sha256 else ""
    if digest.startswith(sha256.lower()):
        return ""
    return f"its sha256 is {digest}, not {sha256}"


def is_disk_fault(error: Exception) -> bool:
    """Return whether a fault is of this machine's disk and not of the network."""
    # Faults of the network are OSErrors in requests too.
    from_network = isinstance(error, requests.RequestException)
    return isinstance(error, OSError) and not from_network and error.errno in DISK_FAULTS


def download_file(address: str, path: Path, sha256: str = "", *, show_progress: bool = True) -> None:
    """Download a file unless another process has done so meanwhile.

    A download that breaks off is continued, in this call or a later one, unless the server's file has changed since.

    Args:
        address: Where to get it.
        path: Where to have it.
        sha256: Its digest in hexadecimal, or the first digits; empty: not verified.
        show_progress: Whether to show a progress bar.

    Raises:
        OSError: The network, or this machine's disk as `is_disk_fault` tells.
        CorruptDownload: It is not the file meant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.is_file():
            return
        try:
            _complete(address, partial, path.name, show_progress)
        except OSError as error:
            # A full disk gets its room back.
            if is_disk_fault(error):
                _remove(partial)
            raise
        if fault := file_fault(partial, sha256):
            _remove(partial)
            raise CorruptDownload(f"what {address} gave is not {path.name} ({fault})")
        partial.replace(path)
        _remove(partial)


def _complete(address: str, partial: Path, name: str, show_progress: bool) -> None:
    """Fetch until the partial file is whole."""
    failures = 0
    # One session: share links of some servers hand out a cookie at a redirection and ask for it at the next address.
    with requests.Session() as session:
        while True:
            size_before = _size(partial)
            try:
                return _fetch_rest(session, address, partial, name, show_progress)
            except OSError as error:
                if is_disk_fault(error) or not _may_pass(error, partial):
                    raise
                # An attempt that brought something costs no patience.
                failures = 0 if _size(partial) > size_before else failures + 1
                if failures > len(PAUSES):
                    raise
            time.sleep(PAUSES[max(failures - 1, 0)])


def _may_pass(error: OSError, partial: Path) -> bool:
    """Return whether another attempt may help; a partial file that reaches beyond the server's is removed first."""
    if not isinstance(error, requests.HTTPError):
        return True
    status = error.response.status_code
    if status == RANGE_NOT_SATISFIABLE:
        _remove(partial)
        return True
    return status in TEMPORARY


def _fetch_rest(session: requests.Session, address: str, partial: Path, name: str, show_progress: bool) -> None:
    """Request what is missing of a partial file once and append it; start over where the server has another file."""
    version = _version_file(partial)
    # Without a mark of the version the rest of another file could be appended.
    start = _size(partial) if version.is_file() else 0
    headers = {"User-Agent": "fer", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text(encoding="utf-8")}
    with session.get(address, headers=headers, timeout=TIMEOUT, stream=True) as response:
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise CorruptDownload(f"{address} answers with a web page instead of {name}")
        if response.status_code != requests.codes.partial_content:
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            _remove(partial)
            raise ConnectionError("the server sent another part of the file than asked for")
        if not start:
            # Before its mark changes: the two must belong together whenever this stops.
            partial.unlink(missing_ok=True)
        _write_version(version, response.headers)
        _append(response, partial, start, name, show_progress)


def _append(response: requests.Response, partial: Path, start: int, name: str, show_progress: bool) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    # Seldom where nobody watches: a log file keeps every refresh.
    interval = 0.2 if os.isatty(2) else 10.0
    progress = tqdm(
        total=total,
        initial=start,
        desc=name,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        mininterval=interval,
        maxinterval=interval,
        disable=not show_progress,
    )
    with partial.open("ab" if start else "wb") as file, progress:
        try:
            # What has arrived is written at once, so that a break loses nothing.
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                file.write(chunk)
                progress.update(len(chunk))
        except TransferError:
            message = f"the server broke off after {file.tell()} of {total} bytes"
            raise ConnectionError(message) from None
    if total is not None and _size(partial) != total:
        raise ConnectionError(f"the server broke off after {_size(partial)} of {total} bytes")


def _write_version(version: Path, headers: Mapping[str, str]) -> None:
    """Keep what tells this version of the server's file from another: a strong tag, else the date of change."""
    tag = headers.get("ETag", "")
    mark = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    if mark:
        version.write_text(mark, encoding="utf-8")
    else:
        version.unlink(missing_ok=True)


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _remove(partial: Path) -> None:
    for file in (partial, _version_file(partial)):
        file.unlink(missing_ok=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
