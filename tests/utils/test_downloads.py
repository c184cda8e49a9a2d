import errno
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from fer.utils import downloads, http
from fer.utils.downloads import CorruptDownload, download_file, file_fault, is_disk_fault

CONTENT = b"weights"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Where `CONTENT` is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/w.pth"
        server.shutdown()


def test_without_a_network_only_the_first_file_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    # What earlier tests of this process could not reach is no matter here.
    monkeypatch.setattr(downloads, "_unreachable", set())
    waits: list[float] = []
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=waits.append))
    # A port that was free a moment ago: nobody listens there.
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        nobody = f"http://127.0.0.1:{closed.server_port}/w.pth"
    for count in (3, 3):
        with pytest.raises(requests.ConnectionError, match=rf"^no connection to 127\.0\.0\.1:{closed.server_port}$"):
            download_file(nobody, tmp_path / "w.pth", show_progress=False)
        assert len(waits) == count
    # Once a server answers, the network is there again.
    download_file(address, tmp_path / "v.pth", show_progress=False)
    with pytest.raises(requests.ConnectionError):
        download_file(nobody, tmp_path / "w.pth", show_progress=False)
    assert len(waits) == 6


def test_a_file_is_verified_and_moved_in_whole(tmp_path: Path, address: str) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    download_file(address, tmp_path / "w.pth", sha256[:10], show_progress=False)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    with pytest.raises(CorruptDownload, match=r"is not v\.pth"):
        download_file(address, tmp_path / "v.pth", "0" * 64, show_progress=False)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["w.pth"]


def test_faults_of_a_file_are_told(tmp_path: Path) -> None:
    page = tmp_path / "w.pth"
    page.write_bytes(b" <!DOCTYPE html><p>Sign in")
    assert file_fault(page, "") == "it is a web page"
    page.write_bytes(CONTENT)
    assert file_fault(page, "") == ""
    assert file_fault(page, "00").startswith("its sha256 is ")


def test_faults_of_the_network_are_none_of_the_disk() -> None:
    assert is_disk_fault(OSError(errno.ENOSPC, "full"))
    assert not is_disk_fault(requests.ConnectionError(errno.EACCES, "refused"))
    assert not is_disk_fault(ValueError())
