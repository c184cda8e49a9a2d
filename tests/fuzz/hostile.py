"""The promise that readers of foreign input keep, held against one input after the other.

A reader returns a value of the right type, or refuses the input in one sentence. It raises nothing else, takes neither
long nor much memory, writes nothing outside the folder it is given, and runs nothing.
"""

import faulthandler
import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

from hypothesis.strategies import SearchStrategy

from fer.errors import FerError

Input = TypeVar("Input")

LONGEST_SENTENCE = 600
"""Characters of a refusal."""
SECONDS = 10.0
"""Of computing, within which an input is read or refused: what takes longer counts as a hang."""
WAITING_SECONDS = 60.0
"""Within which it is done on a clock, however much else the machine does."""
HARD_SECONDS = 150.0
"""After which the process is ended from outside of Python, where a library never comes back."""
MEMORY = 400_000_000
"""Bytes that reading one input may take; pictures of many pixels, which have a budget of their own, are drawn so that
they need less."""
SECRET = "Tr0ub4dor-and-3"
"""Stands in inputs as the password of an address; no sentence repeats such an address."""
WRITES: dict[str, tuple[int, ...]] = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
}
"""Events of Python's audit that change files, and which of their arguments are the paths."""
RUNS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
    "socket.connect",
    "socket.bind",
    "pickle.find_class",
)
"""Events of what no reader does: start programs, use the network, look up whatever a pickle names."""


class Broken(AssertionError):
    """A reader broke its promise; the message says how."""


class Hang(BaseException):
    """A reader took too long. No `Exception`, lest the reader take it for a fault of its input."""


class Escape(BaseException):
    """A reader did what it may not: wrote outside its folder, or ran something."""


@dataclass(frozen=True)
class Target(Generic[Input]):
    """A reader of foreign input.

    Attributes:
        name: What it reads, as the table names it.
        inputs: How its inputs are spoilt.
        read: Reads an input; the folder is the only place where it may write.
        kinds: Types of what it returns.
        valid: Inputs that it takes: what is spoilt would else be refused for another reason.
        known: Inputs that once broke the promise.
        set_up: Fills the folder before the first input.
        refusals: How it refuses; what goes along with a served model has refusals of its own.
    """

    name: str
    inputs: SearchStrategy[Input]
    read: Callable[[Input, Path], object]
    kinds: type | tuple[type, ...]
    valid: tuple[Input, ...]
    known: tuple[Input, ...] = ()
    set_up: Callable[[Path], object] = lambda folder: None
    refusals: tuple[type[Exception], ...] = (FerError,)


def accepts(target: Target[Any], value: Any, folder: Path) -> bool:
    """Return whether a reader takes an input.

    Raises:
        Broken: It does neither that nor refuse it as is promised.
    """
    try:
        with _memory_limit(), _time_limit(), _watched(folder):
            result = target.read(value, folder)
    except target.refusals as refusal:
        _check_sentence(str(refusal))
        return False
    except Broken:
        raise
    except (Hang, Escape) as fault:
        raise Broken(f"{type(fault).__name__}: {fault}") from fault
    except Exception as fault:
        raise Broken(f"crash: {type(fault).__name__}: {fault}") from fault
    if not isinstance(result, target.kinds):
        raise Broken(f"it returned {type(result).__name__}")
    return True


def _check_sentence(sentence: str) -> None:
    """Check the form of a refusal.

    Raises:
        Broken: It is none of one line that may be shown.
    """
    faults = {
        "empty": not sentence.strip(),
        "of several lines or with signs that steer a terminal": any(map(_is_control, sentence)),
        f"of {len(sentence)} characters": len(sentence) > LONGEST_SENTENCE,
        "one that tells a password": f"://user:{SECRET}@" in sentence,
    }
    for fault, is_so in faults.items():
        if is_so:
            raise Broken(f"the sentence is {fault}: {sentence[:LONGEST_SENTENCE]!r}")


def _is_control(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang("it takes too long")

    limits = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WAITING_SECONDS))
    before = {number: signal.signal(number, stop) for number, _, _ in limits}
    for _, timer, seconds in limits:
        signal.setitimer(timer, seconds)
    faulthandler.dump_traceback_later(HARD_SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, timer, _ in limits:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


@contextmanager
def _memory_limit() -> Iterator[None]:
    status = Path("/proc/self/status")
    reset = Path("/proc/self/clear_refs")
    # Only Linux tells a process's peak anew.
    if not reset.exists():
        yield
        return
    before = _in_memory(status, "VmRSS:")
    reset.write_text("5")
    try:
        yield
    finally:
        taken = _in_memory(status, "VmHWM:") - before
        if taken > MEMORY:
            raise Broken(f"memory: {taken / 1e6:.0f} MB")


def _in_memory(status: Path, kind: str) -> int:
    return int(status.read_text().split(kind)[1].split()[0]) * 1024


_folders: list[str] = []
"""The folder in which writing is allowed; none while nothing is watched."""


@contextmanager
def _watched(folder: Path) -> Iterator[None]:
    _hook_once()
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    _folders.append(os.path.realpath(folder))
    try:
        yield
    finally:
        _folders.pop()
        sys.dont_write_bytecode = written


def _hook_once() -> None:
    # A hook can never be taken away again.
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)


_hooked: list[bool] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _folders:
        return
    if event in RUNS:
        raise Escape(f"{event} {arguments!r}"[:200])
    if event == "open":
        path, mode, flags = arguments
        writes = any(sign in mode for sign in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and not isinstance(path, int):
            _check_place(event, path, -1)
    elif event in WRITES:
        # Where they may be relative to an open folder, its number comes behind the paths.
        numbers = [value for value in arguments[len(WRITES[event]) :] if isinstance(value, int)]
        for place in WRITES[event]:
            _check_place(event, arguments[place], numbers[-1] if numbers else -1)


def _check_place(event: str, path: Any, folder: int) -> None:
    if isinstance(path, int):
        return
    place = Path(os.fsdecode(path))
    if folder >= 0 and event != "os.chmod":
        # Joining an absolute path gives that path.
        place = Path(f"/proc/self/fd/{folder}").readlink() / place
    # The last part is not followed: a link itself may be removed.
    real = place.resolve() if event == "open" else place.parent.resolve() / place.name
    if not real.is_relative_to(_folders[-1]) and str(real) != os.devnull:
        raise Escape(f"{event} {real}")
