"""Tell runs that go on from dead ones by a heartbeat, and let one process at a time carry on with a run."""

import json
import platform
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import mlflow
import psutil
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.errors import FerError
from fer.tracking.endings import KILLED, write_end
from fer.tracking.names import ATTEMPT, HEARTBEAT

BEAT_SECONDS = 10.0
"""How often a process says that it is alive."""
WATCHED_SECONDS = 2.5 * BEAT_SECONDS
"""How long a heartbeat must stand still before its process counts as dead."""
OLD_SECONDS = 600.0
"""After so long without a beat nobody need watch for another one, even if two machines' clocks differ."""
SETTLE_SECONDS = 1.0
"""How long after a claim it is read again: of two processes that claim a run at once the later one wins."""
POLL = 0.2
DIED = "its process died: it was killed, or its machine was lost"
"""Why a run did not finish that nobody has ended."""


def new_attempt(number: int) -> str:
    """Return the value of the tag by which the processes that carry on with a run are told apart."""
    return f"{number}:{uuid.uuid4().hex[:8]}"


def attempt_number(tags: Mapping[str, str]) -> int:
    """Return how many processes have carried a run so far."""
    text = tags.get(ATTEMPT, "").partition(":")[0]
    return int(text) if text.isdecimal() else 1


def beat() -> str:
    """Return the value of the heartbeat tag now."""
    process = psutil.Process()
    return json.dumps(
        {
            "host": platform.node(),
            "boot": int(psutil.boot_time()),
            "process": process.pid,
            "started": process.create_time(),
            "time": round(time.time(), 1),
        }
    )


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

    def run(self) -> None:
        """Beat until stopped."""
        while not self._stopped.wait(BEAT_SECONDS):
            # A store that is away is the sender's concern; nobody else can take the run over meanwhile either.
            with suppress(MlflowException, OSError):
                tags = self._client.get_run(self._run_id).data.tags
                if tags.get(ATTEMPT, self._attempt) != self._attempt:
                    self._lost()
                    return
                if not self._stopped.is_set():
                    self._client.set_tag(self._run_id, HEARTBEAT, beat())

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()


def is_dead(run: Run) -> bool:
    """Return whether the process that carries a run is known to have died, without watching for its heartbeat."""
    known = _read_beat(run.data.tags.get(HEARTBEAT, ""))
    # Runs of before there were heartbeats: nobody could tell, and whoever resumes one asks for it.
    if known is None:
        return True
    if _is_here(known):
        return not _is_process(known["process"], known["started"])
    return time.time() - float(known["time"]) > OLD_SECONDS


def end_if_dead(client: mlflow.MlflowClient, run: Run, here: bool = False) -> bool:
    """End a run that is RUNNING though its process died, and return whether that was so.

    Args:
        client: Of the store.
        run: The run.
        here: Whether to leave alone what other machines ran.
    """
    if run.info.status != "RUNNING" or HEARTBEAT not in run.data.tags or not is_dead(run):
        return False
    known = _read_beat(run.data.tags[HEARTBEAT])
    if here and (known is None or not _is_here(known)):
        return False
    write_end(client, run.info.run_id, death())
    return True


def death() -> dict[str, Any]:
    """Return the end of a run whose process died."""
    return {"status": KILLED, "reason": DIED, "time": int(time.time() * 1000), "unless_begun": False}


def is_going_on(client: mlflow.MlflowClient, run: Run) -> bool:
    """Return whether a process still carries on with a run; this may watch its heartbeat for half a minute.

    Args:
        client: Of the store.
        run: The run as it was read a moment ago.
    """
    if run.info.status != "RUNNING" or is_dead(run):
        return False
    value = run.data.tags[HEARTBEAT]
    known = _read_beat(value)
    if known is not None and _is_here(known):
        return True
    print(f"watching for {WATCHED_SECONDS:.0f} s whether run {run.info.run_id} still goes on elsewhere")
    until = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < until:
        time.sleep(POLL)
        tags = client.get_run(run.info.run_id).data.tags if _due(until) else {}
        if tags.get(HEARTBEAT, value) != value:
            return True
    return False


def _due(until: float) -> bool:
    """Return whether it is time to look again: not oftener than every second."""
    return (until - time.monotonic()) % 1.0 < POLL


def _read_beat(value: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        content = json.loads(value)
        if isinstance(content, dict) and {"host", "boot", "process", "started", "time"} <= content.keys():
            return content
    return None


def _is_here(known: Mapping[str, Any]) -> bool:
    """Return whether a heartbeat is of this machine, which has not been started anew since."""
    return bool(known["host"] == platform.node() and known["boot"] == int(psutil.boot_time()))


def _is_process(number: int, started: float) -> bool:
    """Return whether a process of this machine is the one that was started at a time."""
    # After a restart of the machine, or much later, another process may have its number.
    with suppress(psutil.Error):
        process = psutil.Process(number)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    return False


def claim(client: mlflow.MlflowClient, run: Run, attempt: str) -> None:
    """Take over a run that no process carries on with.

    Args:
        client: Of the store.
        run: The run as it was read a moment ago.
        attempt: This process's value of the tag `fer.attempt`.

    Raises:
        FerError: It goes on, or another process takes it over at the same time.
    """
    run_id = run.info.run_id
    if is_going_on(client, run):
        raise FerError(f"run {run_id} is still going on: wait for its end, or stop it before it is resumed")
    # While a heartbeat was watched for, another process may have taken it over, and may even have ended it.
    if client.get_run(run_id).data.tags.get(ATTEMPT) != run.data.tags.get(ATTEMPT):
        raise being_resumed(run_id)
    # The heartbeat first: whoever looks after this sees a run that goes on.
    client.set_tag(run_id, HEARTBEAT, beat())
    client.set_tag(run_id, ATTEMPT, attempt)
    client.update_run(run_id, status="RUNNING")
    until = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < until:
        time.sleep(POLL)
    if client.get_run(run_id).data.tags.get(ATTEMPT) != attempt:
        raise being_resumed(run_id)


def being_resumed(run_id: str) -> FerError:
    """Return the error that says that another process takes a run over."""
    return FerError(f"run {run_id} is being resumed by another process at this moment: leave it to that one")
