"""Read anybody's own pictures: folders named after classes, with or without splits, or a table (CSV) of paths."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer.data.datasets.base import WrongFolder
from fer.data.datasets.class_names import expression_of
from fer.data.datasets.tables import bounded_lines, open_table
from fer.errors import DataError, quoted
from fer.utils.paths import expand_home, printable

SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Splits by the names of folders, and by words in a table's column."""
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image", "picture"),
    "label": ("label", "expression", "emotion", "class"),
    "split": ("split", "subset", "usage"),
    "person": ("person", "subject", "identity", "person_id", "subject_id"),
}
"""Names of a table's columns; of each kind the first that is there counts. Path and label must be."""
NO_PICTURES = ("thumbs.db", "desktop.ini")
"""Files that systems leave in folders; in lower case."""
SHOWN = 5
"""Files and folders of those that are not read whose names are told."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file that somebody has labelled.

    Attributes:
        path: The file.
        label: The class, as its owner calls it.
        source_name: Its path from where the set begins: the folder of its splits or classes, or of its table.
        split: `train`, `validation`, `test`, or nothing where the owner has not split the set.
        person: Who is seen; empty where it is not told.
    """

    path: Path
    label: str
    source_name: str
    split: str = ""
    person: str = ""


def read_source(source: Path) -> tuple[list[LabelledFile], str]:
    """List the labelled files of a folder or a table.

    Args:
        source: A CSV file, or a folder with one, or with class folders, or with folders such as `train` and `test` of
            class folders.

    Returns:
        The files in the order of their names, and how the source was understood.

    Raises:
        WrongFolder: It holds neither.
        DataError: The table cannot be read.
    """
    if source.is_file():
        return _read_table(source)
    base = _without_wrapping(source)
    folders = _folders(base)
    splits = [folder for folder in folders if folder.name.casefold() in SPLIT_OF]
    if any(map(_folders, splits)):
        files: list[LabelledFile] = []
        for folder in splits:
            files += _of_classes(base, _folders(folder), SPLIT_OF[folder.name.casefold()])
        unread = [*(folder for folder in folders if folder not in splits), *_loose_files(base, *splits)]
        return files, f"class folders in {', '.join(folder.name for folder in splits)}{_not_read(base, unread)}"
    tables = sorted(path for path in base.glob("*.csv") if not path.name.startswith("."))
    # Beside a table, folders with other names are merely where its pictures lie.
    if len(tables) == 1 and not any(expression_of(folder.name) for folder in folders):
        return _read_table(tables[0])
    files = [] if splits else list(_of_classes(base, folders, ""))
    if files:
        return files, f"class folders{_not_read(base, _loose_files(base))}"
    present = f"{len(tables)} tables, of which one is to be the source" if tables else "no class folders and no CSV"
    raise WrongFolder(f"{source} holds {present}: a set of your own is folders such as happy/ and sad/, or a CSV")


def _loose_files(*folders: Path) -> list[Path]:
    """List the files that lie in no class folder."""
    loose = []
    for folder in folders:
        loose += sorted(path for path in folder.iterdir() if path.is_file() and not _is_litter(path.name))
    return loose


def _not_read(base: Path, paths: list[Path]) -> str:
    """Return what to say of files and folders that are none of a class's: some of their names, and how many."""
    names = [printable(path.relative_to(base).as_posix()) for path in paths]
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"; not read: {', '.join(names[:SHOWN])}{more}" if names else ""


def _without_wrapping(folder: Path) -> Path:
    """Return the folder in which the set begins, below those that only wrap it, as an archive's often do."""
    while True:
        inside = _folders(folder)
        if len(inside) != 1 or inside[0].name.casefold() in SPLIT_OF or expression_of(inside[0].name):
            return folder
        # What holds files of its own is a class that is called by no known word.
        if not _folders(inside[0]) or any(path.is_file() for path in inside[0].iterdir()):
            return folder
        folder = inside[0]


def _folders(folder: Path) -> list[Path]:
    # macOS adds a folder of its own to every archive.
    inside = (path for path in folder.iterdir() if path.is_dir())
    return sorted(path for path in inside if not path.name.startswith((".", "__MACOSX")))


