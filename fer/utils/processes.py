"""This process among others: which of several that train together it is, and what stops it in an orderly way."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from fer.errors import Interrupted

T = TypeVar("T")
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
STOPPING: tuple[signal.Signals, ...] = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""Signals at which a command saves and ends; SLURM sends SIGUSR1, which Windows lacks, before a job's time is over."""
PARENT_SECONDS = 1.0
"""How often `follow_parent` looks."""
CALL_SECONDS = 0.1
"""How often `call_patiently` gives way to signals."""


def rank() -> int:
    """Return this process's number among all, as torchrun says it; 0 where there is only one."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return this process's number on its machine, which is also its GPU's."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Return how many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def exit_nonzero_ranks() -> None:
    """End every process but the first: their part, the training, is done, and one of them logs and tests.

    With code 0, because whoever started them ends the first too when another fails.
    """
    if rank() > 0:
        sys.exit(0)


class StopRequest:
    """Whether a signal has arrived while signals were deferred.

    Attributes:
        signum: The first signal's number, 0 before any.
    """

    def __init__(self) -> None:
        self.signum = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; a second Ctrl-C does not wait any longer."""
        # `mlflow run` answers Ctrl-C by sending SIGTERM after it, so that pair counts as one request.
        if self.signum == signum == signal.SIGINT:
            raise Interrupted(signum)
        self.signum = self.signum or signum


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # The clean-up that follows must not be cut short.
    _ignore()
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
    saved then.
    """
    request = StopRequest()
    try:
        with _handling(request):
            yield request
    finally:
        # Without an enclosing `interrupting` nothing would hear signals again, nor the processes started later.
        if request.signum and signal.getsignal(signal.SIGTERM) is _interrupt:
            _ignore()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # Python lets only the main thread set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, old in before.items():
            # A signal that was taken within ends what is around this too, whose clean-up must not be cut short either.
            if not (old is _interrupt and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, old)


def call_patiently(
    call: Callable[[], T],
    grace: float = 0.0,
    undo: Callable[[T], object] = lambda _: None,
    limit: float = math.inf,
) -> T:
    """Return what a call returns, hearing signals at once while it lasts.

    Args:
        call: Made in a thread of its own, as it may wait for a server that does not answer.
        grace: Seconds that it is still waited for after a signal, and then `undo` after it.
        undo: Takes back what the call did, given what it returned after all.
        limit: Seconds after which it is given up.

    Raises:
        Interrupted: A signal came.
        TimeoutError: It was given up.
        Exception: What the call raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    # Not the thread's `join`: interrupted, that takes the thread for ended (Python 3.11).
    done = threading.Event()
    until = time.monotonic() + limit

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        done.set()

    try:
        threading.Thread(target=work, daemon=True).start()
        while not done.wait(CALL_SECONDS):
            if time.monotonic() > until:
                raise TimeoutError("timed out")
    except BaseException:
        done.wait(grace)
        if results:
            undoing = threading.Thread(target=undo, args=results, daemon=True)
            undoing.start()
            undoing.join(grace)
        raise
    if errors:
        raise errors[0]
    return results[0]


def follow_parent() -> None:
    """Send this process SIGTERM when its parent dies: a killed `mlflow run` would otherwise leave it running."""
    parent = os.getppid()

    def watch() -> None:
        # An orphan gets another parent. Asking for that is the one way that works on every system.
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    # A daemon, so that a finished command does not wait for it.
    threading.Thread(target=watch, daemon=True).start()
