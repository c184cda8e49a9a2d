"""End MLflow runs: so that each says why it did not finish, and that a slip leaves none behind."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from fer.tracking import store
from fer.tracking.faults import fault_of, ignoring_refusals
from fer.tracking.names import ATTEMPT, CONFIG_FILE, DESCRIPTION, ERROR, HEARTBEAT
from fer.utils.rendering import escape_markdown

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
"""How a run ends, in MLflow's words."""
MAX_TAG = 4000
"""Characters of a tag that are kept."""
MAX_DESCRIPTION = 8000
"""Characters of a description that MLflow takes."""
NOT_FINISHED = "**Not finished:** "
"""Beginning of the description of a run that did not finish; why follows."""

LAUNCHED_RUN = "MLFLOW_RUN_ID"
"""Environment variable by which `mlflow run` hands on the run that it made."""
SYSTEM_METRICS = "system/"
"""Beginning of the metrics of the machine, which MLflow logs by itself."""
LAUNCHER_SECONDS = 60.0
"""How long the end of `mlflow run` is waited for."""
WATCH_SECONDS = 5.0
"""How long the run is looked after then; between us and MLflow a shell may end first."""


def write_end(client: mlflow.MlflowClient, run_id: str, end: Mapping[str, Any]) -> None:
    """End a run in the store, and then write why.

    Args:
        client: Of the store.
        run_id: The run.
        end: Its `status`, `reason` (empty if it did finish) and `time` in milliseconds, and whether to delete the run
            `unless_begun`, if nothing is recorded of it: a slip leaves no failed run behind.
    """
    client.set_terminated(run_id, end["status"], end["time"])
    with ignoring_refusals():
        client.delete_tag(run_id, HEARTBEAT)
    if end["reason"] and not (end["unless_begun"] and _delete_if_empty(client, run_id)):
        _write_reason(client, run_id, end["reason"])


def stop_run(client: mlflow.MlflowClient, run_id: str, reason: str = "stopped by a signal") -> None:
    """End a run that was made while a signal came as KILLED, as far as the store lets it."""
    with suppress(MlflowException, OSError):
        end = {"status": KILLED, "reason": reason, "time": None, "unless_begun": False}
        write_end(client, run_id, end)


def fail_launched_run(message: str) -> None:
    """End the run that `mlflow run` made for this process as FAILED, with the message in the tag `fer.error`."""
    mlflow.set_tracking_uri(store.absolute(mlflow.get_tracking_uri()))
    fail_run(os.environ.pop(LAUNCHED_RUN), message)


def fail_run(run_id: str, reason: str) -> None:
    """End a run that this process has not adopted as FAILED, with the reason."""
    client = mlflow.MlflowClient()
    # The fault that ends the run is reported by whoever met it; one of the store must not hide it.
    with suppress(MlflowException, OSError):
        client.set_terminated(run_id, FAILED)
    with suppress(MlflowException, OSError):
        _write_reason(client, run_id, reason)


def _write_reason(client: mlflow.MlflowClient, run_id: str, reason: str) -> None:
    """Write why a run did not finish into its tag `fer.error` and its description, which MLflow's page of it shows."""
    client.set_tag(run_id, ERROR, reason[:MAX_TAG])
    # What had been described before stays below.
    described = client.get_run(run_id).data.tags.get(DESCRIPTION, "")
    first = NOT_FINISHED + escape_markdown(reason)
    # Written already by an attempt whose answer was lost.
    if not described.startswith(first):
        client.set_tag(run_id, DESCRIPTION, f"{first}\n\n{described}".rstrip()[:MAX_DESCRIPTION])


def clear_reason(client: mlflow.MlflowClient, run_id: str) -> None:
    """Take back what was written of a run that did not finish, as it goes on."""
    tags = client.get_run(run_id).data.tags
    if ERROR in tags:
        with ignoring_refusals():
            client.delete_tag(run_id, ERROR)
    described = tags.get(DESCRIPTION, "")
    if not described.startswith(NOT_FINISHED):
        return
    rest = described.partition("\n\n")[2]
    if rest:
        client.set_tag(run_id, DESCRIPTION, rest)
    else:
        # Its own description is written at its end, where there is none.
        with ignoring_refusals():
            client.delete_tag(run_id, DESCRIPTION)


def _delete_if_empty(client: mlflow.MlflowClient, run_id: str) -> bool:
    """Delete a run of which nothing is recorded but its options, and return whether that was done."""
    # A store may forbid it, and one of artifacts may raise what it likes; the run then says why it did not finish.
    with suppress(Exception):
        run = client.get_run(run_id)
        figures = [key for key in run.data.metrics if not key.startswith(SYSTEM_METRICS)]
        inputs = run.inputs.dataset_inputs if run.inputs else []
        artifacts = _artifacts(client, run_id) - {CONFIG_FILE}
        # Deleted ones do not count.
        children = store.search_runs(f"tags.`mlflow.parentRunId` = '{run_id}'", [run.info.experiment_id], limit=1)
        if not (figures or inputs or artifacts or children):
            client.delete_run(run_id)
            return True
    return False


def _artifacts(client: mlflow.MlflowClient, run_id: str) -> set[str]:
    try:
        return {item.path for item in client.list_artifacts(run_id)}
    except Exception as error:
        if fault_of("", error).passes:
            raise
        # A store that refuses even to list them has taken none.
        return set()


def keep_killed(run_id: str, address: str, attempt: str) -> None:
    """Start a process that waits for `mlflow run` to end and then sees to it that the run stays KILLED.

    Args:
        run_id: The run that the launcher has made.
        address: The store.
        attempt: This process's value of the tag `fer.attempt`; once it is another one, the run has been resumed.
    """
    # `mlflow run` marks its run FAILED whenever the program did not succeed: it means to spare runs that have ended,
    # but compares the status's name with numbers (3.17). It writes last, so the truth is written after it, by a
    # process that outlives both; in a session of its own, as a signal to the launcher's group must not end it.
    command = [sys.executable, "-m", __name__, run_id, address, attempt, str(os.getppid())]
    subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _set_killed_after(launcher: int, run_id: str, address: str, attempt: str) -> None:
    """Wait for a process to end, then look after a run for a while, unless it goes on."""
    client = mlflow.MlflowClient(address)
    deadline = time.monotonic() + LAUNCHER_SECONDS
    while _is_alive(launcher) and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        run = client.get_run(run_id)
        if run.data.tags.get(ATTEMPT, "") != attempt:
            return
        if run.info.status != KILLED:
            client.set_terminated(run_id, KILLED)
        time.sleep(0.5)


def _is_alive(process: int) -> bool:
    # Who has lost its parent is the first process's child.
    if process == 1:
        return False
    try:
        os.kill(process, 0)
    # Where its number is another user's process by now, it has ended too.
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    _set_killed_after(int(sys.argv[4]), run_id=sys.argv[1], address=sys.argv[2], attempt=sys.argv[3])
