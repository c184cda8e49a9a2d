"""What a run records, on its way to the store: the spool, and the threads that send it."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fer.errors import DataError, Interrupted
from fer.tracking.checkpoint_upload import STAGED, CheckpointUpload
from fer.tracking.delivery import Delivery
from fer.tracking.endings import FAILED, FINISHED, KILLED
from fer.tracking.heartbeat import Heartbeat
from fer.tracking.journal import Entry
from fer.tracking.kinds import deliver
from fer.tracking.liveness import being_resumed
from fer.tracking.sender import LAST, Sender
from fer.tracking.spool import Spool

STALLED_SECONDS = 4.0
"""How long a store that has taken nothing for the run's patience is still waited for."""
SIGNAL_SECONDS, END_SECONDS = 3.0, 1.0
"""After a signal nothing is waited for longer while the store takes nothing: for what was recorded, and for the end."""
UPLOAD_SECONDS = 30.0
"""How long after a signal the last checkpoint's upload is waited for, if the store answers."""
WARNED_SECONDS = 240.0
"""The same after SIGUSR1, which schedulers send minutes before they end a job."""


@dataclass
class Outbox:
    """Take what a run records, keep it on this machine, and send it.

    Attributes:
        run_id: The run.
        experiment_id: Its experiment.
        address: The store; empty for a run that is recorded offline.
        folder: The run's folder on this machine.
        spool: What is to be sent.
        started: When the run began, in milliseconds.
        patience: Seconds that its end waits for a store that takes nothing.
        upload_seconds: Seconds that the end of a stopped run waits for its last checkpoint's upload.
        recorded: Points that a continued run has, by key and step.
        forgets_checkpoints: Whether what the training could be continued from goes when the run has finished.
    """

    run_id: str
    experiment_id: str
    address: str
    folder: Path
    spool: Spool
    started: int
    patience: float = 300.0
    upload_seconds: float = UPLOAD_SECONDS
    recorded: dict[tuple[str, int], float] = field(default_factory=dict)
    sender: Sender | None = None
    heartbeat: Heartbeat | None = None
    upload: CheckpointUpload | None = None
    forgets_checkpoints: bool = False
    _end_is_put: bool = False

    def start_sending(self, attempt: str, bytes_a_day: float, lost: Any) -> None:
        """Start the threads.

        Args:
            attempt: This process's value of the tag `fer.attempt`.
            bytes_a_day: Checkpoints are uploaded up to so many bytes a day; 0: none.
            lost: Called when another process has taken the run over.
        """
        delivery = Delivery(self.spool, self.address, self.run_id, self.experiment_id)
        self.heartbeat = Heartbeat(self.address, self.run_id, attempt, lost)
        self.heartbeat.start()
        self.sender = Sender(self.spool, self.address, lambda entry: self._deliver(delivery, entry))
        self.sender.start()
        if bytes_a_day:
            self.upload = CheckpointUpload(self.address, self.run_id, self.folder, bytes_a_day, self.heartbeat.is_ours)
            self.upload.start()

    def _deliver(self, delivery: Delivery, entry: Entry) -> Any:
        assert self.heartbeat is not None
        if not self.heartbeat.is_ours():
            raise being_resumed(self.run_id)
        if entry.kind == LAST:
            self._end_others()
            # Only now: what the store seemed not to take may have arrived since the end was put.
            entry = replace(entry, content=entry.content | self._what_is_missing(entry.content))
        return deliver(delivery, entry)

    def _end_others(self) -> None:
        """Wait until nothing else writes to the run: what came after its end would stay for ever."""
        if self.heartbeat is not None:
            self.heartbeat.stop()
            self.heartbeat.join()
        if self.upload is not None and self.forgets_checkpoints:
            self.upload.end()

    def put(self, kind: str, **content: Any) -> int:
        """Keep an entry for the store and return its number."""
        number = self.spool.append(kind, **content)
        if self.sender is not None:
            self.sender.notify()
        return number

    def result(self, number: int) -> Any:
        """Wait for the store to take all that was put, and return what came of one entry; None if it has not."""
        if self.sender is None:
            return None
        if not self.sender.wait(self.patience):
            # The run's end need not wait as long once more.
            self.patience = min(self.patience, STALLED_SECONDS)
        return self.sender.results.get(number)

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        """Have the checkpoint in a folder uploaded, as soon as it may."""
        if self.upload is not None:
            self.upload.offer(folder, epoch, step)

    def close(self, end: Mapping[str, Any]) -> str:
        """Record the run's end, send what can be sent, and return a sentence on what is left; empty if nothing is.

        Args:
            end: Its `status`, `reason` and `time`, and whether to delete it `unless_begun`.

        Raises:
            Interrupted: A signal came while a finished run was being sent.
        """
        end = {**end, "forget": self.forgets_checkpoints}
        stop: Interrupted | None = None
        patience = SIGNAL_SECONDS if end["status"] == KILLED else self.patience
        try:
            self._send_end(end, patience)
        except (Interrupted, KeyboardInterrupt) as error:
            stop = error if isinstance(error, Interrupted) else Interrupted(2)
            self._send_end(end, SIGNAL_SECONDS)
        left = self._stop_sending(end)
        if stop is not None:
            print(left or f"run {self.run_id} has ended")
            raise stop
        return left

    def _send_end(self, end: Mapping[str, Any], patience: float) -> None:
        """Send all that waits and then the end, or as much as the store takes before patience runs out."""
        # First of all on the disk: whoever delivers the rest knows how the run ended. A full one may be why it ended.
        with suppress(OSError):
            self.spool.write_head(end=end)
        if self.sender is None:
            return
        stopped = patience == SIGNAL_SECONDS
        if not self.sender.wait(patience, uploads=not stopped):
            # The server itself may still be told that its store of artifacts takes nothing.
            self.sender.set_artifacts_aside()
            patience = END_SECONDS if stopped else STALLED_SECONDS
        if not self._end_is_put:
            with suppress(DataError):
                self.put("end", **end)
            self._end_is_put = True
        if self.sender.wait(patience, uploads=not stopped) and self.upload and end["status"] != FINISHED:
            self.upload.finish(self.upload_seconds)

    def _what_is_missing(self, end: Mapping[str, Any]) -> dict[str, str]:
        """Return how a run ends whose store refuses part of it: not as if nothing were missing."""
        assert self.sender is not None
        refused = list(self.sender.refused.values())
        if not refused or end["status"] != FINISHED:
            return {}
        reason = f"{refused[0].sentence}; what is missing waits in {self.spool.folder}: `fer sync` delivers it"
        return {"status": FAILED, "reason": reason}

    def _stop_sending(self, end: Mapping[str, Any]) -> str:
        """Stop the threads, clear up, and return a sentence on what could not be sent."""
        if self.sender is None or self.heartbeat is None:
            self.spool.close()
            return f"run {self.run_id} is recorded in {self.folder} only: `fer sync` delivers it"
        self.heartbeat.stop()
        self.sender.stop()
        shutil.rmtree(self.folder / STAGED, ignore_errors=True)
        left = self.spool.pending()
        if left:
            faults = [*self.sender.refused.values(), *filter(None, [self.sender.fault])]
            why = faults[0].sentence if faults else f"the MLflow store {self.address} does not answer"
            self.spool.close()
            done = "has finished" if end["status"] == FINISHED else "has ended"
            return (
                f"run {self.run_id} {done}, but {why}; {len(left)} of its entries wait in {self.spool.folder}: "
                "`fer sync` delivers them"
            )
        self.spool.remove()
        if end["status"] == FINISHED:
            shutil.rmtree(self.folder, ignore_errors=True)
        remove_if_empty(self.folder, self.folder.parent)
        return ""

    def cut_off(self) -> None:
        """Send nothing more, as another process has taken the run over."""
        if self.sender is not None and self.heartbeat is not None:
            self.heartbeat.stop()
            self.sender.stop()
        if self.upload is not None:
            self.upload.stop()

    def give_up(self) -> None:
        """Forget what was recorded of a run that another process has taken over."""
        self.cut_off()
        self.spool.remove()


def remove_if_empty(*folders: Path) -> None:
    """Remove folders that hold nothing, the inner ones first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
