"""The table of a prepared set's images, its digest, and the checks its splits must pass."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from functools import cached_property
from pathlib import Path

from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of
from fer.portable.framing import Frame, read_frame

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class ImageRow:
    """One image of a prepared set.

    Attributes:
        path: Place under the data root, such as `train/raf/4/train_00001_aligned.jpg`.
        expression: One of the seven names.
        split: `train`, `validation` (its files lie under `train/`) or `test`.
        person: Identity where the set tells it, such as `F01`; else empty.
        angle: Camera angle where the set tells it (KDEF: FL HL S HR FR); else empty.
        session: Recording session where the set tells it; else empty.
        sha256: Hash of the file's bytes.
        bytes: The file's size.
        width: Width in pixels as displayed.
        height: Height in pixels as displayed.
        source_name: Place in the download.
        notes: What was repaired or converted.
        votes: The annotators' votes, where the set has them; its own file says in which order.
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
            ValueError: The frame is none of such a picture.
        """
        return read_frame(self.frame, max(self.width, self.height))


@dataclass(frozen=True)
class Manifest:
    """A prepared data set as a table of images, ordered by path."""

    dataset: str
    images: tuple[ImageRow, ...]

    @cached_property
    def digest(self) -> str:
        """Content digest, 36 hexadecimal characters (MLflow's limit): images, frames, labels, splits and identities."""
        content = hashlib.sha256(self.dataset.encode())
        for row in self.images:
            key: tuple[str, ...] = (row.path, row.expression, row.split, row.person, row.angle, row.session, row.sha256)
            if row.frame:
                key += (row.frame,)
            content.update("\x1f".join(key).encode() + b"\n")
        return content.hexdigest()[:36]

    def of(self, *splits: str) -> "Manifest":
        """Return the part of the manifest in these splits."""
        return Manifest(self.dataset, tuple(row for row in self.images if row.split in splits))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return images per split and expression, zeros included, for the splits that occur."""
        found = Counter((row.split, row.expression) for row in self.images)
        present = [split for split in SPLITS if any(row.split == split for row in self.images)]
        return {split: {name: found[split, name] for name in EXPRESSIONS} for split in present}

    def write(self, path: Path) -> None:
        """Write the table as CSV, atomically."""
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(astuple(row) for row in self.images)
        partial.replace(path)

    def records(self) -> list[dict[str, str | int]]:
        """Return the rows as dicts, for a data frame."""
        return [asdict(row) for row in self.images]


_COLUMNS = tuple(item.name for item in fields(ImageRow))
_WHOLE_NUMBERS = {item.name for item in fields(ImageRow) if item.type is int}


def folder_of(dataset: str, split: str, expression: str) -> str:
    """Return the place of an image's folder under the data root, such as `train/raf/4`."""
    part = "test" if split == "test" else "train"
    return f"{part}/{dataset}/{code_of(expression)}"


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that `prepare` wrote; the data set's name is the file's.

    Raises:
        DataError: The file is damaged or of another version.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            if tuple(next(reader, ())) != _COLUMNS:
                raise DataError(f"{path} is no manifest of this version: run prepare again for {path.stem!r}")
            rows = tuple(_row(line, path.stem) for line in reader)
        except (ValueError, csv.Error):
            raise DataError(f"{path} is damaged: run prepare again for {path.stem!r}") from None
    return Manifest(path.stem, rows)


def _row(line: list[str], dataset: str) -> ImageRow:
    values = dict(zip(_COLUMNS, line, strict=True))
    if values["expression"] not in EXPRESSIONS or values["split"] not in SPLITS:
        raise ValueError
    # The tree tells split and expression too: a table edited by hand would contradict it.
    folder, _, name = values["path"].rpartition("/")
    if folder != folder_of(dataset, values["split"], values["expression"]) or name in ("", ".", ".."):
        raise ValueError
    row = ImageRow(**{key: int(text) if key in _WHOLE_NUMBERS else text for key, text in values.items()})  # type: ignore[arg-type]
    row.square()  # raises where the frame is damaged
    return row


def person_overlap(images: Iterable[ImageRow]) -> dict[str, set[str]]:
    """Return the people who stand in more than one split, each with those splits."""
    splits: dict[str, set[str]] = {}
    for row in images:
        if row.person:
            splits.setdefault(row.person, set()).add(row.split)
    return {person: where for person, where in splits.items() if len(where) > 1}


def validation_names(labelled: Sequence[tuple[str, str]], share: float = VALIDATION_SHARE) -> set[str]:
    """Choose a stratified validation part of a training set without identities.

    The choice ranks names by their hash, so it is the same on every machine and hardly changes when some images are
    left out.

    Args:
        labelled: (name, expression) of every training image.
        share: Part of each class to choose, rounded, at least one of a class of two or more.

    Returns:
        The chosen names.
    """
    chosen: set[str] = set()
    for expression in EXPRESSIONS:
        names = [name for name, label in labelled if label == expression]
        ranked = sorted(names, key=lambda name: hashlib.sha256(f"validation/{name}".encode()).digest())
        count = max(round(share * len(ranked)), 1) if len(ranked) > 1 else 0
        chosen.update(ranked[:count])
    return chosen
