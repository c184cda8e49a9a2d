"""Keep on this machine what a run is to record until the store has it: an ordered journal, and files beside it.

A line of the journal is written to the disk before the training goes on, so that whatever kills the process loses
nothing that was said to be recorded.
"""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fer.errors import DataError, FerError, quoted_path
from fer.tracking.journal import DELIVERED, HEAD, JOURNAL, Entry, read_delivered, read_head, read_journal
from fer.utils.atomic import atomic_path
from fer.utils.disk import naming_full_disk

FILES, LOCK = "files", "lock"
REMOVED = ".spool-removed"
"""Folder of a spool that is being deleted."""
CURE = "give another folder with `output`"
LINKED_BYTES = 16 * 2**20
"""Larger files are linked rather than copied where the disk can do it; nobody edits a model in place."""


class Spool:
    """The journal of one run, open in one process at a time.

    Args:
        folder: Its folder, made if need be.

    Attributes:
        folder: The folder.

    Raises:
        FerError: Another process has it open.
        DataError: The journal or the head is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / FILES).mkdir(parents=True, exist_ok=True)
        # The system releases it when the process dies, however it dies.
        self._process_lock = FileLock(folder / LOCK)
        try:
            self._process_lock.acquire(timeout=0)
        except Timeout:
            raise FerError(f"{quoted_path(folder.parent)} is in use by a process that is still running") from None
        self._lock = threading.Lock()
        self._head_lock = threading.Lock()
        try:
            read_head(folder.parent)
            self._entries = read_journal(folder / JOURNAL)
        except DataError:
            self._process_lock.release()
            raise
        self._delivered = read_delivered(folder / DELIVERED)
        # Unbuffered: what a full disk refused must not follow a later line.
        self._journal = (folder / JOURNAL).open("ab", buffering=0)
        self._acknowledged = (folder / DELIVERED).open("ab", buffering=0)

    @property
    def head(self) -> dict[str, Any]:
        """What is known of the run, such as its name; empty before it is written."""
        return read_head(self.folder.parent)

    def write_head(self, **content: Any) -> None:
        """Add to what is known of the run."""
        # The training and the thread that sends both do.
        with self._head_lock:
            merged = self.head | content
            with atomic_path(self.folder / HEAD) as partial:
                partial.write_text(json.dumps(merged, indent=1), encoding="utf-8")
                # Before it takes the other one's place, or a loss of power could leave neither.
                _force_to_disk(partial)

    def append(self, kind: str, **content: Any) -> int:
        """Write an entry to the disk and return its number."""
        with self._lock:
            entry = Entry(next(reversed(self._entries), -1) + 1, kind, content)
            # With its number, as a signal between here and the list leaves a line that counts for nothing.
            line = json.dumps([entry.number, entry.kind, entry.content]) + "\n"
            try:
                with naming_full_disk(self.folder, CURE):
                    self._write_line(line.encode("utf-8"))
            finally:
                # Even if the disk is full: the store may take it while this process lives.
                self._entries[entry.number] = entry
        return entry.number

    def _write_line(self, line: bytes) -> None:
        """Write a line of the journal to the disk, all of it or nothing."""
        whole = os.fstat(self._journal.fileno()).st_size
        try:
            # A disk that becomes full takes a part.
            while line:
                line = line[self._journal.write(line) :]
            os.fsync(self._journal.fileno())
        except OSError:
            if os.fstat(self._journal.fileno()).st_size > whole:
                os.ftruncate(self._journal.fileno(), whole)
            raise

    def keep(self, path: Path) -> str:
        """Keep a file or folder as it is now, and return its place within the spool."""
        folder = Path(FILES, uuid.uuid4().hex[:12])
        target = self.folder / folder / path.name
        with naming_full_disk(self.folder, CURE):
            target.parent.mkdir()
            if path.is_dir():
                shutil.copytree(path, target, copy_function=link_or_copy)
            else:
                link_or_copy(path, target)
            # Before the journal names it.
            for kept in _files_in(target):
                _force_to_disk(kept)
        return str(folder / path.name)

    def keep_content(self, content: bytes, name: str) -> str:
        """Keep a new file, and return its place within the spool."""
        folder = Path(FILES, uuid.uuid4().hex[:12])
        with naming_full_disk(self.folder, CURE):
            (self.folder / folder).mkdir()
            (self.folder / folder / name).write_bytes(content)
            _force_to_disk(self.folder / folder / name)
        return str(folder / name)

    def kept_bytes(self, entry: Entry) -> int:
        """Return how much the files of an entry hold, as far as they are here."""
        files = [_files_in(self.folder / place) for place in entry.content.get("kept", ())]
        return sum(path.stat().st_size for path in chain.from_iterable(files))

    def entries(self) -> list[Entry]:
        """Return all entries."""
        with self._lock:
            return list(self._entries.values())

    def pending(self) -> list[Entry]:
        """Return the entries that are not delivered, in their order."""
        with self._lock:
            return [entry for entry in self._entries.values() if entry.number not in self._delivered]

    def mark_delivered(self, numbers: Iterable[int]) -> None:
        """Note that entries need no more delivering, and drop their files."""
        with self._lock:
            # Given up while it was sent: it is sent again, and recorded once.
            if self._acknowledged.closed:
                return
            for number in numbers:
                self._delivered.add(number)
                kept = self._entries[number].content.get("kept", ())
                # The disk may be full: what is delivered twice is recorded once.
                with suppress(OSError):
                    self._acknowledged.write(f"{number}\n".encode())
                    # After the note: whatever happens in between, no entry that waits is without its files.
                    if kept:
                        os.fsync(self._acknowledged.fileno())
                    for place in kept:
                        shutil.rmtree((self.folder / place).parent, ignore_errors=True)

    def close(self) -> None:
        """Let other processes open it."""
        with self._lock:
            for file in (self._journal, self._acknowledged):
                # What a full disk has not taken is known already.
                with suppress(OSError):
                    file.close()
        self._process_lock.release()

    def remove(self) -> None:
        """Close it and delete its folder."""
        self.close()
        # Out of sight in one step, as a half of it would be a journal without its files.
        removed = self.folder.with_name(REMOVED)
        shutil.rmtree(removed, ignore_errors=True)
        with suppress(OSError):
            self.folder.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)


def _files_in(path: Path) -> list[Path]:
    """Return a file, or all files of a folder."""
    return [inner for inner in (path, *path.rglob("*")) if inner.is_file()]


def _force_to_disk(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())


def link_or_copy(source: str | Path, target: str | Path, linked_bytes: int = LINKED_BYTES) -> None:
    """Make a file appear at a second place; large ones share their content where the disk can do that.

    Args:
        source: The file.
        target: The second place.
        linked_bytes: From which size on; 0 for files that are never changed but only replaced.
    """
    if Path(source).stat().st_size >= linked_bytes:
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)
