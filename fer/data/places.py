"""Where prepared data lie, and the lock that lets one process at a time change a set."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from fer.errors import DataError


def data_root(option: str = "") -> Path:
    """Return the absolute data root: the option, else `$FER_DATA`, else `../datasets` if there, else `./datasets`."""
    chosen = option or os.environ.get("FER_DATA", "")
    if not chosen:
        # The 2021 project kept its data beside the checkout.
        chosen = "../datasets" if Path("../datasets").is_dir() else "datasets"
    return Path(chosen).expanduser().resolve()


def manifest_path(root: Path, dataset: str) -> Path:
    """Return the place of a prepared set's manifest."""
    return root / "manifests" / f"{dataset}.csv"


def summary_path(root: Path, dataset: str) -> Path:
    """Return the place of what `prepare` found and left out."""
    return root / "manifests" / f"{dataset}.json"


def prepared_names(root: Path) -> list[str]:
    """Return the names of the sets prepared under a data root, sorted."""
    return sorted(path.stem for path in (root / "manifests").glob("*.csv"))


@contextmanager
def locked(root: Path, dataset: str) -> Iterator[None]:
    """Hold a data set's lock, so that two processes do not write the same files."""
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{dataset}.lock"):
        yield


@contextmanager
def full_disk_said(root: Path) -> Iterator[None]:
    """Turn a full disk into one sentence.

    Raises:
        DataError: No space is left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(f"no space left under {root}: nothing half-written was kept") from None
