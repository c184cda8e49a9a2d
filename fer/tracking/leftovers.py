"""Close runs whose process died, and remove what a machine keeps of runs that have finished elsewhere."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.tracking import store
from fer.tracking.asking import asked
from fer.tracking.endings import FINISHED, write_end
from fer.tracking.journal import spool_folder
from fer.tracking.liveness import DIED, dead_runs, death
from fer.tracking.names import HEARTBEAT
from fer.training.checkpoints import LAST


def remove_finished(address: str, root: Path, say: Callable[[str], None]) -> int:
    """Remove the folders of runs that were to be continued and have finished elsewhere; return how many they were.

    Args:
        address: The store.
        root: Where runs have their folders.
        say: Gets a sentence for each.
    """
    client = mlflow.MlflowClient(address)
    removed = 0
    for checkpoint in root.glob(f"*/{LAST}"):
        folder = checkpoint.parent
        # Of another store's run, or of none, nothing is known.
        with suppress(MlflowException, OSError):
            if not spool_folder(folder).exists() and client.get_run(folder.name).info.status == FINISHED:
                shutil.rmtree(folder)
                say(f"run {folder.name} has finished elsewhere: its checkpoints here are removed")
                removed += 1
    return removed


def close_dead_runs(address: str, say: Callable[[str], None], here: bool = False) -> int:
    """End the runs in the store that are RUNNING though their process died, and return how many they were.

    Args:
        address: The store.
        say: Gets a sentence for each.
        here: Whether to leave alone what other machines ran.

    Raises:
        FerError: The store does not answer.
    """
    client = mlflow.MlflowClient(address)
    wanted = f"attributes.status = 'RUNNING' and tags.`{HEARTBEAT}` LIKE '%host%'"
    running = asked(address, lambda: store.search_runs(wanted))
    closed = 0
    for run in asked(address, lambda: dead_runs(client, running, here)):
        # One that this user may not write stays as it is.
        with suppress(MlflowException):
            if not _is_as_it_was(run, client.get_run(run.info.run_id)):
                continue
            write_end(client, run.info.run_id, death())
            say(f"run {run.info.run_id} is closed: {DIED}; `resume={run.info.run_id}` continues a training")
            closed += 1
    return closed


def _is_as_it_was(run: Run, latest: Run) -> bool:
    """Return whether nobody has ended a run or carried on with it since it was read."""
    beats = [one.data.tags.get(HEARTBEAT) for one in (run, latest)]
    return latest.info.status == "RUNNING" and beats[0] == beats[1]
