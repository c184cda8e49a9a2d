"""Manifest of a prepared data set: its table of images, and their digest."""

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import product
from pathlib import Path

from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of
from fer.portable.framing import Frame, read_frame
from fer.utils.compact_rows import CompactRows

FORMAT = "2"
"""Version of the manifest file, the last cell of every row."""
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of a prepared set.

    Attributes:
        path: Path under the data root, such as `train/raf/4/train_00001_aligned.jpg`.
        expression: One of the seven names.
        split: `train`, `validation` (its files lie under `train/`) or `test`.
        person: Identity where the set tells it, such as `F01`; else empty.
        angle: Camera angle where the set tells it (KDEF: FL HL S HR FR); else empty.
        session: Recording session where the set tells it; else empty.
        sha256: Hash of the file's bytes.
        bytes: The file's size.
        width: Width in pixels as displayed.
        height: Height in pixels as displayed.
        source_name: Path in the download.
        notes: What was repaired or converted.
        votes: The annotators' votes as `name:number` pairs, such as `neutral:6 sadness:3 unknown:1`, where the set has
            them. They are no part of the digest.
        frame: The square to cut out: centre x, centre y, side and clockwise rotation in degrees, in pixels of the
            picture as displayed; empty where the whole picture is stretched to a square.
        framed: How the frame was chosen, such as `detected`; empty where the set comes framed or framing is none.
        landmarks: x and y of the eyes, the nose and the mouth's corners, where a face was detected.
        detector: What detected it, and with which score.
    """

    path: str
    expression: str
    split: str
    person: str
    angle: str
    session: str
    sha256: str
    bytes: int
    width: int
    height: int
    source_name: str
    notes: str
    votes: str = ""
    frame: str = ""
    framed: str = ""
    landmarks: str = ""
    detector: str = ""

    def square(self) -> Frame | None:
        """Return the frame; None for the whole picture.

        Raises:
            ValueError: The frame cannot be one of such a picture.
        """
        return read_frame(self.frame, max(self.width, self.height))

    def distribution(self) -> tuple[float, ...] | None:
        """Return the votes as fractions of those for the seven expressions, in the order of `EXPRESSIONS`.

        Returns:
            Seven numbers in [0, 1] that sum to 1; None where there are no votes, or all went to something else.

        Raises:
            ValueError: The votes are damaged.
        """
        votes = read_votes(self.votes)
        counted = [votes.get(name, 0.0) for name in EXPRESSIONS]
        total = sum(counted)
        return tuple(count / total for count in counted) if total else None


_HEADER = [*(field.name for field in fields(ImageRow)), "format"]
_DIGESTED = ("path", "expression", "split", "person", "angle", "session", "sha256")
_PATH, _EXPRESSION, _SPLIT, _VOTES, _FRAME = map(_HEADER.index, ("path", "expression", "split", "votes", "frame"))
_NUMBERS = slice(_HEADER.index("bytes"), _HEADER.index("height") + 1)


@dataclass(frozen=True, init=False)
class Manifest:
    """A prepared data set as a table of images, ordered by path; a million of them do not fill the memory."""

    dataset: str
    images: CompactRows[ImageRow]

    def __init__(self, dataset: str, images: Iterable[ImageRow]) -> None:
        rows = images if isinstance(images, CompactRows) else CompactRows(ImageRow, images)
        self.__dict__.update(dataset=dataset, images=rows)  # as a frozen dataclass

    @cached_property
    def digest(self) -> str:
        """Content digest, 36 hexadecimal characters (MLflow's limit): images, frames, labels, splits and identities."""
        content = hashlib.sha256(self.dataset.encode())
        for *key, frame in self.images.columns(*_DIGESTED, "frame"):
            if frame:
                key.append(frame)
            # A separator that no value holds keeps neighbouring values from running into each other.
            content.update("\x1f".join(key).encode() + b"\n")
        return content.hexdigest()[:36]

    def of(self, *splits: str) -> "Manifest":
        """Return the part of the manifest in these splits."""
        return Manifest(self.dataset, self.images.where("split", splits))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the images per split and expression, zeros included, for the splits that occur."""
        counted = Counter(self.images.columns("split", "expression"))
        occurring = {split for split, _ in counted}
        splits = [split for split in SPLITS if split in occurring]
        return {split: {name: counted[split, name] for name in EXPRESSIONS} for split in splits}

    def person_overlap(self) -> dict[str, set[str]]:
        """Return the people who stand in more than one split, each with those splits."""
        splits: dict[str, set[str]] = {}
        for person, split in self.images.columns("person", "split"):
            if person:
                splits.setdefault(person, set()).add(split)
        return {person: where for person, where in splits.items() if len(where) > 1}

    def write(self, path: Path) -> None:
        """Write the table as CSV."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_HEADER)
            writer.writerows([*cells, FORMAT] for cells in self.images.cells())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that `prepare` wrote; the data set's name is the file's.

    Raises:
        DataError: The file is damaged or of another version.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.reader(file)
            if next(table, None) != _HEADER:
                raise ValueError
            rows = CompactRows.of_cells(ImageRow, _checked(table, path.stem))
    except (ValueError, csv.Error):
        cure = f"run prepare again for {path.stem!r}"
        raise DataError(f"{path} is damaged or of another version of fer: {cure}") from None
    return Manifest(path.stem, rows)


def _checked(table: Iterable[list[str]], dataset: str) -> Iterator[list[str]]:
    """Yield the cells of a manifest's rows without the version.

    Raises:
        ValueError: A row is damaged.
    """
    folders = {key: f"{folder_of(dataset, *key)}/" for key in product(SPLITS, EXPRESSIONS)}
    for cells in table:
        # The version comes last, so that a row cut short has none.
        if len(cells) != len(_HEADER) or cells.pop() != FORMAT:
            raise ValueError
        # The path tells split and expression too: a table edited by hand would contradict it.
        folder = folders.get((cells[_SPLIT], cells[_EXPRESSION]))
        if folder is None or not cells[_PATH].startswith(folder):
            raise ValueError
        name = cells[_PATH][len(folder) :]
        if "/" in name or name in ("", ".", ".."):
            raise ValueError
        _, width, height = map(int, cells[_NUMBERS])
        # These raise where a cell is damaged.
        read_frame(cells[_FRAME], max(width, height))
        read_votes(cells[_VOTES])
        yield cells


def votes_text(votes: Mapping[str, float]) -> str:
    """Return annotators' votes as a manifest holds them.

    Args:
        votes: Number or fraction of the votes by name, which may be no expression's, such as `unknown`.

    Raises:
        ValueError: A name holds a blank or a colon, or a number is negative or infinite.
    """
    text = " ".join(f"{name}:{number:.6g}" for name, number in votes.items() if number != 0)
    read_votes(text)
    return text


def read_votes(text: str) -> dict[str, float]:
    """Return a manifest's votes by name, all above 0.

    Raises:
        ValueError: The text is not what `votes_text` writes.
    """
    votes: dict[str, float] = {}
    for pair in text.split(" ") if text else ():
        name, _, number = pair.partition(":")
        votes[name] = float(number)
        # What is neither above 0 nor below infinity may be no number at all.
        if not (name and 0 < votes[name] < math.inf):
            raise ValueError(f"no votes: {text}")
    if len(votes) != text.count(":"):
        raise ValueError(f"a name stands twice among the votes: {text}")
    return votes


@cache
def folder_of(dataset: str, split: str, expression: str) -> str:
    """Return an image's folder under the data root, such as `train/raf/4`."""
    part = "test" if split == "test" else "train"
    return f"{part}/{dataset}/{code_of(expression)}"
