"""A stand-in of the 2021 project's repository on this machine: drawn pictures, and the list of them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest

from fer.data.datasets import wikimedia
from fer.data.datasets.drawn import write_wikimedia
from fer.data.datasets.wikimedia import ListedFile, scan
from fer.data.images import inspect
from fer.utils import http


@dataclass
class Repository:
    """The files by their places, how the server behaves, and what it was asked.

    Attributes:
        files: Content by place in the set.
        listed: The list made for them.
        refused: Places that are answered with this code.
        asked: The places asked for so far.
    """

    files: dict[str, bytes]
    listed: tuple[ListedFile, ...]
    refused: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    repository: Repository

    def do_GET(self) -> None:
        place = unquote(self.path).removeprefix("/files/")
        self.repository.asked.append(place)
        if place in self.repository.refused or place not in self.repository.files:
            self.send_error(self.repository.refused.get(place, 404))
            return
        content = self.repository.files[place]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


def drawn_repository(folder: Path) -> Repository:
    """Draw two pictures of each class, one of them with signs in its name that an address must escape."""
    write_wikimedia(folder, per_class=2, seed=1)
    first = min((folder / "3").iterdir())
    first.rename(first.with_name(f"Qu'est-ce? 100% #1 (چهره){first.suffix}"))
    files, listed = {}, []
    for path in (candidate.path for candidate in scan(folder).candidates):
        name, content, facts = path.relative_to(folder).as_posix(), path.read_bytes(), inspect(path)
        files[name] = content
        digest = hashlib.sha256(content).hexdigest()
        listed.append(ListedFile(name, digest, facts.pixels, facts.width, facts.height, f"File:{path.name}"))
    return Repository(files, tuple(listed))


@contextmanager
def served(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Serve a repository on loopback, from where the set is obtained as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Giving", (Handler,), {"repository": repository}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(http, "RETRIES", 1)
    monkeypatch.setattr(wikimedia, "FILES", f"http://127.0.0.1:{server.server_port}/files")
    monkeypatch.setattr(wikimedia, "listed_files", lambda *_: repository.listed)
    try:
        yield repository
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
