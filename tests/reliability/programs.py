"""Start commands and tracking servers as processes of their own, each of which a test may kill.

Importing torch and MLflow costs more than the trainings here. So one process imports all of it once, and each program
is a fork of that one: an own process from its first line on, with its own folder, environment and group.
"""

import atexit
import multiprocessing
import os
import platform
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.paths import ROOT

ENVIRONMENT = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI")
TORCHRUN = "torchrun"
SECONDS = 180.0
"""How long anything is waited for."""
POLL = 0.02
OUTPUT = 3000
"""Characters of a program's output that a failing test shows."""

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(["tests.reliability.warm"])


class Program:
    """A process that has been started.

    Args:
        work: What it does.
        arguments: What with.
        folder: Its folder.
        environment: Its environment's variables that differ from this process's.
        log: Where its output goes, appended.
    """

    def __init__(
        self,
        work: Callable[..., None],
        arguments: Sequence[Any],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self.log = log
        log.touch()
        self._begin = log.stat().st_size
        options = (work, tuple(arguments), folder, dict(environment), log)
        # Daemons end with the tests, whatever these come to.
        self.process = _forking.Process(target=_run, args=options, daemon=True)
        self.process.start()

    @property
    def output(self) -> str:
        """What it has printed."""
        with self.log.open("rb") as stream:
            stream.seek(self._begin)
            return stream.read().decode(errors="replace").replace("\r", "\n")

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    @property
    def code(self) -> int | None:
        """Its exit code, negative for the signal that killed it; None while it runs."""
        return self.process.exitcode

    def wait(self, code: int | None = 0, seconds: float = SECONDS) -> str:
        """Wait until it has ended, and return its output.

        Args:
            code: The exit code that it must end with; None for any.
            seconds: How long to wait at most.
        """
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            pytest.fail(f"no end after {seconds:.0f} s: ...{self.output[-OUTPUT:]}")
        if code is not None and self.process.exitcode != code:
            pytest.fail(f"ended with {self.process.exitcode}, not {code}: ...{self.output[-OUTPUT:]}")
        return self.output

    def wait_for(self, condition: Callable[[], Any], seconds: float = SECONDS) -> bool:
        """Wait until a condition holds while it runs; return whether that came before its end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return True
            if not self.is_running:
                return False
            time.sleep(POLL)
        self.kill()
        pytest.fail(f"nothing happened for {seconds:.0f} s: ...{self.output[-OUTPUT:]}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once with all that it has started, as a lost machine does."""
        started = []
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(self.process.pid).children(recursive=True)
        self.signal(signal.SIGKILL)
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.join(SECONDS)


def _run(
    work: Callable[..., None],
    arguments: Sequence[Any],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
) -> None:
    os.setsid()
    stream = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for target in (1, 2):
        os.dup2(stream, target)
    # What the packages have set at their import stays.
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ.update(environment)
    os.chdir(folder)
    try:
        work(*arguments)
    finally:
        # A fork leaves them out, and what hangs there would keep a real process from ending.
        atexit._run_exitfuncs()


def command(words: Sequence[str], node: str = "") -> None:
    """Be `fer <words>`, on a machine of another name if one is given; `torchrun` before them starts two processes."""
    if words[0] == TORCHRUN:
        from torch.distributed.run import main as torchrun

        os.environ |= {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
        torchrun(["--standalone", "--nproc-per-node", "2", "-m", "fer", *words[1:]])
        return
    from fer.cli import main

    if node:
        platform.node = lambda: node  # type: ignore[assignment]
    sys.argv = ["fer", *words]
    main(list(words))


def serve(port: int) -> None:
    """Be the worker that `mlflow server` starts."""
    import uvicorn

    uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=port, log_level="warning")


class Server:
    """A tracking server on the database of a folder, always at one port.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._program: Program | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self.folder}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self.folder / "mlartifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        log = self.folder / "server.log"
        program = Program(serve, (self.port,), self.folder, environment, log)
        self._program = program
        assert program.wait_for(self.answers), program.output[-OUTPUT:]

    def answers(self) -> bool:
        """Return whether it answers."""
        with suppress(OSError):
            urllib.request.urlopen(f"{self.address}/health", timeout=2).close()
            return True
        return False

    def kill(self) -> None:
        """Kill it: whoever asks is refused from now on."""
        if self._program is not None:
            self._program.kill()

    def freeze(self) -> None:
        """Keep it from answering: whoever asks waits."""
        assert self._program is not None
        self._program.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._program is not None
        self._program.signal(signal.SIGCONT)
