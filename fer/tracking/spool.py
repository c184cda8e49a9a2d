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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fer.errors import DataError, FerError, quoted_path
from fer.portable.json_files import read_json
from fer.utils.atomic import atomic_path
from fer.utils.disk import naming_full_disk

SPOOL = "spool"
"""Folder of a run's spool, beside its checkpoints."""
HEAD, JOURNAL, DELIVERED, FILES = "run.json", "journal.jsonl", "delivered", "files"
LOCK = "lock"
CURE = "give another folder with `output`"
LINKED_BYTES = 16 * 2**20
"""Larger files are linked rather than copied where the disk can do it; nobody edits a model in place."""


@dataclass(frozen=True)
class Entry:
    """One thing to record.

    Attributes:
        number: Its place in the order, from 0.
        kind: What is to be done, a key of `fer.tracking.delivery.KINDS`.
        content: What with; JSON.
    """

    number: int
    kind: str
    content: dict[str, Any]


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
        try:
            read_head(folder.parent)
            self._entries = _read_journal(folder / JOURNAL)
        except DataError:
            self._process_lock.release()
            raise
        self._delivered = _read_delivered(folder / DELIVERED)
        self._journal = (folder / JOURNAL).open("a", encoding="utf-8")
        self._acknowledged = (folder / DELIVERED).open("a", encoding="utf-8")

    @property
    def head(self) -> dict[str, Any]:
        """What is known of the run, such as its name; empty before it is written."""
        return read_head(self.folder.parent)

    def write_head(self, **content: Any) -> None:
        """Add to what is known of the run."""
        merged = self.head | content
        with atomic_path(self.folder / HEAD) as partial:
            partial.write_text(json.dumps(merged, indent=1), encoding="utf-8")
            # Before it takes the other one's place, or a loss of power could leave neither.
            with partial.open("rb") as written:
                os.fsync(written.fileno())

    def append(self, kind: str, **content: Any) -> int:
        """Write an entry to the disk and return its number."""
        with self._lock:
            entry = Entry(len(self._entries), kind, content)
            try:
                with naming_full_disk(self.folder, CURE):
                    # With its number, as a signal between here and the list leaves a line that counts for nothing.
                    self._journal.write(json.dumps([entry.number, entry.kind, entry.content]) + "\n")
                    self._journal.flush()
                    os.fsync(self._journal.fileno())
            finally:
                # Even if the disk is full: the store may take it while this process lives.
                self._entries.append(entry)
        return entry.number

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
        return str(folder / path.name)

    def keep_content(self, content: bytes, name: str) -> str:
        """Keep a new file, and return its place within the spool."""
        folder = Path(FILES, uuid.uuid4().hex[:12])
        with naming_full_disk(self.folder, CURE):
            (self.folder / folder).mkdir()
            (self.folder / folder / name).write_bytes(content)
        return str(folder / name)

    def entries(self) -> list[Entry]:
        """Return all entries."""
        with self._lock:
            return list(self._entries)

    def pending(self) -> list[Entry]:
        """Return the entries that are not delivered, in their order."""
        with self._lock:
            return [entry for entry in self._entries if entry.number not in self._delivered]

    def mark_delivered(self, numbers: Iterable[int]) -> None:
        """Note that entries need no more delivering, and drop their files."""
        with self._lock:
            # Given up while it was sent: it is sent again, and recorded once.
            if self._acknowledged.closed:
                return
            for number in numbers:
                self._delivered.add(number)
                # Not forced to the disk, which may be full: what is delivered twice is recorded once.
                with suppress(OSError):
                    self._acknowledged.write(f"{number}\n")
                    self._acknowledged.flush()
                    # After the note: a process that is killed in between leaves no entry without its files.
                    for kept in self._entries[number].content.get("kept", ()):
                        shutil.rmtree((self.folder / kept).parent, ignore_errors=True)

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
        shutil.rmtree(self.folder, ignore_errors=True)


def spool_folder(folder: Path) -> Path:
    """Return the place of the spool in a run's folder."""
    return folder / SPOOL


def read_head(folder: Path) -> dict[str, Any]:
    """Return what the spool in a run's folder says of the run, whoever has it open; empty where there is none.

    Raises:
        DataError: It is damaged.
    """
    path = spool_folder(folder) / HEAD
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError("it holds no names and values")
    except (OSError, ValueError) as error:
        raise DataError(f"{quoted_path(path)} cannot be read: {error}") from None
    return content


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


def _read_journal(path: Path) -> list[Entry]:
    entries: list[Entry] = []
    for count, line in enumerate(_whole_lines(path), start=1):
        try:
            number, kind, values = json.loads(line)
            entry = Entry(int(number), str(kind), dict(values))
            if not 0 <= entry.number <= len(entries):
                raise ValueError("its number is out of order")
        except (TypeError, ValueError) as error:
            raise DataError(f"line {count} of {quoted_path(path)} is damaged: {error}") from None
        # Of two lines with one number the first was given up by its writer.
        entries[entry.number :] = [entry]
    return entries


def _read_delivered(path: Path) -> set[int]:
    # A line that is damaged names nothing: what it named is delivered again, and recorded once.
    return {int(line) for line in _whole_lines(path) if line.isdigit()}


def _whole_lines(path: Path) -> list[bytes]:
    """Read the lines of a file, without a last one that is cut short, as its process was killed while writing it."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    # Off the file too: what is appended next would become a part of it.
    os.truncate(path, len(whole))
    return whole.splitlines()
