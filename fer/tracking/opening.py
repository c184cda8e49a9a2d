"""Open the run of a command: a new one, the launcher's, one to be continued, or one recorded on this machine only."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.tracking.context.registry import resolve_tags

from fer.errors import DataError, Interrupted, ModelError
from fer.tracking import store
from fer.tracking.asking import GRACE_SECONDS, asked, made_once
from fer.tracking.delivery import experiment_token
from fer.tracking.endings import FINISHED, SYSTEM_METRICS, clear_reason, stop_run
from fer.tracking.heartbeat import beat
from fer.tracking.journal import read_head, spool_folder
from fer.tracking.liveness import attempt_number, claim, end_with, new_attempt
from fer.tracking.names import ATTEMPT, HEARTBEAT
from fer.tracking.outbox import Outbox, remove_if_empty
from fer.tracking.points import recorded_points, spooled_points
from fer.tracking.spool import Spool
from fer.utils.processes import call_patiently

PARENT = "mlflow.parentRunId"
"""Tag: the run that a run is nested in."""
OFFLINE = "offline-"
"""Beginning of the ids of runs that no store has given one yet."""


@dataclass(frozen=True)
class Opened:
    """An open run.

    Attributes:
        outbox: Takes what it records.
        attempt: The tag by which its processes are told apart.
        continued: Whether an earlier process began it.
        next_step: The first step of the machine's metrics.
        launched: The run that `mlflow run` has made: this one, or one that stands for the continuation of it.
    """

    outbox: Outbox
    attempt: str = ""
    continued: bool = False
    next_step: int = 0
    launched: str = ""


def open_new(address: str, name: str, parent: str, root: Path, marks: Mapping[str, str]) -> Opened:
    """Make a run.

    Args:
        address: The store.
        name: The run's name.
        parent: The run to nest it in, or empty.
        root: Where runs have their folders.
        marks: Tags by which it is found from its first moment on.

    Raises:
        FerError: The store refuses.
        Interrupted: A signal came meanwhile; the run is KILLED.
    """
    client = mlflow.MlflowClient(address)
    attempt = new_attempt(1)
    tags = resolve_tags({**marks, ATTEMPT: attempt, HEARTBEAT: beat(), **({PARENT: parent} if parent else {})})

    def place() -> str:
        return str(client.get_run(parent).info.experiment_id) if parent else store.experiment_id(address)

    experiment_id = asked(address, place)

    def find() -> Run | None:
        return next(iter(store.search_runs(f"tags.`{ATTEMPT}` = '{attempt}'", [experiment_id])), None)

    def create() -> Run:
        return made_once(find, lambda: client.create_run(experiment_id, tags=tags, run_name=name))

    run = asked(address, create, lambda run: stop_run(client, run.info.run_id))
    with ending_on_failure(client, run.info.run_id):
        return _opened(address, run, root, attempt)


def adopt(address: str, run_id: str, root: Path, marks: Mapping[str, str]) -> Opened:
    """Take over the run that `mlflow run` has made; it has its name already."""
    client = mlflow.MlflowClient(address)
    attempt = new_attempt(1)
    tags = resolve_tags({**marks, ATTEMPT: attempt, HEARTBEAT: beat()})

    def take() -> Run:
        run = client.get_run(run_id)
        for key, value in tags.items():
            if key not in run.data.tags:
                client.set_tag(run_id, key, value)
        return run

    run = asked(address, take)
    return _opened(address, run, root, attempt)


def continue_run(address: str, run_id: str, parent: str, root: Path) -> Opened:
    """Carry on with a run that was stopped or died.

    Args:
        address: The store.
        run_id: The run.
        parent: The run within which it goes on, or empty; the one before, if its process died too, is ended.
        root: Where runs have their folders.

    Raises:
        ModelError: It has finished.
        FerError: It goes on, or another process takes it over; or the store refuses.
    """
    client = mlflow.MlflowClient(address)
    run = asked(address, lambda: client.get_run(run_id))
    if run.info.status == FINISHED:
        raise ModelError(f"run {run_id} has finished: there is nothing to continue")
    # A process of this machine that is still alive has it open, and is refused before the store is asked.
    spool = Spool(spool_folder(root / run_id))
    if is_outdated(spool, run):
        spool.remove()
        spool = Spool(spool_folder(root / run_id))
    attempt = new_attempt(attempt_number(run.data.tags) + 1)
    try:
        # Before the store knows it: should this process end in between, what is spooled is still this run's.
        spool.write_head(claiming=attempt)
        asked(address, lambda: claim(client, run, attempt), lambda _: stop_run(client, run_id))
        with ending_on_failure(client, run_id):
            asked(address, lambda: clear_reason(client, run_id))
            if parent:
                asked(address, lambda: _move(client, run, parent))
            recorded = asked(address, lambda: recorded_points(client, run))
            drop_end(spool)
            opened = _opened(address, run, root, attempt, spool)
    except BaseException:
        leave(spool)
        raise
    opened.outbox.recorded = recorded | spooled_points(spool)
    return replace(opened, continued=True, next_step=_next_step(opened.outbox))


@contextmanager
def ending_on_failure(client: mlflow.MlflowClient, run_id: str) -> Iterator[None]:
    """End a run that this process has taken, as far as the store lets it, if it cannot go on with it after all."""
    try:
        yield
    except BaseException as error:
        reason = str(error) or type(error).__name__
        # A store that does not answer must not hold up the end of the process.
        with suppress(TimeoutError, Interrupted):
            call_patiently(lambda: stop_run(client, run_id, reason), limit=GRACE_SECONDS)
        raise


def is_outdated(spool: Spool, run: Run) -> bool:
    """Return whether a run was carried on with elsewhere since it left a spool, of which nothing is needed then."""
    own = {spool.head.get("attempt"), spool.head.get("claiming")} - {None}
    return bool(own) and ATTEMPT in run.data.tags and run.data.tags[ATTEMPT] not in own


def _move(client: mlflow.MlflowClient, run: Run, parent: str) -> None:
    """Nest a run in another one than before."""
    before = run.data.tags.get(PARENT, "")
    client.set_tag(run.info.run_id, PARENT, parent)
    if before and before != parent:
        end_with(client, client.get_run(before), dead=run)


def open_offline(name: str, parent: str, root: Path, continues: str = "") -> Opened:
    """Begin, or go on with, a run that is recorded on this machine only."""
    run_id = continues or f"{OFFLINE}{uuid.uuid4().hex[:16]}"
    spool = Spool(spool_folder(root / run_id))
    drop_end(spool)
    if "id" not in spool.head:
        # A run that a store knows may go on without it.
        known = {} if run_id.startswith(OFFLINE) else {"run_id": run_id}
        tags = dict(resolve_tags({}))
        spool.write_head(id=run_id, name=name, parent=parent, started=int(time.time() * 1000), tags=tags, **known)
    outbox = Outbox(
        run_id=run_id,
        experiment_id=experiment_token(run_id),
        address="",
        folder=root / run_id,
        spool=spool,
        started=int(spool.head["started"]),
        recorded=spooled_points(spool),
    )
    return Opened(outbox, continued=bool(continues), next_step=_next_step(outbox))


def unfinished_offline(root: Path, fingerprint: str) -> str:
    """Return the id of the newest run with a fingerprint that was recorded offline and did not finish, or nothing."""
    heads = []
    for folder in root.glob(f"{OFFLINE}*"):
        # A damaged one cannot be gone on with, and is no reason not to begin.
        with suppress(DataError):
            heads.append(read_head(folder))
    matching = [head for head in heads if head.get("fingerprint") == fingerprint]
    unfinished = [head for head in matching if (head.get("end") or {}).get("status") != FINISHED]
    return str(max(unfinished, key=lambda head: head["started"])["id"]) if unfinished else ""


def _opened(address: str, run: Run, root: Path, attempt: str, spool: Spool | None = None) -> Opened:
    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    spool = spool or Spool(spool_folder(root / run_id))
    spool.write_head(id=run_id, run_id=run_id, name=run.info.run_name, started=run.info.start_time, attempt=attempt)
    outbox = Outbox(
        run_id=run_id,
        experiment_id=experiment_id,
        address=address,
        folder=root / run_id,
        spool=spool,
        started=run.info.start_time,
    )
    return Opened(outbox, attempt)


def _next_step(outbox: Outbox) -> int:
    """Return the step after the last one of the machine's metrics."""
    steps = [step for key, step in outbox.recorded if key.startswith(SYSTEM_METRICS)]
    return max(steps, default=-1) + 1


def leave(spool: Spool) -> None:
    """Close the spool of a run that is not carried on with, and leave no empty one behind."""
    folder = spool.folder.parent
    if spool.entries():
        spool.close()
    else:
        spool.remove()
    remove_if_empty(folder, folder.parent)


def drop_end(spool: Spool) -> None:
    """Forget how a run ended before it goes on, where that was not delivered."""
    spool.write_head(end=None)
    spool.mark_delivered([entry.number for entry in spool.pending() if entry.kind == "end"])
