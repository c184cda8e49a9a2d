from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from fer.utils import http


@dataclass
class Served:
    """The one file a server gives, and how it behaves."""

    address: str = ""
    content: bytes = b""
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    kind: str = "application/octet-stream"
    cookie: bool = False
    breaks: list[int] = field(default_factory=list)
    """Bytes after which each of the coming answers breaks off."""
    refusals: list[int] = field(default_factory=list)
    """Codes of the coming answers."""
    asked: list[str | None] = field(default_factory=list)
    """The ranges asked for so far."""


class Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        served = self.served
        if served.cookie and "pass=1" not in self.headers.get("Cookie", ""):
            self.send_response(302)
            self.send_header("Set-Cookie", "pass=1; Path=/")
            self.send_header("Location", "/with-cookie")
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        served.asked.append(wanted)
        if served.refusals:
            self.send_error(served.refusals.pop(0))
            return
        start, mark = 0, served.etag if served.etag.startswith('"') else served.modified
        if wanted and served.ranges and self.headers.get("If-Range") == mark:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(served.content):
            self.send_error(416)
            return
        self._answer(served, start)

    def _answer(self, served: Served, start: int) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
        for name, value in (("ETag", served.etag), ("Last-Modified", served.modified), ("Content-Type", served.kind)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(served.content) - start))
        self.end_headers()
        self.wfile.write(served.content[start:][: served.breaks.pop(0) if served.breaks else None])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server on this machine; a request is repeated once, without a pause."""
    monkeypatch.setattr(http, "RETRIES", 1)
    monkeypatch.setattr(http, "BACKOFF", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    told = Served()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Telling", (Handler,), {"served": told}))
    told.address = f"http://127.0.0.1:{server.server_port}/file.pth"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of downloaded weights, empty and the test's own."""
    monkeypatch.setattr(http, "RETRIES", 1)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"
