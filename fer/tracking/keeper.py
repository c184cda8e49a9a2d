"""Keep an open run: say what it is of, gauge the machine meanwhile, and close it however its body ends."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlflow

from fer.config.commands import TRAINING_COMMANDS
from fer.config.options import shown_options
from fer.errors import ConfigError, DataError, FerError, Interrupted, quoted_path
from fer.tracking import store
from fer.tracking.asking import asked, check_artifacts
from fer.tracking.endings import FAILED, FINISHED, KILLED, LAUNCHED_RUN, fail_run, keep_killed
from fer.tracking.names import COMMAND, CONFIG_FILE, CONTINUES, DESCRIPTION, FINGERPRINT
from fer.tracking.opening import OFFLINE, Opened, adopt, continue_run, leave, open_new, open_offline
from fer.tracking.outbox import WARNED_SECONDS
from fer.tracking.runs import TrackedRun
from fer.tracking.spool import CURE
from fer.tracking.system_metrics import SystemMetrics
from fer.utils.disk import full_disk_among, temporary_cure

GIGABYTE = 10**9
WARNING = getattr(signal, "SIGUSR1", 0)
"""The signal by which a scheduler says that it will end the process in some minutes; 0 where there is none."""
PATIENCE_MINUTES = 5.0
"""How long the end of a run waits for a store that takes nothing, where no option says it."""


def open_run(
    command: str,
    config: Any,
    name: str,
    parent: TrackedRun | None,
    root: Path,
    continues: str,
    fingerprint: str,
) -> Opened:
    """Open the run of a command.

    Args:
        command: The command.
        config: The command's configuration.
        name: The run's name; the launcher's run, and one that is continued, keep theirs.
        parent: The run within which it is opened.
        root: Where runs have their folders.
        continues: Id of the run to carry on with; empty for a new one.
        fingerprint: By which the run is found, should it be stopped; empty where that is not known yet.

    Raises:
        FerError: The store cannot be had, or the run cannot be continued.
        Interrupted: A signal came.
    """
    _refuse_unwritable_folder(root)
    launched = os.environ.get(LAUNCHED_RUN, "")
    parent_id = parent.id if parent else ""
    if getattr(config, "offline", False) or continues.startswith(OFFLINE) or (parent and not parent.address):
        os.environ.pop(LAUNCHED_RUN, None)
        return open_offline(name, parent_id, root, continues)
    address = parent.address if parent else store.connect()
    marks = {COMMAND: command} | ({FINGERPRINT: fingerprint} if fingerprint else {})
    try:
        if continues:
            opened = continue_run(address, continues, parent_id, root)
            if launched:
                _note_continuation(address, launched, continues)
        elif launched:
            opened = adopt(address, launched, root, marks)
        else:
            opened = open_new(address, name, parent_id, root, marks)
        if command in TRAINING_COMMANDS:
            _refuse_if_unwritable(opened, delete_empty=not launched and not continues)
    except FerError as error:
        if launched:
            fail_run(launched, str(error))
            os.environ.pop(LAUNCHED_RUN)
        raise
    os.environ.pop(LAUNCHED_RUN, None)
    return replace(opened, launched=launched)


def _refuse_unwritable_folder(root: Path) -> None:
    """Find out whether runs can have their folders somewhere before a run is made.

    Raises:
        ConfigError: They cannot.
    """
    present = next(path for path in (root, *root.parents) if path.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        fault = "is no folder" if not present.is_dir() else "may not be written"
        raise ConfigError(f"{quoted_path(root)} cannot be written: {quoted_path(present)} {fault}; {CURE}")


def _refuse_if_unwritable(opened: Opened, delete_empty: bool) -> None:
    """Find out whether a run's artifacts can be written before hours are spent on them.

    Args:
        opened: The run.
        delete_empty: Whether to delete it if they cannot and nothing is recorded of it.

    Raises:
        FerError: They cannot; the run is ended.
    """
    outbox = opened.outbox
    try:
        check_artifacts(outbox.address, outbox.run_id, delete_empty)
    except BaseException:
        leave(outbox.spool)
        raise


def _note_continuation(address: str, launched: str, continues: str) -> None:
    """Say at the run that `mlflow run` has made which one is continued and holds all the figures."""
    client = mlflow.MlflowClient(address)

    def note() -> None:
        client.set_tag(launched, CONTINUES, continues)
        client.set_tag(launched, DESCRIPTION, f"Continued run `{continues}`, which holds all figures.")

    asked(address, note)


class Keeper:
    """Keep an open run and close it.

    Args:
        opened: The run.
        config: The command's configuration.

    Attributes:
        run: The run.
        reason: Why it did not finish; empty while it may.
    """

    def __init__(self, opened: Opened, config: Any) -> None:
        self.run = TrackedRun(opened.outbox)
        self.reason = ""
        self._config = config
        self._continued = opened.continued
        self._status = FAILED
        self._refused = False
        self._lost = False
        self._launched = opened.launched
        self._attempt = opened.attempt
        outbox = opened.outbox
        outbox.patience = 60.0 * getattr(config, "tracking_patience", PATIENCE_MINUTES)
        self._next_step = opened.next_step
        self._gauges: SystemMetrics | None = None

    def start(self) -> None:
        """Start what sends the record, beats and gauges the machine."""
        if self.run.outbox.address:
            daily = GIGABYTE * getattr(self._config, "checkpoint_upload_gb", 0.0)
            self.run.outbox.start_sending(self._attempt, daily, self._note_loss)
        self._gauges = SystemMetrics(self.run, self._next_step)
        self._gauges.start()  # type: ignore[no-untyped-call]

    def describe(self, command: str, name: str, extra: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Record what the run is of and what goes into it.

        Args:
            command: The command's name.
            name: The run's name.
            extra: What options stand for, and derived values.
            tags: Further tags.
        """
        # Not at the top: training starts sooner, and the process that watches a killed launcher needs no torch.
        from fer.tracking.provenance import environment_tags

        run = self.run
        named = {} if self._continued else {"mlflow.runName": name}
        run.tags({**named, COMMAND: command, **environment_tags(), **tags})
        run.params(shown_options(self._config, extra))
        run.json(asdict(self._config), CONFIG_FILE)
        run.outbox.spool.write_head(command=command, config=asdict(self._config))
        run.outbox.put("begin")

    def finished(self) -> None:
        """Note that the body ended well."""
        self._status = FINISHED

    def stopped(self, stop: BaseException) -> None:
        """Note that a signal ended the body.

        Raises:
            FerError: The signal was this process's own, as another one carries on with the run.
        """
        if self._lost:
            self.reason = f"run {self.run.id} was resumed by another process, so this one has stopped"
            raise FerError(self.reason) from stop
        self._status = KILLED
        self.reason = str(stop) or "stopped by signal 2"
        if isinstance(stop, Interrupted) and stop.signum == WARNING:
            self.run.outbox.upload_seconds = WARNED_SECONDS

    def failed(self, error: BaseException) -> None:
        """Note what ended the body.

        Raises:
            DataError: A full disk did, which a person can cure.
        """
        self._refused = isinstance(error, FerError)
        self.reason = str(error) if self._refused else f"{type(error).__name__}: {error}"
        cures = {self.run.folder.parent: "give another folder with `output`", **temporary_cure()}
        full = full_disk_among(error, cures)
        if full:
            self.reason = full
            raise DataError(full) from error

    def _note_loss(self) -> None:
        """Stop this process, as another one carries on with the run."""
        self._lost = True
        # At once: what the process does until it hears the signal is not to reach the run.
        self.run.outbox.cut_off()
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        """Send what is left and end the run.

        Raises:
            FerError: The run has finished, and the store has not taken all of it.
            Interrupted: The run has finished, and a signal came while it was sent.
        """
        if self._gauges is not None:
            self._gauges.finish()
        outbox = self.run.outbox
        if self._lost:
            outbox.give_up()
            return
        end = {
            "status": self._status,
            "reason": self.reason,
            "time": int(time.time() * 1000),
            # A run that the launcher made is there already, and a continued one holds what came before.
            "unless_begun": self._refused and not self._launched and not self._continued,
        }
        left = outbox.close(end)
        if self._launched and self._status == KILLED and outbox.address:
            keep_killed(self._launched, outbox.address, self._attempt if self._launched == self.run.id else "")
        if not left:
            return
        if self._status == FINISHED and outbox.address:
            raise FerError(left)
        # What ended the run is the fault to be seen.
        print(left, file=sys.stderr if outbox.address else sys.stdout, flush=True)
