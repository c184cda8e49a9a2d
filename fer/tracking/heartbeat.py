"""Say every few seconds that a process carries on with a run, and notice when another one does."""

import json
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
from mlflow.entities import Run

from fer.tracking.names import ATTEMPT, HEARTBEAT

BEAT_SECONDS = 10.0
"""How often a process says that it is alive."""
WATCHED_SECONDS = 2.5 * BEAT_SECONDS
"""How long a heartbeat must stand still before its process counts as dead."""


def beat() -> str:
    """Return the value of the heartbeat tag now."""
    process = psutil.Process()
    return json.dumps(
        {
            "host": platform.node(),
            "boot": int(psutil.boot_time()),
            "namespace": namespace(),
            "process": process.pid,
            "started": process.create_time(),
            "time": round(time.time(), 1),
        }
    )


def namespace() -> str:
    """Return what tells this process's numbering of processes from a container's; empty where there is one only."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


class Heartbeat(threading.Thread):
    """Say every few seconds that this process carries on with a run, and notice when another one does.

    Args:
        address: The store.
        run_id: The run.
        attempt: This process's value of the tag `fer.attempt`.
        lost: Called once when another process has taken the run over.
    """

    def __init__(self, address: str, run_id: str, attempt: str, lost: Callable[[], None]) -> None:
        super().__init__(name="fer-heartbeat", daemon=True)
        self._client = mlflow.MlflowClient(address)
        self._run_id = run_id
        self._attempt = attempt
        self._lost = lost
        self._stopped = threading.Event()
        # Of the wall: the process, or its machine, may stand still for hours.
        self._seen = time.time()

    def run(self) -> None:
        """Beat until stopped."""
        while not self._stopped.wait(BEAT_SECONDS):
            # A store that is away is the sender's concern; nobody else can take the run over meanwhile either.
            with suppress(Exception):
                run = self._read()
                if run is None:
                    return
                if not self._stopped.is_set():
                    self._client.set_tag(self._run_id, HEARTBEAT, beat())
                    # Another machine had taken this process for dead.
                    if run.info.status != "RUNNING":
                        self._client.update_run(self._run_id, status="RUNNING")

    def _read(self) -> Run | None:
        """Return the run; None, and the loss is told, if another process has taken it over."""
        run = self._client.get_run(self._run_id)
        if run.data.tags.get(ATTEMPT, self._attempt) != self._attempt:
            is_news = not self._stopped.is_set()
            self.stop()
            if is_news:
                self._lost()
            return None
        self._seen = time.time()
        return run

    def is_ours(self) -> bool:
        """Return whether the run is still this process's; the store is asked if it may have been taken over."""
        could_be_taken = time.time() - self._seen > WATCHED_SECONDS
        return not could_be_taken or self._read() is not None

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()
