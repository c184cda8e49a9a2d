"""Compute what a file keeps once, also when several processes ask for it at the same time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from fer.utils.atomic import atomic_path

T = TypeVar("T")


def cached(
    path: Path,
    read: Callable[[Path], T | None],
    make: Callable[[], T],
    write: Callable[[Path, T], None],
    lock: AbstractContextManager[None],
) -> T:
    """Return what a file keeps; make it and write the file if it is absent or of no use.

    Args:
        path: The file.
        read: Reads it; None where it is absent, damaged, of another version or made of other data.
        make: Computes its content.
        write: Writes a content to the path given, which is that of a partial file.
        lock: Held while the content is made, so that a second process waits and then reads.
    """
    content = read(path)
    if content is not None:
        return content
    with lock:
        # Another process may have made it while this one waited.
        content = read(path)
        if content is None:
            content = make()
            with atomic_path(path) as partial:
                write(partial, content)
    return content
