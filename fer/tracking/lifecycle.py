"""Run the bodies of commands inside MLflow runs, of which none stays RUNNING, whatever fails or interrupts it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

import mlflow
from mlflow.entities import RunInfo, RunStatus
from mlflow.exceptions import MlflowException

from fer.config.options import shown_options
from fer.errors import FerError, Interrupted
from fer.tracking import store
from fer.tracking.endings import LAUNCHED_RUN, end_run, fail_run, keep_killed, store_fault
from fer.tracking.names import COMMAND, CONFIG_FILE, RUN_COLOUR
from fer.tracking.runs import NullRun, TrackedRun
from fer.utils.processes import deferring, follow_parent, interrupting, rank

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
        `fer.error` and in the description; on a signal KILLED. On a `FerError` before anything was recorded it is
        deleted, as if it had never begun. Of several processes only the first one's is real.

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
        refused = False
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
            reason = store_fault(address, error)
            raise FerError(reason) from error
        except BaseException as error:
            refused = isinstance(error, FerError)
            reason = str(error) if refused else f"{type(error).__name__}: {error}"
            raise
        finally:
            end_run(info.run_id, address, status, reason, unless_begun=refused and not launched)
            if launched and status == RunStatus.KILLED:
                keep_killed(info.run_id, address)


def _describe(run: TrackedRun, command: str, config: Any, name: str, extra: Mapping[str, Any]) -> None:
    """Log what a run is of and what goes into it."""
    # Not at the top: training starts sooner, and the process that watches a killed launcher needs no torch.
    from fer.tracking.descriptions import describe_experiment
    from fer.tracking.provenance import environment_tags
    from fer.tracking.views import next_colour

    named = {"mlflow.runName": name, COMMAND: command, RUN_COLOUR: next_colour(run.experiment_id)}
    run.tags({**named, **environment_tags(), **_tags_of_next.get()})
    # Stages within this run are others.
    _tags_of_next.set({})
    run.params(shown_options(config, extra))
    run.json(asdict(config), CONFIG_FILE)
    describe_experiment(run.experiment_id)


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
            reason = store_fault(address, error)
            if launched:
                fail_run(launched, reason)
            raise FerError(reason) from error
    if request.signum:
        stop = Interrupted(request.signum)
        end_run(active.info.run_id, address, RunStatus.KILLED, str(stop))
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
