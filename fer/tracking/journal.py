"""Read what a spool on the disk says: its head, its journal, and what is delivered of that."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer.errors import DataError, quoted_path
from fer.portable.json_files import read_json

SPOOL = "spool"
"""Folder of a run's spool, beside its checkpoints."""
HEAD, JOURNAL, DELIVERED = "run.json", "journal.jsonl", "delivered"
"""Its files: what is known of the run, what it recorded, and the numbers of what the store has."""


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


def read_journal(path: Path) -> dict[int, Entry]:
    """Return the entries by number; numbers are missing that a full disk did not take.

    Raises:
        DataError: A line is damaged.
    """
    entries: dict[int, Entry] = {}
    for count, line in enumerate(_whole_lines(path), start=1):
        try:
            number, kind, values = json.loads(line)
            entry = Entry(int(number), str(kind), dict(values))
        except (TypeError, ValueError) as error:
            raise DataError(f"line {count} of {quoted_path(path)} is damaged: {error}") from None
        # Of two lines with one number the first was given up by its writer.
        while entries and next(reversed(entries)) >= entry.number:
            entries.popitem()
        entries[entry.number] = entry
    return entries


def read_delivered(path: Path) -> set[int]:
    """Return the numbers of the entries that need no more delivering."""
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
