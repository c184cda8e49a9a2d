"""Work on all cores in threads, within a budget of memory: Pillow and hashing release the GIL."""

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Lock
from typing import TypeVar

from fer.portable.images import MAX_BYTES, MAX_PIXELS, UnusableImage, open_picture

T = TypeVar("T")

BYTES_PER_PIXEL = 40
"""Memory that a picture takes while it is read, cut and hashed; the most measured is 33, of WebP with transparency."""
TRIM_ABOVE = 40_000_000
"""Bytes of a picture after which freed memory is given back; what smaller ones leave to each thread is less."""


@contextmanager
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of as many threads as there are cores."""
    executor = ThreadPoolExecutor(os.cpu_count())
    try:
        yield executor
    finally:
        # The executor's own end would first finish, after a fault or Ctrl-C too, what has not begun.
        executor.shutdown(cancel_futures=True)


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


def decode_within_budget(picture: Path | bytes, work: Callable[[], T]) -> T:
    """Run a thread's work on a picture, waiting until the budget of all threads has memory for it.

    Args:
        picture: A file or its content; one that is no usable picture takes none.
        work: Reads the picture and keeps nothing of its size.
    """
    # One at a time, because Pillow reads some formats whole for their size.
    with _MEASURING:
        needed = _memory_of(picture)
    with DECODING_BUDGET.reserve(needed):
        result = work()
        # GNU's C library would keep for every thread the most it ever had; other libraries have no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim and needed > TRIM_ABOVE:
            trim(0)
        return result


def _memory_of(picture: Path | bytes) -> int:
    try:
        with open_picture(picture) as image:
            size = len(picture) if isinstance(picture, bytes) else picture.stat().st_size
            return BYTES_PER_PIXEL * image.width * image.height + size
    except UnusableImage:
        return 0
