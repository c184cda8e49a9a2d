"""Send what a spool holds to the store in the background, in order, for as long as it takes."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from fer.errors import without_login
from fer.tracking.delivery import NotYet
from fer.tracking.faults import Fault, fault_of
from fer.tracking.journal import Entry
from fer.tracking.spool import Spool

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between attempts while the store does not take something; each pause is twice the one before."""
HURRIED_PAUSE = 1.0
"""The longest of them while the run's end waits."""
ARTIFACTS = frozenset({"file", "model", "model_files", "model_metrics", "describe_model", "register"})
"""Kinds that go to the store of artifacts, which may be out of order by itself, or wait for what does."""
LAST = "end"
"""The kind that closes a run, and so waits for all others."""
SLOWEST_UPLOAD = 250_000.0
"""Bytes a second: a store that takes files faster is not given up."""
POLL = 0.1
"""Seconds between looks at the sender while it is waited for, in which a signal is heard."""


class Sender(threading.Thread):
    """Deliver entries until told to stop; a daemon, so that no store can hold the process back.

    Args:
        spool: What to send.
        address: The store, for its faults' sentences.
        deliver: Does what an entry says.

    Attributes:
        results: What came of the delivered entries, by number.
        refused: Why the store has not taken an entry and will not take it by itself, by number.
        fault: Why it does not take anything at present; None while it does.
    """

    def __init__(self, spool: Spool, address: str, deliver: Callable[[Entry], Any]) -> None:
        super().__init__(name="fer-sender", daemon=True)
        self.spool = spool
        self.address = address
        self.results: dict[int, Any] = {}
        self.refused: dict[int, Fault] = {}
        self.fault: Fault | None = None
        self._deliver = deliver
        self._wake = threading.Event()
        self._stop_asked = False
        self._hurried = False
        self._told = False
        self._upload_seconds = 0.0

    def notify(self) -> None:
        """Say that there is something to send."""
        self._wake.set()

    def run(self) -> None:
        """Send until stopped."""
        pause = FIRST_PAUSE
        while not self._stop_asked:
            self._wake.clear()
            if self._send_pending():
                pause = FIRST_PAUSE
                self._wake.wait()
            else:
                # What was appended meanwhile would be kept up by the same fault.
                self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _sleep(self, seconds: float) -> None:
        started = time.monotonic()
        while not self._stop_asked:
            # Somebody waits for the run's end.
            limit = min(seconds, HURRIED_PAUSE) if self._hurried else seconds
            if time.monotonic() - started >= limit:
                return
            time.sleep(POLL)

    def _send_pending(self) -> bool:
        """Deliver what can be; return whether nothing is left that could be taken later by itself."""
        blocked: set[bool] = set()
        fault: Fault | None = None
        for entry in self.spool.pending():
            lane = entry.kind in ARTIFACTS
            if self._stop_asked:
                return False
            # Within each of the two stores the order is kept; what ends the run comes last of all.
            if lane in blocked or entry.number in self.refused or (entry.kind == LAST and blocked):
                continue
            latest = self._try(entry, waits=True in blocked)
            if latest is not None and latest.passes:
                blocked.add(lane)
                fault = latest
                # Tags and figures not taken: the server itself is away, so its artifacts are too.
                if not lane:
                    break
        self._note(fault)
        return not blocked

    def _try(self, entry: Entry, waits: bool) -> Fault | None:
        """Deliver an entry and return None, or what kept it.

        Args:
            entry: The entry.
            waits: Whether artifacts are to be tried again, for one of which it may wait.
        """
        self._upload_seconds = self.spool.kept_bytes(entry) / SLOWEST_UPLOAD
        try:
            self.results[entry.number] = self._deliver(entry)
        except NotYet as error:
            if waits:
                return None
            fault = fault_of(self.address, error)
            self.refused[entry.number] = fault
            return fault
        except Exception as error:
            fault = fault_of(self.address, error)
            if not fault.passes:
                self.refused[entry.number] = fault
            return fault
        finally:
            self._upload_seconds = 0.0
        # Set aside while it was on its way.
        self.refused.pop(entry.number, None)
        self.spool.mark_delivered([entry.number])
        return None

    def _note(self, fault: Fault | None) -> None:
        """Say on stderr that the store has gone, and that it is back, once each."""
        self.fault = fault
        if fault is not None and not self._told:
            self._told = True
            print(
                f"{fault.sentence}; what is recorded waits in {self.spool.folder} and is sent when that passes",
                file=sys.stderr,
                flush=True,
            )
        elif fault is None and self._told:
            self._told = False
            print(f"the MLflow store answers again; {self.spool.folder} is sent", file=sys.stderr, flush=True)

    def wait(self, patience: float, uploads: bool = True) -> bool:
        """Wait until all is delivered but what the store refuses, and return whether it is.

        Args:
            patience: Give up once the store has taken nothing for so many seconds.
            uploads: Whether a file that is on its way has the time on top that a slow line takes for it.
        """
        since = time.monotonic()
        self._hurried = True
        self.notify()
        first = self._first_unsettled()
        while first is not None:
            # By the first one: what is recorded meanwhile may be taken, and says nothing of what is waited for.
            limit = patience + (self._upload_seconds if uploads else 0.0)
            if time.monotonic() - since >= limit or not self.is_alive():
                return False
            time.sleep(POLL / 5)
            before, first = first, self._first_unsettled()
            if first != before:
                since = time.monotonic()
        self._hurried = False
        return True

    def _first_unsettled(self) -> int | None:
        """Return the number of the first entry that is neither delivered nor refused; None if there is none."""
        waiting = [entry.number for entry in self.spool.pending() if entry.number not in self.refused]
        return waiting[0] if waiting else None

    def set_artifacts_aside(self) -> None:
        """Wait no longer for the store of artifacts, where it is what holds up the end of the run."""
        fault = self.fault or Fault(f"the MLflow store {without_login(self.address)} does not answer", passes=True)
        for entry in self.spool.pending():
            if entry.kind in ARTIFACTS:
                self.refused.setdefault(entry.number, fault)
        self.notify()

    def stop(self) -> None:
        """Send nothing more; what is under way is given up with the process."""
        self._stop_asked = True
        self.notify()
        if threading.current_thread() is not self:
            self.join(timeout=2 * POLL)
