import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fer.utils.http import retrying_session


class Server(ThreadingHTTPServer):
    statuses: list[int]
    agents: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.agents.append(self.headers["User-Agent"])
        self.send_response(self.server.statuses.pop(0))
        self.send_header("Content-Length", "0")
        self.send_header("Retry-After", "0")
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
def test_faults_that_pass_are_asked_again(server: Server, statuses: list[int], last: int) -> None:
    server.statuses = list(statuses)
    with retrying_session("fer-test", retries=2, backoff=0) as session:
        assert session.get(f"http://127.0.0.1:{server.server_port}/").status_code == last
    assert server.agents == ["fer-test"] * len(statuses)
