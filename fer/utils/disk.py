"""Tell a full disk from other faults, and say which folder has no space left, what is needed and the cure."""

import errno
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fer.errors import DataError, quoted_path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("no space left", "disk is full", "disk quota exceeded", "unexpected pos", "file write failed")
"""How libraries say it that write through C; torch says only that fewer bytes than it gave have arrived."""
MEGABYTE = 2**20


def is_no_space(error: BaseException) -> bool:
    """Return whether an error says that a disk, or a person's part of it, is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_SPACE
    # Copying a folder gives all its faults as one text.
    in_words = isinstance(error, RuntimeError | shutil.Error)
    return in_words and any(words in str(error).lower() for words in WORDS)


def no_space(folder: Path, cure: str, needed: int = 0) -> str:
    """Return the sentence on a full disk.

    Args:
        folder: Where something was to be written.
        cure: What to do besides freeing some space, such as an option to give.
        needed: Bytes that it takes; 0 where that is not known.
    """
    free = free_bytes(folder)
    takes = f"; {megabytes(needed)} are needed" if needed else ""
    return f"no space left in {quoted_path(folder)} ({megabytes(free)} free{takes}): free some, or {cure}"


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on, or is to be on."""
    # It may not have been made yet.
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def megabytes(count: int) -> str:
    """Return a number of bytes as `1.5 MiB`."""
    return f"{count / MEGABYTE:.1f} MiB"


@contextmanager
def naming_full_disk(folder: Path, cure: str, needed: int = 0) -> Iterator[None]:
    """Turn what a full disk raises inside into the sentence that names it.

    Args:
        folder: Where is written.
        cure: As of `no_space`.
        needed: Likewise.

    Raises:
        DataError: The disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not is_no_space(error):
            raise
        raise DataError(no_space(folder, cure, needed)) from error


def full_disk_among(error: BaseException, cures: Mapping[Path, str]) -> str:
    """Return the sentence on a full disk, of several that it may be; empty where an error says something else.

    Args:
        error: What was raised.
        cures: What to do, by the folders that were written to.
    """
    if not is_no_space(error):
        return ""
    named = getattr(error, "filename", None)
    for folder, cure in cures.items():
        with suppress(TypeError, ValueError):
            if named and Path(named).resolve().is_relative_to(folder.resolve()):
                return no_space(folder, cure)
    # Few errors say where they happened; the fullest disk is where.
    fullest = min(cures, key=free_bytes)
    return no_space(fullest, cures[fullest])


def temporary_cure() -> dict[Path, str]:
    """Return the folder of temporary files, and what to do when its disk is full."""
    return {Path(tempfile.gettempdir()): "set TMPDIR to a folder on another disk"}
