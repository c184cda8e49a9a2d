"""What a data set's own module declares: where its pictures are, what they show, and what its licence allows."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from fer.data.framing import Framing
from fer.errors import DataError
from fer.portable.detection import Box

SEARCH_DEPTH = 3
"""Levels below a download's folder at which its pictures may begin: archives are packed with folders around them."""
MAX_SEARCHED = 2000
"""Folders looked into; who names a whole disk as the download should not wait for hours."""


class WrongFolder(DataError):
    """A folder does not hold the data set at all; of an unpacked archive, a folder further down may."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A labelled picture of a download, not yet checked.

    Attributes:
        path: The file.
        expression: One of the seven names.
        split: `train`, `validation` or `test`.
        name: File name in the prepared tree, unique within expression and split.
        source_name: Path in the download, relative to its folder.
        person: Identity, if known.
        angle: Camera angle, if known.
        session: Recording session, if known.
        notes: What was repaired.
        votes: The annotators' votes as `votes_text` writes them, where the set has them.
        box: Left, top, right and bottom of the face in pixels of the picture as displayed, where the set tells them.
            Then not the file is copied but what is around the box, as JPEG: `name` ends in `.jpg`, and a file may be
            the path of several candidates, best one after the other.
        read: Returns the picture's file content where `path` holds many pictures; None where it is the picture.
    """

    path: Path
    expression: str
    split: str
    name: str
    source_name: str
    person: str = ""
    angle: str = ""
    session: str = ""
    notes: str = ""
    votes: str = ""
    box: Box | None = None
    # No content: two scans of one download make two functions, but the same candidates.
    read: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)


@dataclass
class Scan:
    """What a download holds.

    Attributes:
        candidates: Its labelled pictures.
        left_out: (name, reason) of what is left out.
        understood: How the download was read, shown before anything is written; empty where its layout is fixed.
    """

    candidates: list[Candidate] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    understood: str = ""


@dataclass(frozen=True)
class DataSet:
    """A data set the project can prepare.

    Attributes:
        name: Its name in options, paths and metrics.
        title: Its name in sentences.
        scan: Reads the download's folder. Raises DataError when the folder is not this set's.
        folders: Usual paths of the download, under the data root or absolute; `~` is the home folder.
        instructions: One sentence: how to get it.
        terms: What its licence allows, in a few words.
        showable: Whether its pictures may appear in figures and reports.
        native_side: Typical longest side of its pictures in pixels; packing never enlarges beyond it.
        expected_counts: Images per folder (`train` or `test`) and expression in the complete set; empty if unknown.
        has_train: Whether it has training images; else it is a test set.
        person_split: Whether a model that saw the set is tested on its test people only, and any other on all of it.
        angle_groups: Name of the group each camera angle belongs to; empty for sets without angles.
        has_duplicates: Whether the set is known to hold pixel-identical copies, of which one is kept.
        framing: How its pictures are brought to the common frame; None for a set whose pictures come framed.
        drawn: Whether its faces are drawn, hence without terms and starting from scratch.
        credits: The list (CSV) of the pictures whose authors must be credited wherever they are shown; None where none
            need be.
        takes_table: Whether its source may be a table (CSV) of the pictures.
        options: What the scan depends on besides the download.
        download: Downloads the set under the data root and returns its path; None where a person has to ask for it.
    """

    name: str
    title: str
    scan: Callable[[Path], Scan]
    folders: tuple[str, ...]
    instructions: str
    terms: str
    showable: bool
    native_side: int
    expected_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    has_train: bool = True
    person_split: bool = False
    angle_groups: Mapping[str, str] = field(default_factory=dict)
    has_duplicates: bool = False
    framing: Framing | None = None
    drawn: bool = False
    credits: Path | None = None
    takes_table: bool = False
    options: str = ""
    download: Callable[[Path], Path] | None = None

    def is_table(self, source: Path) -> bool:
        """Return whether a source is a table that the set takes."""
        return self.takes_table and source.suffix.casefold() == ".csv" and source.is_file()

    def default_paths(self, root: Path) -> list[Path]:
        """Return the usual paths of the download, given the data root."""
        # Joining an absolute path gives that path.
        return [root / Path(folder).expanduser() for folder in self.folders]


def files_of_2021_tree(source: Path, name: str) -> list[tuple[Path, str, int]]:
    """List the pictures of a tree the 2021 project prepared.

    Args:
        source: The folder that holds `train` and `test`.
        name: The set's name in 2021, such as `raf_basic`.

    Returns:
        (file, `train` or `test`, expression code) of each.
    """
    files = []
    for part in ("train", "test"):
        for code in range(1, 8):
            for path in sorted((source / part / name / str(code)).glob("*")):
                # Editors leave backups that end in "~".
                if not path.name.endswith("~"):
                    files.append((path, part, code))
    return files


def find_folder(source: Path, holds: Callable[[Path], bool]) -> Path | None:
    """Return the nearest folder, the download's own or one below it, of which `holds` is true; None where none is."""
    level = [source]
    for _ in range(SEARCH_DEPTH + 1):
        nearest = next(filter(holds, level), None)
        if nearest:
            return nearest
        level = list(chain.from_iterable(map(subfolders, level)))[:MAX_SEARCHED]
    return None


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted, without hidden ones and the one that macOS adds to archives."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    # Another user's, or no folder at all.
    except OSError:
        return []
    return [folder / name for name in sorted(names) if not name.startswith(".") and name != "__MACOSX"]
