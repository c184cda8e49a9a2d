"""Beginning and ending an MLflow run so that none stays RUNNING, whatever fails and whenever a signal comes."""

import os
from contextlib import suppress

import mlflow
from mlflow.entities import RunInfo, RunStatus
from mlflow.exceptions import MlflowException

from fer.errors import FerError, Interrupted
from fer.tracking import store
from fer.tracking.names import ERROR
from fer.utils.signals import deferring

MAX_TAG = 4000


def start_run(address: str, name: str) -> RunInfo:
    """Start a run, nested where one is open; under `mlflow run`, take over the run that it made.

    Args:
        address: The store.
        name: The run's name; the launcher's run keeps its own.

    Raises:
        FerError: The store refuses; the launcher's run is FAILED then.
        Interrupted: A signal came meanwhile; the run is KILLED.
    """
    launched, parent = os.environ.get("MLFLOW_RUN_ID", ""), mlflow.active_run()
    with deferring() as request:
        try:
            if launched:
                # The first start_run adopts $MLFLOW_RUN_ID and removes it.
                active = mlflow.start_run(log_system_metrics=True)
            else:
                active = mlflow.start_run(
                    run_name=name,
                    experiment_id=parent.info.experiment_id if parent else store.experiment_id(address),
                    nested=parent is not None,
                    log_system_metrics=True,
                )
        except (MlflowException, OSError) as error:
            reason = refusal(address, error)
            if launched:
                _set_ended(launched, RunStatus.FAILED, reason)
            raise FerError(reason) from error
    if request.signum:
        stop = Interrupted(request.signum)
        end_run(active.info.run_id, address, RunStatus.KILLED, str(stop))
        raise stop
    return active.info


def end_run(run_id: str, address: str, status: int, reason: str) -> None:
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
                raise FerError(f"run {run_id} has finished, but {refusal(address, error)}") from error
            return  # a store that has gone would make the tag wait as long again
        if reason:
            _tag(run_id, reason)
    if request.signum and not reason:
        raise Interrupted(request.signum)


def fail_launched_run(sentence: str) -> None:
    """End the run that `mlflow run` made for this process as FAILED, with the sentence in the tag `fer.error`."""
    mlflow.set_tracking_uri(store.absolute(mlflow.get_tracking_uri()))
    _set_ended(os.environ.pop("MLFLOW_RUN_ID"), RunStatus.FAILED, sentence)


def refusal(address: str, error: Exception) -> str:
    """Return one sentence that says what a store did not do."""
    return f"the MLflow store {address} does not take the run: {' '.join(str(error).split())[:300]}"


def _set_ended(run_id: str, status: int, reason: str) -> None:
    with suppress(MlflowException, OSError):  # the fault that ends the run is told by whoever found it
        mlflow.MlflowClient().set_terminated(run_id, RunStatus.to_string(status))
    _tag(run_id, reason)


def _tag(run_id: str, reason: str) -> None:
    with suppress(MlflowException, OSError):
        mlflow.MlflowClient().set_tag(run_id, ERROR, reason[:MAX_TAG])
