"""Where prepared data lie, the lock that lets one process at a time change a set, and what a disk may refuse."""

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from fer.errors import ConfigError, DataError, quoted_path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
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
    try:
        root = Path(chosen).expanduser().resolve()
        present = next(place for place in (root, *root.parents) if place.exists())
        is_folder = present.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"data_root {quoted_path(chosen)} cannot be a folder: {error}") from None
    if not is_folder:
        raise ConfigError(f"data_root {quoted_path(chosen)} cannot be a folder: {present} is a file")
    if printable(str(root)) != str(root):
        raise ConfigError(f"data_root {quoted_path(chosen)} cannot be recorded: its path is no UTF-8 text in one line")
    return root


def manifest_path(root: Path, dataset: str) -> Path:
    """Return the place of a prepared set's manifest."""
    return root / "manifests" / f"{dataset}.csv"


def summary_path(root: Path, dataset: str) -> Path:
    """Return the place of what `prepare` found and left out."""
    return root / "manifests" / f"{dataset}.json"


def prepared_datasets(root: Path) -> list[str]:
    """Return the names of the sets prepared under a data root, sorted."""
    return sorted(path.stem for path in (root / "manifests").glob("*.csv"))


def printable(name: str) -> str:
    """Return a file's name as it can be shown and stored: what is no UTF-8 or would break a line stands as an escape.

    Args:
        name: As Python reads it from the disk, where a byte that is no UTF-8 is a lone surrogate.
    """
    return "".join(map(_shown, name))


def _shown(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        return f"\\x{ord(sign) - 0xDC00:02x}"
    unshown = unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")
    return sign.encode("unicode_escape").decode() if unshown else sign


@contextmanager
def data_lock(root: Path, dataset: str) -> Iterator[None]:
    """Hold a data set's lock, so that two processes do not write the same files."""
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{dataset}.lock"):
        yield


@contextmanager
def translate_disk_errors(root: Path) -> Iterator[None]:
    """Turn a full disk, missing permissions, and a file where a folder should be into one sentence.

    Raises:
        DataError: As said.
    """
    try:
        yield
    except OSError as error:
        place = printable(str(error.filename or root))
        if error.errno in NO_SPACE:
            raise DataError(f"no space left under {root}: nothing half-written was kept") from None
        if error.errno in NO_ACCESS:
            why = f"{place} may not be read or written ({error.strerror})"
            raise DataError(f"{why}: change its permissions or choose another data_root") from None
        if error.errno in IN_THE_WAY:
            raise DataError(f"{place} is in the way ({error.strerror}): move it or choose another data_root") from None
        raise


def model_file_name(address: str) -> str:
    """Return a name for files made of a model: `fer-3` for `models:/fer/3`, `run-0123abcd` for a run's."""
    kind, separator, rest = address.partition(":/")
    if not separator:
        return Path(address).stem or "model"
    if kind == "models":
        return rest.replace("/", "-")
    return f"run-{rest[:8]}"


def size_in_megabytes(path: Path) -> str:
    """Return the size of a file, or of all files in a folder, such as `52.1 MB`."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    total = sum(file.stat().st_size for file in files)
    return f"{total / 1e6:,.1f} MB"
