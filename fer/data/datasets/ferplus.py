"""FER+: the grey 48x48 faces of FER2013 with ten annotators' votes each.

Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016.
"""

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.data.manifest import votes_text
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from fer.portable.images import UnusableImage

VOTES = "fer2013new.csv"
PIXELS = "fer2013.csv"
SPLIT_OF = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Columns of the label file with votes, and the names of the votes in the manifest."""
SIDE = 48

# Counted on FER2013's pictures after `majority` and without pixel-identical copies.
TRAIN_COUNTS = dict(zip(EXPRESSIONS, (2877, 523, 115, 7917, 3191, 2243, 9657), strict=True))
TEST_COUNTS = dict(zip(EXPRESSIONS, (389, 82, 18, 891, 382, 270, 1089), strict=True))

ReadPicture = Callable[[], bytes]


class Label(NamedTuple):
    """One row of the label file: its number from 0, which is the picture's row in `fer2013.csv`, and what it says."""

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
    """Scan FER+'s label file and FER2013's pictures.

    Args:
        source: A folder with `fer2013new.csv` and either `fer2013.csv` or PNG files such as `fer0000000.png` in any
            folder below.

    Raises:
        DataError: The labels or the pictures are missing, or a row cannot be read.
    """
    labels_path = _first_file(source, VOTES)
    pixels_path = _first_file(source, PIXELS)
    # Where both forms are at hand, the table is the original.
    files = {} if pixels_path else {path.name: path for path in source.rglob("fer*.png")}
    if labels_path is None:
        if pixels_path or files:
            raise DataError(f"{source} looks like FER2013 without FER+'s labels: it has no {VOTES}")
        raise WrongFolder(f"{source} is not FER+: it has no {VOTES}")
    if not pixels_path and not files:
        missing = f"neither {PIXELS} nor files such as fer0000000.png"
        raise DataError(f"{source} has FER+'s labels but no pictures: {missing}")
    readers = _readers(pixels_path) if pixels_path else []
    result = Scan()
    for number, name, split, votes in _read_labels(labels_path).values():
        expression = majority(votes)
        if expression is None:
            result.left_out.append((name, "no majority for one of the seven expressions"))
            continue
        if pixels_path and number >= len(readers):
            row = f"{labels_path.name} row {number + 1}"
            raise DataError(f"{pixels_path} has {len(readers)} pictures, but {row}")
        candidate = Candidate(
            # A picture that is missing among the files is left out when it is read.
            path=pixels_path or files.get(name, labels_path.parent / name),
            expression=expression,
            split=split,
            name=name,
            source_name=name,
            votes=votes_text(dict(zip(COLUMNS, votes, strict=True))),
            read=readers[number] if pixels_path else None,
        )
        result.candidates.append(candidate)
    return result


def _first_file(source: Path, name: str) -> Path | None:
    return next((path for path in sorted(source.rglob(name)) if path.is_file()), None)


def _read_labels(path: Path) -> dict[str, Label]:
    """Return the labels by name, of a doubled one the last; pictures that are no faces have none."""
    labels = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"Usage", "Image name", *COLUMNS} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path} is not FER+'s label file: it has no column {sorted(missing)[0]!r}")
            for number, row in enumerate(reader):
                name = (row["Image name"] or "").strip()
                if name:
                    labels[name] = _parse_label(number, name, row, path)
    except (UnicodeDecodeError, csv.Error) as error:
        fault = f"is no table of UTF-8 text ({error})"
        raise DataError(f"{path} {fault}: take it from the download again") from None
    return labels


def _parse_label(number: int, name: str, row: dict[str, str], path: Path) -> Label:
    try:
        votes = tuple(int(row[column]) for column in COLUMNS)
        return Label(number, name, SPLIT_OF[row["Usage"]], votes)
    except (KeyError, TypeError, ValueError):
        # Rows count from 1 for people.
        where = f"{path} row {number + 1} ({name})"
        raise DataError(f"{where} holds no usage and ten whole numbers") from None


def _readers(path: Path) -> list[ReadPicture]:
    """Return a reader for every picture of FER2013's table, which is too large to be kept in memory."""
    lines: list[ReadPicture] = []
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                lines.append(partial(_read_picture, path, offset, len(line)))
            offset += len(line)
    # The first line is the header.
    return lines[1:]


def _read_picture(path: Path, offset: int, length: int) -> bytes:
    """Read one picture of FER2013's table as PNG.

    Raises:
        UnusableImage: The row holds no picture.
    """
    # Opened for each picture, because threads that shared a file would move each other's position.
    with path.open("rb") as file:
        file.seek(offset)
        line = file.read(length).decode("ascii", "replace")
    try:
        (row,) = csv.reader([line.strip()])
        values = np.array(row[1].split(), dtype=np.uint8).reshape(SIDE, SIDE)
    except (IndexError, ValueError, OverflowError, csv.Error):
        raise UnusableImage(f"its row of {PIXELS} is not {SIDE}x{SIDE} numbers from 0 to 255") from None
    # PNG loses nothing, so that either form of the download gives the same pixels.
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


FERPLUS = DataSet(
    name="ferplus",
    title="FER+",
    scan=scan,
    folders=("ferplus", "fer2013"),
    instructions="put FER2013's fer2013.csv (Kaggle) and github.com/microsoft/FERPlus's fer2013new.csv into one folder",
    terms="FER2013: research only, no redistribution of pictures; FER+ labels: MIT",
    showable=False,
    native_side=SIDE,
    expected_counts={"train": TRAIN_COUNTS, "test": TEST_COUNTS},
    has_duplicates=True,
)
