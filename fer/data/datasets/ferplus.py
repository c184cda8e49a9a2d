"""FER+: the grey 48x48 faces of FER2013 with ten annotators' votes each.

Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from fer.portable.images import UnusableImage

VOTES = "fer2013new.csv"
PIXELS = "fer2013.csv"
SPLIT_OF = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Order of the votes in the label file and in the manifest's column `votes`."""
SIDE = 48

# Counted on FER2013's pictures after `majority` and without pixel-identical copies.
TRAIN_COUNTS = dict(zip(EXPRESSIONS, (2877, 523, 115, 7917, 3191, 2243, 9657), strict=True))
TEST_COUNTS = dict(zip(EXPRESSIONS, (389, 82, 18, 891, 382, 270, 1089), strict=True))


@dataclass(frozen=True)
class Label:
    """One row of the label file.

    Attributes:
        number: Its row, from 0; the picture's row in `fer2013.csv`.
        name: The picture's name, such as `fer0000000.png`.
        split: `train`, `validation` or `test`.
        votes: Votes in the order of `COLUMNS`.
    """

    number: int
    name: str
    split: str
    votes: tuple[int, ...]


def majority(votes: tuple[int, ...]) -> str | None:
    """Return the expression most annotators agree on, or None.

    Single votes are dropped as outliers; what is left must give one of the seven expressions more than half.

    Args:
        votes: Ten counts in the order of `COLUMNS`.
    """
    counted = [count if count > 1 else 0 for count in votes]
    most = max(counted)
    name = COLUMNS[counted.index(most)]
    return name if 2 * most > sum(counted) and name in EXPRESSIONS else None


def scan(source: Path) -> Scan:
    """Read FER+ from its label file and FER2013's pictures.

    Args:
        source: A folder with `fer2013new.csv` and either `fer2013.csv` or PNG files such as `fer0000000.png` in any
            folder below.

    Raises:
        DataError: The labels or the pictures are missing, or a row cannot be read.
    """
    labels_file, pixels = _first_file(source, VOTES), _first_file(source, PIXELS)
    files = {} if pixels else {path.name: path for path in sorted(source.rglob("fer*.png"))}
    if labels_file is None:
        if pixels or files:
            raise DataError(f"{source} looks like FER2013 without FER+'s labels: it has no {VOTES}")
        raise WrongFolder(f"{source} is not FER+: it has no {VOTES}")
    labels = _read_labels(labels_file)
    if not pixels and not files:
        raise DataError(
            f"{source} has FER+'s labels but no pictures: neither {PIXELS} nor files such as fer0000000.png"
        )
    rows = _row_positions(pixels) if pixels else []
    found = Scan()
    for label in labels.values():
        expression = majority(label.votes)
        if expression is None:
            found.left_out.append((label.name, "no majority for one of the seven expressions"))
            continue
        path, read = files.get(label.name, labels_file.parent / label.name), None
        if pixels:
            if label.number >= len(rows):
                raise DataError(f"{pixels} has {len(rows)} pictures, but {labels_file.name} row {label.number + 1}")
            path, read = pixels, _reader(pixels, rows[label.number])
        votes = " ".join(map(str, label.votes))
        found.candidates.append(
            Candidate(path, expression, label.split, label.name, label.name, votes=votes, read=read)
        )  # fmt: skip
    return found


def _first_file(source: Path, name: str) -> Path | None:
    return next((path for path in sorted(source.rglob(name)) if path.is_file()), None)


def _read_labels(path: Path) -> dict[str, Label]:
    """Return the rows with a name; of a doubled name the last counts."""
    try:
        return _labels(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of UTF-8 text ({error}): take it from the download again") from None


def _labels(path: Path) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"Usage", "Image name", *COLUMNS} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{path} is not FER+'s label file: it has no column {sorted(missing)[0]!r}")
        for number, row in enumerate(reader):
            name = (row["Image name"] or "").strip()
            if not name:
                continue
            try:
                votes = tuple(int(row[column]) for column in COLUMNS)
                labels[name] = Label(number, name, SPLIT_OF[row["Usage"]], votes)
            except (KeyError, TypeError, ValueError):
                raise DataError(f"{path} row {number + 1} ({name}) holds no usage and ten whole numbers") from None
    return labels


def _row_positions(path: Path) -> list[tuple[int, int]]:
    """Return (offset, length) of every picture's line in FER2013's table."""
    return list(_lines(path))[1:]


def _lines(path: Path) -> Iterator[tuple[int, int]]:
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield offset, len(line)
            offset += len(line)


def _reader(path: Path, position: tuple[int, int]) -> Callable[[], bytes]:
    """Return a function that reads one picture of the table as PNG, or raises UnusableImage."""

    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(position[0])
            line = file.read(position[1]).decode("ascii", "replace")
        try:
            (row,) = csv.reader([line.strip()])
            values = np.array(row[1].split(), dtype=np.uint8).reshape(SIDE, SIDE)
        except (IndexError, ValueError, OverflowError, csv.Error):
            raise UnusableImage(f"its row of {PIXELS} is not {SIDE}x{SIDE} numbers from 0 to 255") from None
        content = io.BytesIO()
        Image.fromarray(values).save(content, "PNG")
        return content.getvalue()

    return read


FERPLUS = DataSet(
    name="ferplus",
    title="FER+",
    scan=scan,
    default_paths=lambda root: (root / "ferplus", root / "fer2013"),
    instructions="put FER2013's fer2013.csv (Kaggle) and github.com/microsoft/FERPlus's fer2013new.csv into one folder",
    terms="FER2013: research only, no redistribution of pictures; FER+ labels: MIT",
    showable=False,
    native_side=SIDE,
    expected_counts={"train": TRAIN_COUNTS, "test": TEST_COUNTS},
    has_duplicates=True,
)
