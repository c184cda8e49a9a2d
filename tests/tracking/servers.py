"""A tracking server on this machine, and one that refuses part of what it is asked."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REFUSED = b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}'


@contextlib.contextmanager
def tracking_server(folder: Path, *options: str, **variables: str) -> Iterator[str]:
    """Run `mlflow server` on the database of a folder and yield its address.

    Args:
        folder: The folder.
        options: Further options of `mlflow server`.
        variables: Further variables of its environment.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{folder}/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    # Jobs are for evaluating prompts; their processes would each import MLflow.
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **variables}
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), *options],
            cwd=folder, env=environment, start_new_session=True, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _await(f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:  # its worker was still starting
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=20)


def _await(address: str, log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{address} does not answer: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def refusing(address: str, words: str, status: int = 403) -> Iterator[tuple[str, threading.Event]]:
    """Stand before a tracking server and refuse what has some words in its path.

    Args:
        address: The server.
        words: The words.
        status: The status of the refusal.

    Yields:
        The address, and the event that ends the refusing.
    """
    allowed = threading.Event()

    def treat(method: str, path: str) -> int:
        return status if words in path and not allowed.is_set() else PASS

    with proxy(address, treat) as own:
        yield own, allowed


PASS, DROP, LOSE = 0, -1, -2
"""What a proxy does with a request: pass it on, close the connection, or pass it on and lose the answer."""


@contextlib.contextmanager
def proxy(address: str, treat: Callable[[str, str], int]) -> Iterator[str]:
    """Stand before a tracking server.

    Args:
        address: The server.
        treat: Returns what to do with a request, by its method and path: `PASS`, `DROP`, `LOSE`, or a status to refuse
            it with.

    Yields:
        The address.
    """

    class Handler(BaseHTTPRequestHandler):
        # As real servers do; each closing of a connection is told by the protocol.
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = treat(self.command, self.path)
            answer = REFUSED
            if status in (PASS, LOSE):
                lost = status == LOSE
                status, answer = self.passed_on(content)
                status = DROP if lost else status
            if status == DROP:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def passed_on(self, content: bytes) -> tuple[int, bytes]:
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            request = urllib.request.Request(address + self.path, content or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as answered:
                    return answered.status, answered.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()
            except OSError:
                return DROP, b""

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
