"""Read the lists and tables of labels that downloads come with, naming the place of whatever is wrong."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from fer.errors import DataError

ENCODING = "utf-8-sig"
"""Editors on Windows add a mark of byte order."""
DOWNLOAD_AGAIN = "take it from the download again"
LONGEST_LINE = 1_000_000
"""Characters of a line, of which the longest known, a row of FER2013's table, has 10,000."""


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a list that hold something, each after its place as messages name it.

    Raises:
        DataError: The file is no text.
    """
    with _faults_as_errors(path, "UTF-8 text", DOWNLOAD_AGAIN), path.open(encoding=ENCODING) as file:
        for number, line in enumerate(bounded_lines(file), start=1):
            if line.strip():
                yield f"{path} line {number}", line.strip()


def bounded_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a text, none of which may fill the memory.

    Raises:
        csv.Error: One is too long.
    """
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise csv.Error(f"it has a line of more than {LONGEST_LINE:,} characters")
        yield line


def read_table(path: Path, columns: Sequence[str], header: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a CSV file, one at a time, however large it is.

    Args:
        path: The file.
        columns: The columns wanted; blanks around their names in the file do not count.
        header: Whether the file must begin with the columns' names; else, where it does not, all columns stand in the
            order of `columns` from the first row on.

    Yields:
        The row's place as messages name it, rows counted from 1 below the header, and the cells of `columns`, stripped;
        empty where the row is too short.

    Raises:
        DataError: A column is missing, or the file is no text or no table.
    """
    with open_table(path) as file:
        reader = csv.reader(bounded_lines(file))
        names = [name.strip() for name in next(reader, [])]
        missing = [column for column in columns if column not in names]
        if missing and (header or len(missing) < len(columns)):
            raise DataError(f"{path} has no column {missing[0]!r}: {DOWNLOAD_AGAIN}")
        if missing:
            file.seek(0)
            reader = csv.reader(bounded_lines(file))
            names = list(columns)
        places = [names.index(column) for column in columns]
        for number, row in enumerate(reader, start=1):
            if row:
                yield f"{path} row {number}", [row[place].strip() if place < len(row) else "" for place in places]


@contextmanager
def open_table(path: Path, cure: str = DOWNLOAD_AGAIN) -> Iterator[TextIO]:
    """Open a CSV file for one of Python's readers.

    Args:
        path: The file.
        cure: What to do where it is none.

    Raises:
        DataError: What is read of it is no text or no table.
    """
    with _faults_as_errors(path, "table of UTF-8 text", cure), path.open(newline="", encoding=ENCODING) as file:
        yield file


@contextmanager
def _faults_as_errors(path: Path, kind: str, cure: str) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no {kind} ({error}): {cure}") from None
