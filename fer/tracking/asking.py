"""Ask a store for what a run cannot begin without, hearing signals meanwhile."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fer.errors import FerError
from fer.tracking.endings import FAILED, stop_run, write_end
from fer.tracking.faults import fault_of
from fer.tracking.request_settings import sent_once
from fer.utils.processes import call_patiently

T = TypeVar("T")

PROBE = "probe.txt"
"""The artifact by which it is found out whether the store takes artifacts."""
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to make something."""
GRACE_SECONDS = 2.0
"""How long after a signal the making of a run is waited for, so that it can be ended."""


def asked(address: str, ask: Callable[[], T], undo: Callable[[T], Any] = lambda _: None) -> T:
    """Return the store's answer; a signal is heard while it is waited for.

    Args:
        address: The store.
        ask: Asks it.
        undo: Takes back what was done, if a signal comes first and the answer soon after.

    Raises:
        FerError: The store refuses.
        Interrupted: A signal came.
    """
    try:
        return call_patiently(ask, GRACE_SECONDS, undo)
    except (MlflowException, OSError) as error:
        raise FerError(fault_of(address, error).sentence) from error


def made_once(look: Callable[[], T | None], make: Callable[[], T]) -> T:
    """Return what a request makes in the store, of which there is one even if the request's answer is lost.

    Args:
        look: Returns it where it is there, else None.
        make: Makes it.

    Raises:
        MlflowException: The store refuses, or does not answer.
    """
    for pause in PAUSES:
        try:
            with sent_once():
                return make()
        except MlflowException as error:
            if not fault_of("", error).passes:
                raise
        time.sleep(pause)
        made = look()
        if made is not None:
            return made
    with sent_once():
        return make()


def check_artifacts(address: str, run_id: str, delete_empty: bool) -> None:
    """Write and delete a small artifact, so that a store that refuses them is known before a training and not after it.

    Args:
        address: The store.
        run_id: The run.
        delete_empty: Whether to delete the run where the store refuses and nothing is recorded of it.

    Raises:
        FerError: It refuses; the run is ended. One that does not answer may do so later, and is no reason to stop.
    """
    client = mlflow.MlflowClient(address)

    def probe() -> None:
        repository: Any = get_artifact_repository(client.get_run(run_id).info.artifact_uri)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, PROBE)
            path.write_text("May this run write artifacts?\n", encoding="utf-8")
            repository.log_artifact(str(path))
        # Few stores keep their own from deleting; it does no harm there.
        with suppress(Exception):
            repository.delete_artifacts(PROBE)

    try:
        call_patiently(probe, GRACE_SECONDS, lambda _: stop_run(client, run_id))
    except Exception as error:
        # Whatever the store's own package raises.
        fault = fault_of(address, error)
        if fault.passes:
            return
        end = {"status": FAILED, "reason": fault.sentence, "time": None, "unless_begun": delete_empty}
        with suppress(MlflowException, OSError):
            write_end(client, run_id, end)
        raise FerError(fault.sentence) from error
