"""Download files: continued after a break, verified, moved in whole.

Libraries that download with a checksum start over after a break and know whole digests only; the files here have some
hundred megabytes, and torchvision names the first digits of theirs.
"""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from tqdm import tqdm
from urllib3.exceptions import HTTPError as TransferError
from urllib3.exceptions import MaxRetryError

from fer.utils import http
from fer.utils.disk import NO_SPACE
from fer.utils.paths import NO_ACCESS

CHUNK = 1 << 18
PAGE_STARTS = (b"<!doctype html", b"<html")


_unreachable: set[str] = set()
"""Servers that this process could not reach since it last reached any."""


class CorruptDownload(Exception):
    """What a server gave is not the file meant; the message says what shows it."""


def file_fault(path: Path, sha256: str) -> str:
    """Return what shows that a file is not the one meant, or an empty text.

    Args:
        path: The file.
        sha256: Its digest in hexadecimal, or the first digits; empty: not verified.
    """
    with path.open("rb") as content:
        # A server that wants a login gives its page in place of any file.
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
    of_disk = isinstance(error, OSError) and error.errno in (*NO_SPACE, *NO_ACCESS)
    return of_disk and not from_network


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
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.is_file():
            return
        partial = _Partial(path, show_progress)
        try:
            partial.complete(address)
        except OSError as error:
            # A full disk gets its room back.
            if is_disk_fault(error):
                partial.remove()
            raise
        if fault := file_fault(partial.path, sha256):
            partial.remove()
            raise CorruptDownload(f"what {address} gave is not {path.name} ({fault})")
        partial.path.replace(path)
        partial.remove()


class _Partial:
    """What has been downloaded of a file so far, and what the server says of the version it belongs to."""

    def __init__(self, target: Path, show_progress: bool) -> None:
        self.name = target.name
        self.path = target.with_name(f"{target.name}.part")
        self.version = target.with_name(f"{target.name}.part.version")
        self.show_progress = show_progress

    def complete(self, address: str) -> None:
        """Fetch until the file is whole.

        Raises:
            OSError: As of `download_file`.
        """
        # One session: share links of some servers hand out a cookie at a redirection and ask for it at the next
        # address. It also asks again where there is no answer, so that here only breaks are left to deal with.
        # Without a network each of a dozen files would be waited for as long as the first.
        with http.retrying_session(insists=not _unreachable) as session:
            while True:
                size_before = self.size()
                try:
                    self._fetch_rest(session, address)
                    _unreachable.clear()
                    return
                except requests.ConnectionError as error:
                    server = urlsplit(address).netloc
                    _unreachable.add(server)
                    if error.args and isinstance(error.args[0], MaxRetryError):
                        # What urllib3 says of it fills four lines.
                        raise requests.ConnectionError(f"no connection to {server}") from error
                    raise
                except ConnectionError as error:
                    # An attempt that brought nothing would be repeated for ever.
                    if self.size() <= size_before:
                        raise
                    http.wait(http.BACKOFF, str(error))

    def size(self) -> int:
        """Return the bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def remove(self) -> None:
        """Delete it with its mark."""
        for file in (self.path, self.version):
            file.unlink(missing_ok=True)

    def _fetch_rest(self, session: requests.Session, address: str) -> None:
        """Request what is missing once and append it; start over where the server has another file."""
        # Without a mark of the version the rest of another file could be appended.
        start = self.size() if self.version.is_file() else 0
        # Compressed on the way, a file has other positions and another length.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            headers["If-Range"] = self.version.read_text(encoding="utf-8")
        with session.get(
            address, headers=headers, timeout=(http.CONNECT_TIMEOUT, http.TIMEOUT), stream=True
        ) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                # What is here reaches beyond the server's file.
                self.remove()
                self._fetch_rest(session, address)
                return
            response.raise_for_status()
            # A network's login page must not replace what is there.
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise CorruptDownload(f"{address} answers with a web page instead of {self.name}")
            if response.status_code != requests.codes.partial_content:
                start = 0
                # Before its mark changes: the two must belong together whenever this stops.
                self.path.unlink(missing_ok=True)
            self._keep_version(response)
            self._append(response, start)

    def _keep_version(self, response: requests.Response) -> None:
        """Keep what tells this version of the server's file from another: a strong tag, else the date of change."""
        tag = response.headers.get("ETag", "")
        mark = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        if mark:
            self.version.write_text(mark, encoding="utf-8")
        else:
            self.version.unlink(missing_ok=True)

    def _append(self, response: requests.Response, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        # Seldom where nobody watches: a log file keeps every refresh.
        interval = 0.2 if os.isatty(2) else 10.0
        progress = tqdm(
            total=total,
            initial=start,
            desc=self.name,
            unit="B",
            unit_scale=True,
            mininterval=interval,
            maxinterval=interval,
            disable=not self.show_progress,
        )
        with self.path.open("ab") as file, progress:
            try:
                # What has arrived is written at once, so that a break loses nothing.
                while chunk := response.raw.read1(CHUNK, decode_content=False):
                    file.write(chunk)
                    progress.update(len(chunk))
            except TransferError:
                message = f"the server broke off after {file.tell()} of {total} bytes"
                raise ConnectionError(message) from None
