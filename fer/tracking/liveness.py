"""Tell runs that go on from dead ones by their heartbeats, and let one process at a time carry on with a run."""

import json
import os
import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import mlflow
import psutil
from mlflow.entities import Run

from fer.errors import FerError, ModelError
from fer.tracking.endings import FINISHED, KILLED, write_end
from fer.tracking.heartbeat import WATCHED_SECONDS, beat, namespace
from fer.tracking.names import ATTEMPT, HEARTBEAT

OLD_SECONDS = 86_400.0
"""After so long without a beat nobody need watch for another one: no server was away, and no clock wrong, for a day."""
SETTLE_SECONDS = 1.0
"""How long after a claim it is read again: of two processes that claim a run at once the later one wins."""
POLL = 1.0
DIED = "its process died: it was killed, or its machine was lost"
"""Why a run did not finish that nobody has ended."""


def new_attempt(number: int) -> str:
    """Return the value of the tag by which the processes that carry on with a run are told apart."""
    return f"{number}:{uuid.uuid4().hex[:8]}"


def attempt_number(tags: Mapping[str, str]) -> int:
    """Return how many processes have carried a run so far."""
    text = tags.get(ATTEMPT, "").partition(":")[0]
    return int(text) if text.isdecimal() else 1


def is_dead(run: Run) -> bool:
    """Return whether the process that carries a run is known to have died, without watching for its heartbeat."""
    known = _read_beat(run.data.tags.get(HEARTBEAT, ""))
    # Runs of before there were heartbeats: nobody could tell, and whoever resumes one asks for it.
    if known is None:
        return True
    if _is_here(known):
        return not _is_process(known["process"], known["started"])
    return time.time() - float(known["time"]) > OLD_SECONDS


def dead_runs(client: mlflow.MlflowClient, runs: Sequence[Run], here: bool) -> list[Run]:
    """Return with which of some runs no process carries on; other machines' heartbeats are watched for half a minute.

    Args:
        client: Of the store.
        runs: Runs that are RUNNING and have a heartbeat.
        here: Whether to leave alone what other machines ran, and so to watch none.
    """
    if here:
        return [run for run in runs if _is_of_here(run) and is_dead(run)]
    dead = [run for run in runs if is_dead(run)]
    return [*dead, *silent(client, [run for run in runs if run not in dead])]


def end_with(client: mlflow.MlflowClient, run: Run, dead: Run) -> None:
    """End a run that is RUNNING though the process has died that carried on with another one too.

    Args:
        client: Of the store.
        run: The run.
        dead: The other one, as its process had left it.
    """
    own, other = (_read_beat(one.data.tags.get(HEARTBEAT, "")) for one in (run, dead))
    died = is_dead(run) or (own is not None and other is not None and _process_of(own) == _process_of(other))
    if run.info.status == "RUNNING" and HEARTBEAT in run.data.tags and died:
        write_end(client, run.info.run_id, death())


def _process_of(known: Mapping[str, Any]) -> list[Any]:
    return [known.get(part) for part in ("host", "boot", "namespace", "process", "started")]


def death() -> dict[str, Any]:
    """Return the end of a run whose process died."""
    return {"status": KILLED, "reason": DIED, "time": int(time.time() * 1000), "unless_begun": False}


def is_going_on(client: mlflow.MlflowClient, run: Run) -> bool:
    """Return whether a process still carries on with a run; this may watch its heartbeat for half a minute.

    Args:
        client: Of the store.
        run: The run as it was read a moment ago.
    """
    # Its end takes the heartbeat away. One that only seemed dead may be called KILLED by now, and go on.
    if HEARTBEAT not in run.data.tags or is_dead(run):
        return False
    return not silent(client, [run])


def silent(client: mlflow.MlflowClient, runs: Sequence[Run]) -> list[Run]:
    """Return which runs show no sign of life while they are watched together for half a minute.

    Args:
        client: Of the store.
        runs: Runs with a heartbeat, as they were read a moment ago, none of which is known to be dead; of this
            machine's that is known at once.
    """
    beats = {run.info.run_id: run.data.tags[HEARTBEAT] for run in runs if not _is_of_here(run)}
    if not beats:
        return []
    print(f"watching for {WATCHED_SECONDS:.0f} s whether run {', '.join(beats)} still goes on elsewhere", flush=True)
    until = time.monotonic() + WATCHED_SECONDS
    while beats and time.monotonic() < until:
        time.sleep(POLL)
        for run_id in list(beats):
            if client.get_run(run_id).data.tags.get(HEARTBEAT, beats[run_id]) != beats[run_id]:
                del beats[run_id]
    return [run for run in runs if run.info.run_id in beats]


def _is_of_here(run: Run) -> bool:
    known = _read_beat(run.data.tags[HEARTBEAT])
    return known is not None and _is_here(known)


def _read_beat(value: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        content = json.loads(value)
        numbers = ("boot", "process", "started", "time")
        if isinstance(content, dict) and all(isinstance(content.get(part), int | float) for part in numbers):
            return content
    return None


def _is_here(known: Mapping[str, Any]) -> bool:
    """Return whether a heartbeat is of this machine, which has not been started anew since, and not of a container."""
    return bool(
        known.get("host") == platform.node()
        and known["boot"] == int(psutil.boot_time())
        and known.get("namespace", "") == namespace()
    )


def _is_process(number: int, started: float) -> bool:
    """Return whether a process of this machine is the one that was started at a time."""
    # After a restart of the machine, or much later, another process may have its number.
    try:
        process = psutil.Process(number)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return _is_hidden(number)
    except psutil.Error:
        # Another user's, of which nothing can be seen but that it is there.
        return psutil.pid_exists(number)


def _is_hidden(number: int) -> bool:
    """Return whether a process is there though the system shows this user none of that number."""
    # Linux does so with other users' where `/proc` is mounted with `hidepid=2`. To Windows 0 would be Ctrl-C.
    if os.name != "posix":
        return False
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def claim(client: mlflow.MlflowClient, run: Run, attempt: str) -> None:
    """Take over a run that no process carries on with.

    Args:
        client: Of the store.
        run: The run as it was read a moment ago.
        attempt: This process's value of the tag `fer.attempt`.

    Raises:
        FerError: It goes on, or another process takes it over at the same time.
        ModelError: It has finished since it was read.
    """
    run_id = run.info.run_id
    if is_going_on(client, run):
        raise FerError(f"run {run_id} is still going on: wait for its end, or stop it before it is resumed")
    # While a heartbeat was watched for, another process may have taken it over, and may even have ended it.
    latest = client.get_run(run_id)
    if latest.data.tags.get(ATTEMPT) != run.data.tags.get(ATTEMPT):
        raise being_resumed(run_id)
    if latest.info.status == FINISHED:
        raise ModelError(f"run {run_id} has finished: there is nothing to continue")
    # The heartbeat first: whoever looks after this sees a run that goes on.
    client.set_tag(run_id, HEARTBEAT, beat())
    client.set_tag(run_id, ATTEMPT, attempt)
    client.update_run(run_id, status="RUNNING")
    time.sleep(SETTLE_SECONDS)
    if client.get_run(run_id).data.tags.get(ATTEMPT) != attempt:
        raise being_resumed(run_id)
    # The loser's may have been the last, and its process is gone.
    client.set_tag(run_id, HEARTBEAT, beat())


def being_resumed(run_id: str) -> FerError:
    """Return the error that says that another process takes a run over."""
    return FerError(f"run {run_id} is being resumed by another process at this moment: leave it to that one")
