"""How a command's result gets to its place: made beside it, whole or not at all, under a name that tells the model."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer.errors import ConfigError, quoted_path
from fer.utils.signals import deferring, interrupting


@contextmanager
def made_beside(place: Path) -> Iterator[Path]:
    """Give a folder on the disk of a place to come, and remove it with all it still holds however the body ends.

    Raises:
        ConfigError: Nothing can be written there.
        Interrupted: A signal came.
    """
    with interrupting():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-")
        except OSError as error:
            raise ConfigError(f"output {quoted_path(place)} cannot be written: {error.strerror}") from None
        with folder as name:
            yield Path(name)


def land(made: Path, place: Path) -> None:
    """Bring a file or folder to its place; what stood there goes where the file or folder was made."""
    with deferring():  # between two renames nothing would stand there
        if place.exists():
            place.rename(made.with_name(f"{made.name}.before"))
        made.rename(place)


def short_name(address: str) -> str:
    """Return a name for files made of a model: `fer-3` for `models:/fer/3`, `run-0123abcd` for a run's."""
    kind, found, rest = address.partition(":/")
    if not found:
        return Path(address).stem or "model"
    return rest.replace("/", "-") if kind == "models" else f"run-{rest[:8]}"


def megabytes(*places: Path) -> str:
    """Return how large files and folders are together, in words."""
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:,.1f} MB"
