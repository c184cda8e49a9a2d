import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import requests

from fer.utils import http
from fer.utils.http import retrying_session


class Server(ThreadingHTTPServer):
    statuses: list[int]
    agents: list[str]
    retry_after: str = "0"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.agents.append(self.headers["User-Agent"])
        self.send_response(self.server.statuses.pop(0))
        self.send_header("Content-Length", "0")
        self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.agents = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(("statuses", "last"), [([503, 429, 200], 200), ([404], 404), ([500] * 3, 500)])
def test_faults_that_pass_are_asked_again(
    server: Server, statuses: list[int], last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "RETRIES", 2)
    monkeypatch.setattr(http, "BACKOFF", 0.0)
    server.statuses = list(statuses)
    with retrying_session("fer-test") as session:
        assert session.get(f"http://127.0.0.1:{server.server_port}/").status_code == last
    assert server.agents == ["fer-test"] * len(statuses)


def test_a_wait_is_announced_and_as_long_as_the_server_asks(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=waits.append))
    server.statuses, server.retry_after = [429, 200], "17"
    with retrying_session() as session:
        assert session.get(f"http://127.0.0.1:{server.server_port}/").status_code == 200
    assert waits == [17]
    assert capsys.readouterr().err == "waiting 17 s for the server: status 429\n"


def test_a_server_that_asks_for_hours_is_left_alone(server: Server) -> None:
    server.statuses, server.retry_after = [503], "7200"
    message = "status 503, and it asks to wait 7200 seconds"
    with retrying_session() as session, pytest.raises(requests.ConnectionError, match=message):
        session.get(f"http://127.0.0.1:{server.server_port}/")
    assert len(server.agents) == 1
