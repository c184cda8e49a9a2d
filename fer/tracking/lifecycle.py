"""Start and end MLflow runs so that none stays RUNNING, whatever fails and whenever a signal comes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

import mlflow
from mlflow.entities import RunInfo, RunStatus
from mlflow.exceptions import MlflowException

from fer.config.options import shown_options
from fer.errors import FerError, Interrupted, shortened
from fer.tracking import store
from fer.tracking.names import COMMAND, CONFIG_FILE, ERROR
from fer.tracking.runs import MAX_TAG, NullRun, TrackedRun
from fer.utils.processes import deferring, follow_parent, interrupting, rank

LAUNCHED_RUN = "MLFLOW_RUN_ID"
"""Environment variable by which `mlflow run` hands on the run that it made."""
LAUNCHER_SECONDS = 60.0
"""How long the end of `mlflow run` is waited for."""
WATCH_SECONDS = 5.0
"""How long the run is looked after then; between us and MLflow a shell may end first."""
KILLED = RunStatus.to_string(RunStatus.KILLED)

_tags_of_next: ContextVar[Mapping[str, Any]] = ContextVar("_tags_of_next", default={})  # noqa: B039  # never changed


@contextmanager
def tagging_next(tags: Mapping[str, Any]) -> Iterator[None]:
    """Give tags to the next run that begins inside, and to none after it.

    So a command that starts another as its stage says what for, and the stage's runs within know nothing of it.

    Args:
        tags: They are set before the stage's work begins, so a run that is stopped has them too.
    """
    token = _tags_of_next.set(tags)
    try:
        yield
    finally:
        _tags_of_next.reset(token)


@contextmanager
def tracked(command: str, config: Any, name: str, extra: Mapping[str, Any] | None = None) -> Iterator[TrackedRun]:
    """Run a command's body inside an MLflow run, nested where one is open already.

    Args:
        command: The command's name, for the tag `fer.command`.
        config: Its configuration, logged as parameters and as `config.json`.
        name: The run's name.
        extra: What options such as `auto` stand for, and derived values, logged as parameters too.

    Yields:
        The run. When the body ends the run becomes FINISHED; on an exception FAILED, with the reason in the tag
        `fer.error`; on a signal KILLED. Of several processes only the first one's is real.

    Raises:
        FerError: The store does not take something; whatever it was, the run is ended before.
    """
    # Processes that train along still have to stop when a signal comes.
    if rank() > 0:
        with interrupting():
            yield NullRun()
        return
    address = store.connect()
    # A killed `mlflow run` would leave this process training on.
    launched = bool(os.environ.get(LAUNCHED_RUN))
    if launched:
        follow_parent()
    with interrupting():
        info = _start_run(address, name)
        status = RunStatus.FAILED
        reason = ""
        try:
            run = TrackedRun(info.run_id, info.experiment_id, address)
            _describe(run, command, config, name, extra or {})
            yield run
            status = RunStatus.FINISHED
        except (Interrupted, KeyboardInterrupt) as stop:
            status = RunStatus.KILLED
            reason = str(stop) or "stopped by signal 2"
            raise
        except MlflowException as error:
            # Wherever in the body the store failed, a user gets one sentence and no trace.
            reason = _refusal(address, error)
            raise FerError(reason) from error
        except BaseException as error:
            known = isinstance(error, FerError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            raise
        finally:
            _end_run(info.run_id, address, status, reason)
            if launched and status == RunStatus.KILLED:
                _keep_killed(info.run_id, address)


def _describe(run: TrackedRun, command: str, config: Any, name: str, extra: Mapping[str, Any]) -> None:
    """Log what a run is of and what goes into it."""
    # Not at the top: it brings torch, which the watching process below would import for nothing.
    from fer.tracking.provenance import environment_tags

    named = {"mlflow.runName": name, COMMAND: command}
    run.tags({**named, **environment_tags(), **_tags_of_next.get()})
    # Stages within this run are others.
    _tags_of_next.set({})
    run.params(shown_options(config, extra))
    run.json(asdict(config), CONFIG_FILE)


def _start_run(address: str, name: str) -> RunInfo:
    """Start a run, nested where one is open; under `mlflow run`, take over the run that it made.

    Args:
        address: The store.
        name: The run's name; the launcher's run keeps its own.

    Raises:
        FerError: The store refuses; the launcher's run is FAILED then.
        Interrupted: A signal came meanwhile; the run is KILLED.
    """
    launched = os.environ.get(LAUNCHED_RUN, "")
    # A signal between the store's making of the run and our knowing of it would leave the run RUNNING for ever.
    with deferring() as request:
        try:
            active = _open_run(address, "" if launched else name)
        except (MlflowException, OSError) as error:
            reason = _refusal(address, error)
            if launched:
                _fail(launched, reason)
            raise FerError(reason) from error
    if request.signum:
        stop = Interrupted(request.signum)
        _end_run(active.info.run_id, address, RunStatus.KILLED, str(stop))
        raise stop
    return active.info


def _open_run(address: str, name: str) -> mlflow.ActiveRun:
    parent = mlflow.active_run()
    # The first start_run adopts $MLFLOW_RUN_ID and removes it; such a run has its place and its name already.
    if not name:
        return mlflow.start_run(log_system_metrics=True)
    experiment_id = parent.info.experiment_id if parent else store.experiment_id(address)
    return mlflow.start_run(
        run_name=name,
        experiment_id=experiment_id,
        nested=parent is not None,
        log_system_metrics=True,
    )


def _end_run(run_id: str, address: str, status: int, reason: str) -> None:
    """End the active run, and only then write why; a signal meanwhile is heard afterwards.

    Args:
        run_id: The run.
        address: Its store.
        status: One of MLflow's `RunStatus`.
        reason: Why it did not finish; empty if it did.

    Raises:
        FerError: The run has finished and the store cannot be told. Of one that has not, the first fault is to be seen.
        Interrupted: A signal came meanwhile, and the run has finished.
    """
    with deferring() as request:
        try:
            mlflow.end_run(RunStatus.to_string(status))
        except (MlflowException, OSError) as error:
            if not reason:
                raise FerError(f"run {run_id} has finished, but {_refusal(address, error)}") from error
            # A store that has gone would make the tag wait as long again.
            return
        if reason:
            _tag_error(run_id, reason)
    if request.signum and not reason:
        raise Interrupted(request.signum)


def fail_launched_run(message: str) -> None:
    """End the run that `mlflow run` made for this process as FAILED, with the message in the tag `fer.error`."""
    mlflow.set_tracking_uri(store.absolute(mlflow.get_tracking_uri()))
    _fail(os.environ.pop(LAUNCHED_RUN), message)


def _fail(run_id: str, reason: str) -> None:
    # The fault that ends the run is reported by whoever met it; one of the store must not hide it.
    with suppress(MlflowException, OSError):
        mlflow.MlflowClient().set_terminated(run_id, "FAILED")
    _tag_error(run_id, reason)


def _tag_error(run_id: str, reason: str) -> None:
    with suppress(MlflowException, OSError):
        mlflow.MlflowClient().set_tag(run_id, ERROR, reason[:MAX_TAG])


def _refusal(address: str, error: Exception) -> str:
    """Return one sentence that says what a store did not do."""
    return f"the MLflow store {address} does not take the run: {shortened(str(error), 300)}"


def _keep_killed(run_id: str, address: str) -> None:
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
