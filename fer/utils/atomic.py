"""Write files and folders so that whoever looks finds them whole or not at all, and keep computed content in files."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from fer.errors import ConfigError, quoted_path
from fer.utils.processes import deferring, interrupting

T = TypeVar("T")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give the path of a partial file that becomes `path` if the block ends well and is removed if it does not.

    Two processes that write the same path must hold a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the file, since a file can be renamed in one step only within a disk. The partial file has one name, so
    # that what a killed process left is overwritten by the next.
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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


@contextmanager
def staging_folder(output: Path) -> Iterator[Path]:
    """Give a folder beside a command's output in which to make it; it is removed however the block ends.

    Raises:
        ConfigError: Nothing can be written there.
        Interrupted: A signal came.
    """
    # Python would end at SIGTERM without removing anything.
    with interrupting():
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-")
        except OSError as error:
            message = f"output {quoted_path(output)} cannot be written: {error.strerror}"
            raise ConfigError(message) from None
        with folder as name:
            yield Path(name)


def move_into_place(staged: Path, output: Path) -> None:
    """Rename what was made in a `staging_folder` to the output; what stood there goes with the folder."""
    # A signal between the two renames would leave nothing at the output's path.
    with deferring():
        if output.exists():
            output.rename(staged.with_name(f"{staged.name}.before"))
        staged.rename(output)