def _is_litter(name: str) -> bool:
    """Return whether a file is nobody's work: hidden, left by a system, or an editor's backup, which ends in `~`."""
    return name.startswith(".") or name.endswith("~") or name.casefold() in NO_PICTURES


def _refuse(error: OSError) -> None:
    # Passing over what may not be read, as `os.walk` does, would leave pictures out in silence.
    raise error


def _of_classes(base: Path, folders: list[Path], split: str) -> Iterator[LabelledFile]:
    """Yield the files of class folders, at any depth.

    They are named from where the set begins, so that a folder and any archive of it are split alike.
    """
    for folder in folders:
        label = printable(folder.name)
        for parent, inside, names in os.walk(folder, onerror=_refuse):
            inside.sort()
            for name in sorted(names):
                if _is_litter(name):
                    continue
                path = Path(parent, name)
                yield LabelledFile(path, label, path.relative_to(base).as_posix(), split)


def _read_table(table: Path) -> tuple[list[LabelledFile], str]:
    with open_table(table, "save it as CSV in UTF-8") as file:
        header = next(bounded_lines(file), "")
        file.seek(0)
        # Spreadsheets of half the world write semicolons.
        reader = csv.DictReader(bounded_lines(file), delimiter=max(",;\t", key=header.count))
        files, repeated = _parse_rows(table, reader, _columns(table, list(reader.fieldnames or ())))
    return files, f"a table, {table.name}{f'; {repeated:,} of its rows repeat others' if repeated else ''}"


def _columns(table: Path, header: list[str]) -> dict[str, str]:
    """Return a table's own names of the columns of `COLUMNS`."""
    names = {name.strip().casefold(): name for name in header}
    columns = {}
    for column, words in COLUMNS.items():
        present = [names[word] for word in words if word in names]
        if present:
            columns[column] = present[0]
        elif column in ("path", "label"):
            shown = quoted(", ".join(header))
            raise DataError(f"{table} has no column {column!r}: its columns are {shown}; rename one of them")
    return columns


def _parse_rows(table: Path, reader: "csv.DictReader[str]", columns: dict[str, str]) -> tuple[list[LabelledFile], int]:
    """Return a table's files, and how many of its rows repeat another one.

    Raises:
        DataError: A row cannot be read, or says of a file something else than an earlier one.
    """
    files: dict[str, LabelledFile] = {}
    lines: dict[str, int] = {}
    repeated = 0
    for row in reader:
        # Of a row of several lines the last; the header is line 1 for people.
        line = reader.line_num
        file = _parse_row(table, f"{table} line {line}", row, columns)
        name = file.source_name
        first = files.setdefault(name, file)
        # Not the paths: one file may be written in several ways.
        if (first.label, first.split, first.person) != (file.label, file.split, file.person):
            fault = f"{quoted(name)} stands in line {lines[name]} with another label, split or person"
            raise DataError(f"{table} line {line}: {fault}: leave only the right one")
        repeated += name in lines
        lines.setdefault(name, line)
    if not files:
        raise DataError(f"{table} has no rows below its header")
    return list(files.values()), repeated


def _parse_row(table: Path, where: str, row: dict[str, str], columns: dict[str, str]) -> LabelledFile:
    cells = {column: printable((row[name] or "").strip()) for column, name in columns.items()}
    # Of a path as it stands: what is no text in one line is left out for its name.
    written = (row[columns["path"]] or "").strip()
    for column in ("path", "label"):
        if not cells[column]:
            raise DataError(f"{where} has no {column}")
    split = ""
    if "split" in columns:
        split = SPLIT_OF.get(cells["split"].casefold(), "")
        if not split:
            raise DataError(f"{where}: split {quoted(cells['split'])} is none of train, validation and test")
    written = str(expand_home(written))
    # Joining an absolute path gives that path.
    path = table.parent / written
    # Named from the table's folder a file has one name, however it is written and wherever both lie.
    name = os.path.normpath(written)
    if name.startswith((os.sep, os.pardir)):
        name = os.path.relpath(path, table.parent)
    return LabelledFile(path, cells["label"], printable(name.replace(os.sep, "/")), split, cells.get("person", ""))
