"""Read anybody's own pictures: folders named after classes, with or without splits, or a table (CSV) of paths."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer.data.datasets.base import WrongFolder
from fer.data.datasets.class_names import expression_of
from fer.errors import DataError, quoted
from fer.utils.paths import printable

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


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file that somebody has labelled.

    Attributes:
        path: The file.
        label: The class, as its owner calls it.
        source_name: Its path in the download.
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
        return _read_table(source), f"a table, {source.name}"
    base = _without_wrapping(source)
    folders = _folders(base)
    splits = [folder for folder in folders if folder.name.casefold() in SPLIT_OF]
    if splits:
        files: list[LabelledFile] = []
        for folder in splits:
            files += _of_classes(source, _folders(folder), SPLIT_OF[folder.name.casefold()])
        ignored = ", ".join(folder.name for folder in folders if folder not in splits)
        described = f"class folders in {', '.join(folder.name for folder in splits)}"
        return files, f"{described}; not read: {ignored}" if ignored else described
    tables = sorted(path for path in base.glob("*.csv") if not path.name.startswith("."))
    # Beside a table, folders with other names are merely where its pictures lie.
    if len(tables) == 1 and not any(expression_of(folder.name) for folder in folders):
        return _read_table(tables[0]), f"a table, {tables[0].name}"
    files = list(_of_classes(source, folders, ""))
    if files:
        return files, "class folders"
    found = f"{len(tables)} tables, of which one is to be the source" if tables else "no class folders and no CSV"
    raise WrongFolder(f"{source} holds {found}: a set of your own is folders such as happy/ and sad/, or a CSV")


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


def _of_classes(source: Path, folders: list[Path], split: str) -> Iterator[LabelledFile]:
    """Yield the files of class folders, at any depth."""
    for folder in folders:
        for parent, inside, names in os.walk(folder):
            inside.sort()
            for name in sorted(names):
                # Editors leave backups that end in "~".
                if name.startswith(".") or name.endswith("~") or name.casefold() in NO_PICTURES:
                    continue
                path = Path(parent, name)
                yield LabelledFile(path, folder.name, path.relative_to(source).as_posix(), split)


def _read_table(table: Path) -> list[LabelledFile]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            # Spreadsheets of half the world write semicolons.
            reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count))
            columns = _columns(table, list(reader.fieldnames or ()))
            # The header is line 1 for people.
            return [_parse_row(table, number, row, columns) for number, row in enumerate(reader, start=2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is no table of UTF-8 text ({error}): save it as CSV in UTF-8") from None


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


def _parse_row(table: Path, number: int, row: dict[str, str], columns: dict[str, str]) -> LabelledFile:
    cells = {column: (row[name] or "").strip() for column, name in columns.items()}
    where = f"{table} line {number}"
    for column in ("path", "label"):
        if not cells[column]:
            raise DataError(f"{where} has no {column}")
    split = ""
    if "split" in columns:
        split = SPLIT_OF.get(cells["split"].casefold(), "")
        if not split:
            raise DataError(f"{where}: split {quoted(cells['split'])} is none of train, validation and test")
    path = Path(cells["path"]).expanduser()
    name = printable(path.as_posix())
    # Joining an absolute path gives that path.
    return LabelledFile(table.parent / path, cells["label"], name, split, printable(cells.get("person", "")))
