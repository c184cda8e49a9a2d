"""End MLflow runs: so that each says why it did not finish, and that a slip leaves none behind."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import mlflow
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException

from fer.errors import FerError, Interrupted, shortened, without_login
from fer.tracking import store
from fer.tracking.names import CONFIG_FILE, DESCRIPTION, ERROR
from fer.tracking.runs import MAX_DESCRIPTION, MAX_TAG
from fer.utils.processes import deferring
from fer.utils.rendering import escape_markdown

LAUNCHED_RUN = "MLFLOW_RUN_ID"
"""Environment variable by which `mlflow run` hands on the run that it made."""
SYSTEM_METRICS = "system/"
"""Beginning of the metrics of the machine, which MLflow logs by itself."""
LAUNCHER_SECONDS = 60.0
"""How long the end of `mlflow run` is waited for."""
WATCH_SECONDS = 5.0
"""How long the run is looked after then; between us and MLflow a shell may end first."""
KILLED = RunStatus.to_string(RunStatus.KILLED)


def end_run(run_id: str, address: str, status: int, reason: str, unless_begun: bool = False) -> None:
    """End the active run, and only then write why; a signal meanwhile is heard afterwards.

    Args:
        run_id: The run.
        address: Its store.
        status: One of MLflow's `RunStatus`.
        reason: Why it did not finish; empty if it did.
        unless_begun: Delete the run if nothing is recorded of it: a slip leaves no failed run behind.

    Raises:
        FerError: The run has finished and the store cannot be told. Of one that has not, the first fault is to be seen.
        Interrupted: A signal came meanwhile, and the run has finished.
    """
    with deferring() as request:
        try:
            mlflow.end_run(RunStatus.to_string(status))
        except (MlflowException, OSError) as error:
            if not reason:
                raise FerError(f"run {run_id} has finished, but {store_fault(address, error)}") from error
            # A store that has gone would make the tag wait as long again.
            return
        if reason and not (unless_begun and _delete_if_empty(run_id)):
            _write_reason(run_id, reason)
    if request.signum and not reason:
        raise Interrupted(request.signum)


def fail_launched_run(message: str) -> None:
    """End the run that `mlflow run` made for this process as FAILED, with the message in the tag `fer.error`."""
    mlflow.set_tracking_uri(store.absolute(mlflow.get_tracking_uri()))
    fail_run(os.environ.pop(LAUNCHED_RUN), message)


def fail_run(run_id: str, reason: str) -> None:
    """End a run that this process has not adopted as FAILED, with the reason."""
    # The fault that ends the run is reported by whoever met it; one of the store must not hide it.
    with suppress(MlflowException, OSError):
        mlflow.MlflowClient().set_terminated(run_id, "FAILED")
    _write_reason(run_id, reason)


def _write_reason(run_id: str, reason: str) -> None:
    """Write why a run did not finish into its tag `fer.error` and, where MLflow's page of it shows it, its description.

    Args:
        run_id: The run.
        reason: The reason.
    """
    with suppress(MlflowException, OSError):
        client = mlflow.MlflowClient()
        client.set_tag(run_id, ERROR, reason[:MAX_TAG])
        # What had been described before stays below.
        described = client.get_run(run_id).data.tags.get(DESCRIPTION, "")
        text = f"**Not finished:** {escape_markdown(reason)}\n\n{described}".rstrip()
        client.set_tag(run_id, DESCRIPTION, text[:MAX_DESCRIPTION])


def _delete_if_empty(run_id: str) -> bool:
    """Delete a run of which nothing is recorded but its options, and return whether that was done."""
    with suppress(MlflowException, OSError):
        client = mlflow.MlflowClient()
        run = client.get_run(run_id)
        figures = [key for key in run.data.metrics if not key.startswith(SYSTEM_METRICS)]
        inputs = run.inputs.dataset_inputs if run.inputs else []
        artifacts = [item.path for item in client.list_artifacts(run_id) if item.path != CONFIG_FILE]
        # Deleted ones do not count.
        children = store.search_runs(f"tags.`mlflow.parentRunId` = '{run_id}'", [run.info.experiment_id], limit=1)
        if not (figures or inputs or artifacts or children):
            client.delete_run(run_id)
            return True
    return False


def store_fault(address: str, error: Exception) -> str:
    """Return one sentence that says what a store did not do."""
    return f"the MLflow store {without_login(address)} does not take the run: {shortened(str(error), 300)}"


def keep_killed(run_id: str, address: str) -> None:
    """Start a process that waits for `mlflow run` to end and then sees to it that the run stays KILLED."""
    # `mlflow run` marks its run FAILED whenever the program did not succeed: it means to spare runs that have ended,
    # but compares the status's name with numbers (3.17). It writes last, so the truth is written after it, by a
    # process that outlives both; in a session of its own, as a signal to the launcher's group must not end it.
    command = [sys.executable, "-m", __name__, run_id, address, str(os.getppid())]
    subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _set_killed_after(launcher: int, run_id: str, address: str) -> None:
    """Wait for a process to end, then look after a run for a while."""
    client = mlflow.MlflowClient(address)
    deadline = time.monotonic() + LAUNCHER_SECONDS
    while _is_alive(launcher) and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if client.get_run(run_id).info.status != KILLED:
            client.set_terminated(run_id, KILLED)
        time.sleep(0.5)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    # Where its number is another user's process by now, it has ended too.
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    _set_killed_after(int(sys.argv[3]), run_id=sys.argv[1], address=sys.argv[2])
