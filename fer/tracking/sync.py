"""Deliver what runs have left on this machine, and close runs whose process died."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.errors import DataError, FerError, quoted_path, without_login
from fer.tracking import store
from fer.tracking.asking import made_once
from fer.tracking.delivery import Delivery
from fer.tracking.endings import FAILED, FINISHED, clear_reason
from fer.tracking.faults import fault_of
from fer.tracking.journal import read_head, spool_folder
from fer.tracking.kinds import deliver, end_run
from fer.tracking.liveness import death, new_attempt
from fer.tracking.names import ATTEMPT, SPOOLED_AS
from fer.tracking.opening import OFFLINE, PARENT, is_outdated, leave
from fer.tracking.outbox import remove_if_empty
from fer.tracking.points import recorded_points
from fer.tracking.sender import Sender
from fer.tracking.spool import Spool

SYNC_SECONDS = 300.0
"""How long a store that takes nothing is waited for."""


@dataclass(frozen=True)
class Synced:
    """What became of the spool of one run.

    Attributes:
        run_id: The run in the store; what it is called here where the store has none.
        message: A sentence for people.
        done: Whether nothing is left.
    """

    run_id: str
    message: str
    done: bool


def spools_in(root: Path) -> list[Path]:
    """Return the folders of runs that have left something, in the order in which the runs began."""
    folders = [folder for folder in root.glob("*") if _has_spool(folder)]
    # A run's stages come after it: they name it as the one they belong to.
    return sorted(folders, key=_start_of)


def _has_spool(folder: Path) -> bool:
    # What another user lets nobody look into is theirs to deliver.
    with suppress(OSError):
        return spool_folder(folder).is_dir()
    return False


def _start_of(folder: Path) -> int:
    # What is wrong with one that is damaged or closed to this user is said when it is to be delivered.
    with suppress(DataError, OSError):
        return int(read_head(folder).get("started", 0))
    return 0


def sync_run(address: str, folder: Path) -> Synced:
    """Deliver what a run has left in its folder, and end it as it ended.

    Args:
        address: The store.
        folder: The run's folder; it is removed when the run has finished and all is delivered.
    """
    try:
        spool = Spool(spool_folder(folder))
    except FerError as error:
        return Synced(folder.name, str(error), done=False)
    except OSError as error:
        why = f"{quoted_path(folder)} cannot be opened ({error.strerror or error})"
        return Synced(folder.name, f"{why}: make it writable, and run `fer sync` again", done=False)
    if not spool.head:
        leave(spool)
        return Synced(folder.name, f"run {folder.name} was killed before it recorded anything here", done=True)
    client = mlflow.MlflowClient(address)
    try:
        run = _run_of(client, address, spool)
        # A run that went on without its store recorded some points anew.
        recorded = recorded_points(client, run)
    except (FerError, MlflowException, OSError) as error:
        spool.close()
        return Synced(folder.name, fault_of(address, error).sentence, done=False)
    if is_outdated(spool, run):
        return _not_needed(spool, run)
    return _deliver(client, address, spool, run, recorded)


def _not_needed(spool: Spool, run: Run) -> Synced:
    run_id = run.info.run_id
    spool.remove()
    _clear_up(spool.folder.parent, run_id, finished=run.info.status == FINISHED)
    return Synced(run_id, f"run {run_id} was continued elsewhere since: what it left here is not needed", done=True)


def _run_of(client: mlflow.MlflowClient, address: str, spool: Spool) -> Run:
    """Return the run in the store that a spool is of; one that was recorded offline is made there."""
    head = spool.head
    if head.get("run_id"):
        return client.get_run(head["run_id"])
    local = str(head["id"])
    # Made by an earlier attempt whose answer was lost.
    run = _delivered_run(local)
    if run is None:
        attempt = new_attempt(1)
        spool.write_head(attempt=attempt)
        parent = _parent_of(head)
        tags = {**head["tags"], SPOOLED_AS: local, ATTEMPT: attempt}
        if parent is not None:
            tags[PARENT] = parent.info.run_id
        place = parent.info.experiment_id if parent is not None else store.experiment_id(address)
        run = made_once(
            lambda: _delivered_run(local),
            lambda: client.create_run(place, start_time=head["started"], tags=tags, run_name=head["name"]),
        )
    spool.write_head(run_id=run.info.run_id)
    return client.get_run(run.info.run_id)


def _parent_of(head: dict[str, Any]) -> Run | None:
    """Return the run in the store that an offline run is nested in; None for none."""
    parent = str(head.get("parent", ""))
    if not parent:
        return None
    return _delivered_run(parent) if parent.startswith(OFFLINE) else store.get_run(parent)


def _delivered_run(local: str) -> Run | None:
    """Return the run in the store that was recorded offline under an id; None where there is none."""
    return next(iter(store.search_runs(f"tags.`{SPOOLED_AS}` = '{local}'", limit=1)), None)


def _deliver(
    client: mlflow.MlflowClient,
    address: str,
    spool: Spool,
    run: Run,
    recorded: Mapping[tuple[str, int], float],
) -> Synced:
    run_id, folder = run.info.run_id, spool.folder.parent
    # How it ended stands in the head; an end that could not be told yet is told last, or told anew.
    spool.mark_delivered([entry.number for entry in spool.pending() if entry.kind == "end"])
    delivery = Delivery(spool, address, run_id, run.info.experiment_id)
    delivery.recorded = dict(recorded)
    sender = Sender(spool, address, lambda entry: deliver(delivery, entry))
    waiting = len(spool.pending())
    end = spool.head.get("end") or death()
    try:
        # Before it is described: what says why it did not finish stands in the same place.
        clear_reason(client, run_id)
        left = _send(sender)
        # It took its time, in which another machine may have gone on with the run.
        latest = client.get_run(run_id)
        if is_outdated(spool, latest):
            return _not_needed(spool, latest)
        end_run(client, run_id, _end_without(end, left) if left else end)
    except (MlflowException, OSError) as error:
        spool.close()
        return Synced(run_id, f"run {run_id} is not delivered whole: {fault_of(address, error).sentence}", done=False)
    if left:
        spool.close()
        return Synced(run_id, f"run {run_id}: {left}", done=False)
    spool.remove()
    _clear_up(folder, run_id, finished=end["status"] == FINISHED)
    return Synced(run_id, f"run {run_id} is delivered: {waiting} entries; it {_ending(end)}", done=True)


def _send(sender: Sender) -> str:
    """Send all that waits, and return a sentence on what the store does not take; empty if it takes all."""
    spool = sender.spool
    waiting = len(spool.pending())
    sender.start()
    sender.wait(SYNC_SECONDS)
    left = len(spool.pending())
    sender.stop()
    if not left:
        return ""
    faults = [*sender.refused.values(), *filter(None, [sender.fault])]
    why = faults[0].sentence if faults else f"the MLflow store {without_login(sender.address)} does not answer"
    return f"{left} of {waiting} entries still wait in {spool.folder}: {why}; then `fer sync` delivers them"


def _end_without(end: dict[str, Any], missing: str) -> dict[str, Any]:
    """Return how a run ends for now of which the store has not taken all."""
    # One that did not finish says why already. None is deleted: what waits may be all that there is of it.
    failed = {"status": FAILED, "reason": missing} if end["status"] == FINISHED else {}
    return {**end, **failed, "unless_begun": False}


def _clear_up(folder: Path, run_id: str, finished: bool) -> None:
    """Remove the folder of a finished run; that of another keeps its checkpoints, under the run's id in the store."""
    if finished:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.name != run_id and any(folder.iterdir()):
        # There is one of that name where the run was begun anew from the store.
        with suppress(OSError):
            folder.rename(folder.with_name(run_id))
    remove_if_empty(folder, folder.parent)


def _ending(end: dict[str, Any]) -> str:
    return "has finished" if end["status"] == FINISHED else f"did not finish: {end['reason']}"
