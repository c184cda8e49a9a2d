"""Decode pictures in many threads within one amount of memory, whichever command or served model they belong to."""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from PIL import ImageFile

from .images import MAX_BYTES, MAX_PIXELS, open_picture

T = TypeVar("T")

BYTES_PER_PIXEL = 40
"""Memory that a picture takes while it is read, cut and hashed; the most measured is 36, of a face that reaches far
beyond its picture, and 33 of WebP with transparency."""
TRIM_ABOVE = 40_000_000
"""Bytes of a picture after which freed memory is given back; what smaller ones leave to each thread is less."""
SMALL_FILE = 1_000_000
"""Bytes of a file up to which it is read once, before anybody knows what its picture will take."""


class MemoryBudget:
    """An amount of memory that threads share; no thread may reserve a second part of it.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._changed = threading.Condition()
        self._thread = threading.local()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[None]:
        """Wait until so many bytes are free, and hold them."""
        # It could wait for ever for what it holds itself.
        assert not getattr(self._thread, "holds", False)
        # Whoever needs more than there are holds all; else it would wait for ever.
        needed = min(needed, self.size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        self._thread.holds = True
        try:
            yield
        finally:
            self._thread.holds = False
            with self._changed:
                self._free += needed
                self._changed.notify_all()


DECODING_BUDGET = MemoryBudget(BYTES_PER_PIXEL * MAX_PIXELS + MAX_BYTES)
"""What all pictures decoded at once by a process may take: 2.2 GB, room for one of the largest or for dozens of usual
ones. Whatever else a process holds comes on top."""
_MEASURING = threading.Lock()


def open_within_budget(
    source: Path | bytes,
    work: Callable[[ImageFile.ImageFile], T],
    beside: Callable[[int, int], int] | None = None,
) -> T:
    """Open a picture and run a thread's work on it, waiting until the budget of all threads has memory for it.

    Args:
        source: A file or its content.
        work: Decodes the picture and keeps nothing of its size.
        beside: Returns the bytes that the work takes beside the picture, given its width and height.

    Raises:
        UnusableImage: As `open_picture`.
    """
    small = _small_content(source)
    opened = None
    if small is not None:
        opened = open_picture(small)
        needed = _memory_of(opened, len(small), beside)
    else:
        # One at a time, because Pillow reads some formats whole for their size.
        with _MEASURING, open_picture(source) as image:
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            needed = _memory_of(image, size, beside)
    with DECODING_BUDGET.reserve(needed):
        with opened or open_picture(source) as image:
            result = work(image)
            image.close()
        # GNU's C library would keep for every thread the most it ever had; other libraries have no such function.
        if needed > TRIM_ABOVE:
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim:
                trim(0)
        return result


def _small_content(source: Path | bytes) -> bytes | None:
    """Return a small picture's content; None for a large one, and for one that cannot be read or holds nothing."""
    if isinstance(source, bytes):
        return source if len(source) <= SMALL_FILE else None
    with suppress(OSError, ValueError):
        if 0 < source.stat().st_size <= SMALL_FILE:
            return source.read_bytes()
    return None


def _memory_of(image: ImageFile.ImageFile, size: int, beside: Callable[[int, int], int] | None) -> int:
    extra = beside(image.width, image.height) if beside else 0
    return BYTES_PER_PIXEL * image.width * image.height + size + extra
