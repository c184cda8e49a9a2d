"""FER+: the grey 48x48 faces of FER2013 with ten annotators' votes each.

Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016.
"""

from pathlib import Path
from typing import NamedTuple

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.data.datasets.fer2013 import SIDE, SPLIT_OF, TABLES, find_table, read_faces
from fer.data.datasets.tables import read_table
from fer.data.manifest import votes_text
from fer.errors import DataError, shortened
from fer.expressions import EXPRESSIONS

VOTES = "fer2013new.csv"
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Columns of the label file with votes, and the names of the votes in the manifest."""

# Counted on FER2013's pictures after `majority` and without pixel-identical copies.
TRAIN_COUNTS = dict(zip(EXPRESSIONS, (2877, 523, 115, 7917, 3191, 2243, 9657), strict=True))
TEST_COUNTS = dict(zip(EXPRESSIONS, (389, 82, 18, 891, 382, 270, 1089), strict=True))


class Label(NamedTuple):
    """One row of the label file: its number from 0, which is the picture's row in FER2013's table, and what it says."""

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
        source: A folder with `fer2013new.csv` and either FER2013's table or PNG files such as `fer0000000.png` in any
            folder below.

    Raises:
        DataError: The labels or the pictures are missing, or a row cannot be read.
    """
    labels_path = next((path for path in sorted(source.rglob(VOTES)) if path.is_file()), None)
    pixels_path = find_table(source)
    # Where both forms are at hand, the table is the original.
    files = {} if pixels_path else {path.name: path for path in source.rglob("fer*.png")}
    if labels_path is None:
        if pixels_path or files:
            raise DataError(f"{source} looks like FER2013 without FER+'s labels: it has no {VOTES}")
        raise WrongFolder(f"{source} is not FER+: it has no {VOTES}")
    if not pixels_path and not files:
        missing = f"neither {TABLES[0]} nor {TABLES[1]} nor files such as fer0000000.png"
        raise DataError(f"{source} has FER+'s labels but no pictures: {missing}")
    faces = read_faces(pixels_path) if pixels_path else []
    result = Scan()
    for number, name, split, votes in _read_labels(labels_path).values():
        expression = majority(votes)
        if expression is None:
            result.left_out.append((name, "no majority for one of the seven expressions"))
            continue
        if pixels_path and number >= len(faces):
            row = f"{labels_path.name} row {number + 1}"
            raise DataError(f"{pixels_path} has {len(faces)} pictures, but {row}")
        candidate = Candidate(
            # A picture that is missing among the files is left out when it is read.
            path=pixels_path or files.get(name, labels_path.parent / name),
            expression=expression,
            split=split,
            name=name,
            source_name=name,
            votes=votes_text(dict(zip(COLUMNS, votes, strict=True))),
            read=faces[number].read if pixels_path else None,
        )
        result.candidates.append(candidate)
    return result


def _read_labels(path: Path) -> dict[str, Label]:
    """Return the labels by name, of a doubled one the last; pictures that are no faces have none."""
    labels = {}
    for number, (where, (usage, name, *votes)) in enumerate(read_table(path, ("Usage", "Image name", *COLUMNS))):
        if name:
            try:
                labels[name] = Label(number, name, SPLIT_OF[usage], tuple(map(int, votes)))
            except (KeyError, ValueError):
                raise DataError(f"{where} ({shortened(name)}) holds no usage and ten whole numbers") from None
    return labels


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
