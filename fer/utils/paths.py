"""Paths under the data root, names of files, the lock of a data set, and sentences for what a disk refuses."""

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from fer.errors import ConfigError, DataError, quoted_path
from fer.utils.disk import NO_SPACE, free_bytes, megabytes

NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


def resolve_data_root(option: str = "") -> Path:
    """Return the absolute data root: the option, else `$FER_DATA`, else `../datasets` if there, else `./datasets`.

    Raises:
        ConfigError: It is no folder, and none can be made there.
    """
    chosen = option or os.environ.get("FER_DATA", "")
    if not chosen:
        # The 2021 project kept its data beside the checkout.
        chosen = "../datasets" if Path("../datasets").is_dir() else "datasets"
    shown = f"data_root {quoted_path(chosen)}"
    try:
        root = Path(chosen).expanduser().resolve()
        present = next(path for path in (root, *root.parents) if path.exists())
    # No such user's home, a name that is too long, or a zero byte in it.
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{shown} cannot be a folder: {error}") from None
    if not present.is_dir():
        raise ConfigError(f"{shown} cannot be a folder: {present} is a file")
    # MLflow's store and the manifests are UTF-8 text.
    if printable(str(root)) != str(root):
        raise ConfigError(f"{shown} cannot be recorded: its path is no UTF-8 text in one line")
    return root


def expand_home(path: str | Path) -> Path:
    """Return a path with the home that `~` or `~name` stands for; one that names nobody's home stays as it is."""
    # Unlike Path's, which raises then.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def manifest_path(root: Path, dataset: str) -> Path:
    """Return the path of a prepared set's manifest."""
    return root / "manifests" / f"{dataset}.csv"


def summary_path(root: Path, dataset: str) -> Path:
    """Return the path of the summary of how a set was prepared."""
    return root / "manifests" / f"{dataset}.json"


def contact_sheet_path(root: Path, dataset: str) -> Path:
    """Return the path of the contact sheet of a set whose pictures may not be shown, and which no run holds."""
    return root / "contact_sheets" / f"{dataset}.png"


def prepared_datasets(root: Path) -> list[str]:
    """List the names of the sets with a manifest under a data root, sorted."""
    return sorted(path.stem for path in (root / "manifests").glob("*.csv"))


def printable(name: str) -> str:
    """Escape what is no UTF-8 or would break a line, so that a file's name can be shown and stored.

    Args:
        name: As Python reads it from the disk, where a byte that is no UTF-8 is a lone surrogate.
    """
    if name.isascii() and name.isprintable():
        return name
    # Nearly every name, of which a table may hold a million.
    return name if name.isprintable() else "".join(map(_escaped, name))


def _escaped(character: str) -> str:
    # Python's `surrogateescape`: byte 0x80 stands as U+DC80.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode()
    return character


@contextmanager
def data_lock(root: Path, dataset: str) -> Iterator[None]:
    """Hold a data set's lock, so that two processes do not write the same files."""
    # In a folder of its own: what stands among the data would be taken for a picture or a manifest.
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{dataset}.lock"):
        yield


@contextmanager
def translate_disk_errors(root: Path) -> Iterator[None]:
    """Turn what a disk refuses into one sentence.

    Raises:
        DataError: The disk is full, permissions are missing, or a file stands where a folder should be.
    """
    try:
        yield
    except OSError as error:
        path = printable(str(error.filename or root))
        reason = error.strerror
        if error.errno in NO_SPACE:
            free = megabytes(free_bytes(root))
            message = f"no space left under {root} ({free} free): free some or choose another data_root; nothing "
            message += "half-written was kept"
        elif error.errno in NO_ACCESS:
            cure = "change its permissions or choose another data_root"
            message = f"{path} may not be read or written ({reason}): {cure}"
        elif error.errno in IN_THE_WAY:
            message = f"{path} is in the way ({reason}): move it or choose another data_root"
        else:
            raise
        raise DataError(message) from None


def model_file_name(address: str) -> str:
    """Return a name for files made of a model: `fer-3` for `models:/fer/3`, `run-0123abcd` for a run's."""
    kind, separator, rest = address.partition(":/")
    if not separator:
        return Path(address).stem or "model"
    return rest.replace("/", "-") if kind == "models" else f"run-{rest[:8]}"


def size_in_megabytes(path: Path) -> str:
    """Return the size of a file, or of all files in a folder, such as `52.1 MB`."""
    files = [path] if path.is_file() else path.rglob("*")
    total = sum(file.stat().st_size for file in files if file.is_file())
    return f"{total / 1e6:,.1f} MB"
