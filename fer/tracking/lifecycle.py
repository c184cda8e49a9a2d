"""Run the bodies of commands inside MLflow runs, of which none stays RUNNING, whatever fails or interrupts it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from fer.config.commands import KEEPS_CHECKPOINTS
from fer.errors import FerError, Interrupted
from fer.tracking.endings import LAUNCHED_RUN
from fer.tracking.faults import fault_of
from fer.tracking.keeper import Keeper, open_run
from fer.tracking.runs import NullRun, TrackedRun
from fer.utils.processes import follow_parent, interrupting, rank

_tags_of_next: ContextVar[Mapping[str, Any]] = ContextVar("_tags_of_next", default={})  # noqa: B039  # never changed
_open_run: ContextVar[TrackedRun | None] = ContextVar("_open_run", default=None)
OUTPUTS = "outputs"
"""Folder of the runs' folders of commands that have no option for it."""


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
def tracked(
    command: str,
    config: Any,
    name: str,
    extra: Mapping[str, Any] | None = None,
    continues: str = "",
    fingerprint: str = "",
) -> Iterator[TrackedRun]:
    """Run a command's body inside an MLflow run, nested where one is open already.

    What the body records is on the disk at once and sent in the background. When it ends, what is left is sent, for
    the minutes of the option `tracking_patience` at most.

    Args:
        command: The command's name, for the tag `fer.command`.
        config: Its configuration, logged as parameters and as `config.json`.
        name: The run's name.
        extra: What options such as `auto` stand for, and derived values, logged as parameters too.
        continues: Id of the run to carry on with; empty for a new one.
        fingerprint: By which the run is found, should it be stopped; empty where that is not known yet.

    Yields:
        The run. When the body ends the run becomes FINISHED; on an exception FAILED, with the reason in the tag
        `fer.error` and in the description; on a signal KILLED. On a `FerError` before anything was recorded it is
        deleted, as if it had never begun. Of several processes only the first one's is real.

    Raises:
        FerError: The store cannot be had when the run begins, or has not taken all of it in the end.
    """
    parent = _open_run.get()
    root = _root(command, config, parent)
    # Processes that train along still have to stop when a signal comes.
    if rank() > 0:
        with interrupting():
            yield NullRun(root)
        return
    # A killed `mlflow run` would leave this process training on.
    if os.environ.get(LAUNCHED_RUN):
        follow_parent()
    with interrupting():
        keeper = Keeper(open_run(command, config, name, parent, root, continues, fingerprint), config)
        token = _open_run.set(keeper.run)
        try:
            keeper.start()
            keeper.describe(command, name, extra or {}, _take_tags())
            yield keeper.run
            keeper.finished()
        except (Interrupted, KeyboardInterrupt) as stop:
            keeper.stopped(stop)
            raise
        except MlflowException as error:
            # Wherever in the body the store failed, a user gets one sentence and no trace.
            keeper.reason = fault_of(keeper.run.address, error).sentence
            raise FerError(keeper.reason) from error
        except BaseException as error:
            keeper.failed(error)
            raise
        finally:
            _open_run.reset(token)
            keeper.close()


def _take_tags() -> Mapping[str, Any]:
    """Return the tags that are for the next run alone: stages within it are others."""
    tags = _tags_of_next.get()
    _tags_of_next.set({})
    return tags


def _root(command: str, config: Any, parent: TrackedRun | None) -> Path:
    """Return the folder in which runs have their folders."""
    output = getattr(config, "output", "") if command in KEEPS_CHECKPOINTS else ""
    if output:
        return Path(output).resolve()
    return parent.folder.parent if parent else Path(OUTPUTS).resolve()
