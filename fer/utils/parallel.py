"""Work on all cores in threads, within a budget of memory: Pillow and hashing release the GIL."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock
from typing import TypeVar

from PIL import ImageFile

from fer.portable.images import MAX_BYTES, MAX_PIXELS, open_picture

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 32
"""Items a task, so that starting one costs little beside the work on small pictures."""
CHUNKS_AHEAD = 4
"""Tasks a core that are begun or wait: more would keep results that nobody has asked for."""
BYTES_PER_PIXEL = 40
"""Memory that a picture takes while it is read, cut and hashed; the most measured is 33, of WebP with transparency."""
TRIM_ABOVE = 40_000_000
"""Bytes of a picture after which freed memory is given back; what smaller ones leave to each thread is less."""
SMALL_FILE = 1_000_000
"""Bytes of a file up to which it is read once, before anybody knows what its picture will take."""


@contextmanager
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of as many threads as there are cores."""
    executor = ThreadPoolExecutor(os.cpu_count())
    try:
        yield executor
    finally:
        # The executor's own end would first finish, after a fault or Ctrl-C too, what has not begun.
        executor.shutdown(cancel_futures=True)


@contextmanager
def map_on_all_cores(
    work: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    chunk: int = CHUNK,
) -> Iterator[Iterator[R]]:
    """Yield an iterator over the results of a work on all items, in their order; at its end no thread works any more.

    Args:
        work: Gets some neighbouring items and returns the result of each.
        items: All of them; of few items each core gets its share.
        chunk: Items that work gets at once at most.
    """
    cores = os.cpu_count() or 1
    size = min(max(len(items) // (CHUNKS_AHEAD * cores), 1), chunk)
    with thread_pool() as executor:

        def results() -> Iterator[R]:
            # A future for each of a million pictures would take more time and memory than their names.
            begun: deque[Future[Sequence[R]]] = deque()
            for start in range(0, len(items), size):
                begun.append(executor.submit(work, items[start : start + size]))
                if len(begun) == CHUNKS_AHEAD * cores:
                    yield from begun.popleft().result()
            while begun:
                yield from begun.popleft().result()

        yield results()


class MemoryBudget:
    """An amount of memory that threads share.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._changed = Condition()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[None]:
        """Wait until so many bytes are free, and hold them."""
        # Whoever needs more than there are holds all; else it would wait for ever.
        needed = min(needed, self.size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


DECODING_BUDGET = MemoryBudget(BYTES_PER_PIXEL * MAX_PIXELS + MAX_BYTES)
"""What all pictures decoded at once may take: 2.2 GB, room for one of the largest or for dozens of usual ones."""
_MEASURING = Lock()


def open_within_budget(source: Path | bytes, work: Callable[[ImageFile.ImageFile], T]) -> T:
    """Open a picture and run a thread's work on it, waiting until the budget of all threads has memory for it.

    Args:
        source: A file or its content.
        work: Decodes the picture and keeps nothing of its size.

    Raises:
        UnusableImage: As `open_picture`.
    """
    if isinstance(source, Path):
        source = _small_content(source) or source
    if isinstance(source, Path):
        # One at a time, because Pillow reads some formats whole for their size.
        with _MEASURING, open_picture(source) as image:
            needed = _memory_of(image, source.stat().st_size)
    else:
        image = open_picture(source)
        needed = _memory_of(image, len(source))
    with DECODING_BUDGET.reserve(needed):
        with open_picture(source) if isinstance(source, Path) else image as opened:
            result = work(opened)
            opened.close()
        # GNU's C library would keep for every thread the most it ever had; other libraries have no such function.
        if needed > TRIM_ABOVE:
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim:
                trim(0)
        return result


def _small_content(path: Path) -> bytes | None:
    """Return a small file's content; None for a large file, and for one that cannot be read or holds nothing."""
    with suppress(OSError, ValueError):
        if 0 < path.stat().st_size <= SMALL_FILE:
            return path.read_bytes()
    return None


def _memory_of(image: ImageFile.ImageFile, size: int) -> int:
    return BYTES_PER_PIXEL * image.width * image.height + size
