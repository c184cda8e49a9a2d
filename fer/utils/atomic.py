"""Write files and folders so that whoever looks finds them whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer.errors import ConfigError, quoted_path
from fer.utils.signals import deferring, interrupting


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give the path of a partial file that becomes `path` if the block ends well and is removed if it does not.

    Two processes that write the same path must hold a lock: the partial file has one name, so that what a killed
    process left is overwritten by the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the file, since a file can be renamed in one step only within a disk.
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file in UTF-8 whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def staging_folder(output: Path) -> Iterator[Path]:
    """Give a folder beside a command's output in which to make it; it is removed however the block ends.

    Raises:
        ConfigError: Nothing can be written there.
        Interrupted: A signal came.
    """
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
