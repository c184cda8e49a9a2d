"""Downloads that are still packed."""

import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from fer.errors import DataError


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or tar archive, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpack(archive: Path, folder: Path) -> None:
    """Extract a zip or tar archive into a folder.

    Raises:
        DataError: A member would land outside the folder, or the archive is damaged.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for name in packed.namelist():
                    _refuse_climbing(archive, name)
                packed.extractall(folder)
        else:
            with tarfile.open(archive) as packed_tar:
                packed_tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise DataError(f"{archive} would write outside its folder ({error}): it was not unpacked") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} is damaged ({error}): download it again") from None


def _refuse_climbing(archive: Path, name: str) -> None:
    # zipfile would quietly put such a member elsewhere; whoever made it meant no good, so nothing is unpacked.
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts:
        raise DataError(f"{archive} would write outside its folder ({name}): it was not unpacked")
