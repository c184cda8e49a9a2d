"""Turning SIGTERM, Ctrl-C and the launcher's death into an orderly end of a run."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fer.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a signal has arrived while signals were deferred.

    Attributes:
        signum: The first signal's number, 0 before any.
    """

    def __init__(self) -> None:
        self.signum = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; a second Ctrl-C does not wait any longer.

        `mlflow run` answers Ctrl-C by sending SIGTERM after it, so that pair counts as one request.
        """
        if self.signum == signum == signal.SIGINT:
            raise Interrupted(signum)
        self.signum = self.signum or signum


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _ignore()  # the clean-up that follows must not be cut short
    raise Interrupted(signum)


def _ignore() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interrupting() -> Iterator[None]:
    """Raise `Interrupted` wherever the program stands when a stopping signal arrives."""
    with _handling(_interrupt):
        yield


@contextmanager
def deferring() -> Iterator[StopRequest]:
    """Note stopping signals instead of acting on them, so that a loop can end at a safe place.

    After one has come, further ones are ignored until the enclosing `interrupting` ends: what was trained is being
    saved then. Without an enclosing one nothing would hear them again, nor the processes started later, so the
    handlers are as before.
    """
    request = StopRequest()
    try:
        with _handling(request):
            yield request
    finally:
        if request.signum and signal.getsignal(signal.SIGTERM) is _interrupt:
            _ignore()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def follow_parent(seconds: float = 1.0) -> None:
    """Send this process SIGTERM when its parent dies: a killed `mlflow run` would otherwise leave it running.

    Args:
        seconds: How often to look.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()
