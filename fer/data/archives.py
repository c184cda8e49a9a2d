"""Recognise, unpack and read zip and tar archives, refusing damaged and malicious ones in a sentence."""

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
from threading import Lock

from fer.errors import LONGEST_QUOTE, DataError, shortened
from fer.portable.images import UnusableImage
from fer.portable.memory import SMALL_FILE
from fer.utils.disk import NO_SPACE
from fer.utils.paths import NO_ACCESS, printable

# A KeyError is a link to a member that does not exist, an IndexError a member without a name.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    LookupError,
)
BLOCK = 2**20
"""Bytes read at a time."""
ENCRYPTED = 1
"""The bit of a zip member's flags that says so."""


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or tar archive, by its content."""
    try:
        return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
    except (EOFError, zlib.error):
        return True  # compressed, and broken off at once: unpacking says so


def unpack(archive: Path, folder: Path) -> None:
    """Extract a zip or tar archive into a folder.

    Raises:
        DataError: A member would be written outside the folder or is no file, or the archive is damaged or encrypted.
        OSError: There is no room for what the archive says it holds.
    """
    with _translate_errors(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                # Before anything is written: a small archive may unpack to more than any disk holds.
                _require_room(sum(member.file_size for member in zipped.infolist()), folder)
                for member in zipped.infolist():
                    _refuse_climbing(archive, member.filename)
                zipped.extractall(folder)
            return

        def check_member(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
            _refuse_climbing(archive, member.name)
            # A compressed tar tells its members one by one, so the room for all cannot be checked beforehand.
            _require_room(member.size, folder)
            return tarfile.data_filter(member, path)

        with tarfile.open(archive) as tar:
            tar.extractall(folder, _forwards(tar), filter=check_member)
            _check_end(tar)


class ZippedFiles:
    """The files of a zip archive, read one by one where they lie; the list of them is read once.

    Several threads may read at once.

    Args:
        archive: The archive.

    Raises:
        DataError: It is damaged or encrypted, or a member would be written outside a folder it were unpacked into.
    """

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self._lock = Lock()
        with _translate_errors(archive):
            # Closed with the last of those that read from it.
            self._zip = zipfile.ZipFile(archive)
            for member in self._zip.infolist():
                _refuse_climbing(archive, member.filename)
                if member.flag_bits & ENCRYPTED:
                    raise RuntimeError(f"{_shown(member.filename)} is encrypted")

    def names(self) -> list[str]:
        """List the files' paths in the archive."""
        return [member.filename for member in self._zip.infolist() if not member.filename.endswith("/")]

    def read(self, name: str) -> bytes:
        """Return a picture's content.

        Raises:
            DataError: The archive is damaged.
            UnusableImage: The file is larger than faces are that come in archives within a download.
        """
        size = self._zip.getinfo(name).file_size
        # Many threads read at once, each of which keeps what it has read until its picture may be decoded.
        if size > SMALL_FILE:
            raise UnusableImage(f"huge file of {size} bytes")
        # `zipfile` counts its open members without a lock of its own, and closes the archive when it miscounts.
        with self._lock, _translate_errors(self.archive):
            return self._zip.read(name)


@contextmanager
def _translate_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except tarfile.FilterError as error:
        message = f"holds what may not be unpacked ({_shown(error)}): it was not unpacked"
    except RuntimeError as error:
        # Encrypted, or compressed in a way that Python does not know.
        message = f"cannot be unpacked here ({_shown(error)}): unpack it and pass its folder"
    except DAMAGE as error:
        message = f"is damaged ({_shown(error)}): download it again"
    except OSError as error:
        # Whatever else the system says comes from names or places that a sound archive does not hold.
        if error.errno in (*NO_SPACE, *NO_ACCESS):
            raise
        message = f"is damaged ({_shown(error.strerror or error)}): download it again"
    else:
        return
    raise DataError(f"{archive} {message}")


def _shown(text: object) -> str:
    """Return what an archive or its reader says as a message tells it."""
    return shortened(printable(str(text)), 2 * LONGEST_QUOTE)


def _forwards(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar, which `tarfile` would follow for ever where a size below 0 leads back.

    Raises:
        ReadError: One does.
    """
    end = -1
    for member in tar:
        if member.size < 0 or member.offset <= end:
            raise tarfile.ReadError("a member has no possible size")
        end = member.offset
        yield member


def _require_room(size: int, folder: Path) -> None:
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
        raise DataError(f"{archive} would write outside its folder ({_shown(name)}): it was not unpacked")
