"""FER2013: 35,887 grey 48x48 faces from the web in one table, with the labels of its authors.

Goodfellow et al., "Challenges in Representation Learning: A Report on Three Machine Learning Contests", ICONIP 2013.
FER+ has better labels for the same pictures; most figures in the literature are on these. The table is `fer2013.csv`
(`emotion,pixels,Usage`) or Kaggle's later `icml_face_data.csv` (the same rows; `emotion, Usage, pixels`, with blanks
before two of the names).

Known faults: people agree with about two thirds of the labels; a few rows are entirely black; nearly 2,000 pictures are
pixel-identical to another one, some in another split or with another label, and one of each such group is kept. Counts
per class are published with the copies only, so that what a table lacks is told by the number of its rows.
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
from fer.errors import DataError, quoted
from fer.portable.images import UnusableImage

TABLES = ("fer2013.csv", "icml_face_data.csv")
ROWS = 35_887
"""In the complete table: 28,709 for training, 3,589 for the public and as many for the private test."""
SPLIT_OF = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
EXPRESSION_OF = dict(enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")))
SIDE = 48
LONGEST_ROW = 100_000
"""Bytes that are read as one row: a picture of numbers of three digits takes 9,200."""


class Face(NamedTuple):
    """One row of FER2013's table.

    Attributes:
        emotion: Its cell of that name, as it stands there; empty where there is none.
        usage: Likewise.
        read: Returns the picture as a PNG file.
    """

    emotion: str
    usage: str
    read: Callable[[], bytes]


def scan(source: Path) -> Scan:
    """Scan FER2013's table.

    Args:
        source: A folder with one of `TABLES` in it or below.

    Raises:
        DataError: There is none, or a row cannot be read.
    """
    path = find_table(source)
    if path is None:
        raise WrongFolder(f"{source} is not FER2013: it has neither {TABLES[0]} nor {TABLES[1]}")
    faces = read_faces(path)
    result = Scan()
    if len(faces) < ROWS:
        result.left_out.append((path.name, f"it has {len(faces)} rows, and the complete table {ROWS}"))
    for number, face in enumerate(faces):
        where = f"{path} row {number + 1}"
        if face.usage not in SPLIT_OF:
            raise DataError(f"{where}: {quoted(face.usage)} is none of the usages {', '.join(SPLIT_OF)}")
        if not face.emotion.isdecimal() or int(face.emotion) not in EXPRESSION_OF:
            raise DataError(f"{where}: {quoted(face.emotion)} is no emotion's code from 0 to {max(EXPRESSION_OF)}")
        # Not FER+'s names, which look like row numbers, but leave out the rows whose pictures it takes for no faces.
        name = f"fer2013-{number:05d}.png"
        candidate = Candidate(
            path=path,
            expression=EXPRESSION_OF[int(face.emotion)],
            split=SPLIT_OF[face.usage],
            name=name,
            source_name=name,
            read=face.read,
        )
        result.candidates.append(candidate)
    return result


def find_table(source: Path) -> Path | None:
    """Return FER2013's table in a folder or below; None where there is none."""
    for name in TABLES:
        table = next((path for path in sorted(source.rglob(name)) if path.is_file()), None)
        if table:
            return table
    return None


def read_faces(path: Path) -> list[Face]:
    """Read FER2013's table except for its pictures, which are too large to be kept in memory.

    Raises:
        DataError: It has no pictures.
    """
    faces = []
    with path.open("rb") as file:
        header = file.readline(LONGEST_ROW)
        columns = [_text(cell) for cell in header.split(b",")]
        if "pixels" not in columns:
            raise DataError(f"{path} has no column 'pixels': take it from the download again")
        offset = len(header)
        while line := file.readline(LONGEST_ROW):
            # No cell holds a comma.
            cells = dict(zip(columns, line.split(b","), strict=False))
            read = partial(_read_picture, path, offset, len(line), columns.index("pixels"))
            offset += len(line)
            if line.strip():
                faces.append(Face(_text(cells.get("emotion", b"")), _text(cells.get("Usage", b"")), read))
    return faces


def _text(cell: bytes) -> str:
    return cell.decode("utf-8-sig", "replace").strip(' "\r\n')


def _read_picture(path: Path, offset: int, length: int, column: int) -> bytes:
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
        values = np.array(row[column].split(), dtype=np.uint8).reshape(SIDE, SIDE)
    except (IndexError, ValueError, OverflowError, csv.Error):
        raise UnusableImage(f"its row of {path.name} is not {SIDE}x{SIDE} numbers from 0 to 255") from None
    # PNG loses nothing, so that either form of the download gives the same pixels.
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


FER2013 = DataSet(
    name="fer2013",
    title="FER2013",
    scan=scan,
    folders=("fer2013", "ferplus"),
    instructions="put fer2013.csv or icml_face_data.csv (Kaggle's Facial Expression Recognition Challenge) in a folder",
    terms="FER2013: research only, no redistribution of pictures",
    showable=False,
    native_side=SIDE,
    has_duplicates=True,
)
