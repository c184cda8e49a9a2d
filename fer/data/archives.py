"""Recognise and unpack zip and tar archives, refusing damaged and malicious ones in a sentence."""

import errno
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fer.errors import DataError
from fer.utils.paths import printable

DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, KeyError)
"""What Python's readers raise on broken content; a KeyError is a link to a member that does not exist."""
BAD_CONTENT = (errno.EINVAL, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""What the system says of a place before an archive's beginning, and of names that cannot stand beside each other."""
BLOCK = 2**20
"""Bytes read at a time."""


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or tar archive, by its content."""
    try:
        return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
    except (EOFError, zlib.error):
        return True  # compressed, and broken off at once: unpacking says so


def unpack(archive: Path, folder: Path) -> None:
    """Extract a zip or tar archive into a folder.

    Raises:
        DataError: A member would be written outside the folder or is no file, the archive is damaged or encrypted, or
            there is no room for what it says it holds.
    """
    with _translate_errors(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _check_zip(archive, zipped.infolist(), folder)
                zipped.extractall(folder)
            return

        def check_member(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
            _refuse_climbing(archive, member.name)
            # A compressed tar tells its members one by one, so the room for all cannot be checked beforehand.
            if member.size > shutil.disk_usage(path).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return tarfile.data_filter(member, path)

        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter=check_member)
            _check_end(tar)


@contextmanager
def _translate_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except tarfile.SpecialFileError as error:
        message = f"holds what is no file ({error}): it was not unpacked"
    except tarfile.FilterError as error:
        message = f"would write outside its folder ({error}): it was not unpacked"
    except NotImplementedError as error:
        message = f"cannot be unpacked here ({error}): unpack it and pass its folder"
    except DAMAGE as error:
        message = f"is damaged ({printable(str(error))}): download it again"
    except OSError as error:
        # Without a number it comes from a reader, not from the system.
        if error.errno is not None and error.errno not in BAD_CONTENT:
            raise
        message = f"is damaged ({error.strerror or error}): download it again"
    else:
        return
    raise DataError(f"{archive} {message}")


def _check_zip(archive: Path, zipped: list[zipfile.ZipInfo], folder: Path) -> None:
    for member in zipped:
        _refuse_climbing(archive, member.filename)
        encrypted = member.flag_bits & 1
        if encrypted:
            raise DataError(f"{archive} is encrypted: unpack it and pass its folder")
    # Before anything is written: a small archive may unpack to more than any disk holds.
    size = sum(member.file_size for member in zipped)
    free = shutil.disk_usage(folder).free
    if size > free:
        room = f"only {free / 1e6:,.1f} MB are free under {folder.parent}"
        raise DataError(f"{archive} unpacks to {size / 1e6:,.1f} MB, but {room}: nothing was unpacked")


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuse a tar whose last readable member is not its last: `tarfile` takes a damaged header for the end.

    Raises:
        ReadError: What follows is not empty blocks, or there are none.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    ended = False
    # Reading on to the end also has a compressed file's checksum verified.
    while block := tar.fileobj.read(BLOCK):
        if block.strip(b"\0"):
            raise tarfile.ReadError("a member's header cannot be read")
        ended = True
    if not ended:
        raise tarfile.ReadError("it breaks off")


def _refuse_climbing(archive: Path, name: str) -> None:
    # zipfile would quietly put such a member elsewhere; whoever made it meant no good, so nothing is unpacked.
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{archive} would write outside its folder ({printable(name)}): it was not unpacked")
