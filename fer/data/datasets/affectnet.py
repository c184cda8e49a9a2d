"""AffectNet: faces from the web with eight expressions, of which our seven are taken.

Mollahosseini, Hasani & Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the
Wild", IEEE Transactions on Affective Computing 2019. Three layouts are read:

- the first release, `Manually_Annotated_Images/1/....jpg` with the tables `training.csv` and `validation.csv` of
  `Manually_Annotated_file_lists`, which hold faces' boxes; the second table of some copies has no header;
- the later one, `{train,val}_set/images/N.jpg`, faces cut to 224x224, with `annotations/N_exp.npy`;
- AffectNet+, `human_annotated/{train,validation}_set/images/N.jpg`, with `annotations/N.json` and its `human-label`.

The test set was never published: the literature tests on the 500 pictures a class of the official validation set, and
so do we; our validation is a stratified tenth of training, chosen by hashes of names. Names differ between the layouts,
and so do our validation sets. Contempt (code 7) and pictures without expression (8 to 10) are left out and counted.

Known faults: about a third of the labels are disputed; training is far from balanced; one picture of the first release,
`103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg`, is damaged in every copy and left out as such.
"""

import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from tqdm import tqdm

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder, find_folder
from fer.data.datasets.tables import read_table
from fer.data.framing import Framing
from fer.data.splits import validation_names
from fer.errors import DataError, quoted
from fer.expressions import EXPRESSIONS
from fer.portable.detection import Box
from fer.utils.parallel import thread_pool

IMAGES = "Manually_Annotated_Images"
TABLES = {"training.csv": "train", "validation.csv": "test"}
COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
PARTS = {"train_set": "train", "val_set": "test", "validation_set": "test"}
EXPRESSION_OF = dict(enumerate(("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")))
NO_EXPRESSION = {
    7: "contempt, which is none of the seven expressions",
    8: "labelled as no expression",
    9: "labelled as uncertain",
    10: "labelled as no face",
}
CHUNK = 500
"""Annotation files that a thread reads at a time."""
LARGEST_ANNOTATION = 1_000_000
"""Bytes that are read of an annotation: a few thousand."""
DAMAGED = "its annotation is missing or damaged"
JSON_LABEL = "human-label"
NPY_MAGIC = b"\x93NUMPY\x01\x00"
"""How NumPy's files of version 1.0 begin."""

TRAIN_COUNTS = dict(zip(EXPRESSIONS, (14_090, 6_378, 3_803, 134_415, 25_459, 24_882, 74_874), strict=True))
TEST_COUNTS = dict.fromkeys(EXPRESSIONS, 500)


class Row(NamedTuple):
    """One annotated picture.

    Attributes:
        path: The picture.
        part: `train` or `test`.
        source_name: Its path in the download.
        code: Of the expression, as it stands in the annotation; empty where that is damaged.
        where: The annotation's place as messages name it.
        box: The face's, where the layout has boxes.
    """

    path: Path
    part: str
    source_name: str
    code: str
    where: str
    box: Box | None = None


def scan(source: Path) -> Scan:
    """Scan AffectNet's tables, or its files of annotations.

    Args:
        source: A folder that holds one of the layouts above, in it or below.

    Raises:
        DataError: It is no AffectNet, lacks pictures or annotations, or one has an unknown code.
    """
    base = find_folder(source, _is_base)
    if base is None:
        layouts = f"it has neither {IMAGES} and training.csv nor train_set with images and annotations"
        raise WrongFolder(f"{source} is not AffectNet: {layouts}")
    if _is_annotated(base):
        return _select(_from_annotations(base))
    images = find_folder(source, lambda folder: (folder / IMAGES).is_dir())
    tables = find_folder(source, lambda folder: any((folder / table).is_file() for table in TABLES))
    if images is None or tables is None:
        missing = IMAGES if images is None else " and ".join(TABLES)
        raise DataError(f"{source} holds a part of AffectNet only: put {missing} there, too")
    return _select(_from_tables(images / IMAGES, tables))


def _is_annotated(folder: Path) -> bool:
    return any((folder / part / "annotations").is_dir() for part in PARTS)


def _is_base(folder: Path) -> bool:
    return _is_annotated(folder) or (folder / IMAGES).is_dir() or any((folder / table).is_file() for table in TABLES)


def _select(rows: Iterable[Row]) -> Scan:
    """Take the pictures of the seven expressions, and choose validation from training."""
    result = Scan()
    selected = []
    for row in rows:
        code = int(row.code) if row.code.isdecimal() else None
        if code in EXPRESSION_OF:
            selected.append((row, EXPRESSION_OF[code]))
        elif code is None or code in NO_EXPRESSION:
            reason = DAMAGED if code is None else NO_EXPRESSION[code]
            result.left_out.append((row.source_name, reason))
        else:
            raise DataError(f"{row.where}: {quoted(row.code)} is no expression's code from 0 to {max(NO_EXPRESSION)}")
    validation = validation_names([(row.source_name, label) for row, label in selected if row.part == "train"])
    for row, label in selected:
        split = "validation" if row.part == "train" and row.source_name in validation else row.part
        # What is cut out around a box becomes a JPEG file, whatever the picture was.
        name = f"{row.path.stem}.jpg" if row.box else row.path.name
        result.candidates.append(Candidate(row.path, label, split, name, row.source_name, box=row.box))
    return result


def _from_tables(images: Path, tables: Path) -> Iterator[Row]:
    for table, part in TABLES.items():
        if not (tables / table).is_file():
            continue
        for where, (file, *sides, _, code, _, _) in read_table(tables / table, COLUMNS, header=False):
            path = PurePosixPath(file)
            box = _box(sides)
            # A table might lead anywhere on the disk, and without an expression nobody drew a box.
            if path.is_absolute() or ".." in path.parts or (box is None and code in map(str, EXPRESSION_OF)):
                code = ""
            yield Row(images / path, part, file, code, where, box)


def _box(sides: list[str]) -> Box | None:
    """Return a box of the cells left, top, width and height; None where they are no numbers."""
    try:
        left, top, width, height = map(float, sides)
    except ValueError:
        return None
    return left, top, left + width, top + height


def _from_annotations(base: Path) -> Iterator[Row]:
    for folder, part in PARTS.items():
        annotations = base / folder / "annotations"
        if not annotations.is_dir():
            continue
        # Listing the pictures is enough: there are up to four annotations of each.
        try:
            with os.scandir(base / folder / "images") as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except FileNotFoundError:
            raise DataError(f"{base / folder} has annotations but no folder images: unpack it there, too") from None
        chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
        with thread_pool() as executor:
            codes = executor.map(partial(_read_codes, annotations), chunks)
            for chunk, chunk_codes in zip(tqdm(chunks, f"read {folder}", disable=None), codes, strict=True):
                for name, code in zip(chunk, chunk_codes, strict=True):
                    path = base / folder / "images" / name
                    yield Row(path, part, f"{folder}/images/{name}", code, f"the annotation of {path}")


def _read_codes(annotations: Path, pictures: list[str]) -> list[str]:
    return [_read_code(annotations, picture.rpartition(".")[0]) for picture in pictures]


def _read_code(annotations: Path, stem: str) -> str:
    """Return the code of a picture's expression; an empty one where its file is missing or damaged."""
    try:
        array = annotations / f"{stem}_exp.npy"
        if array.exists():
            return _npy_code(_read_small(array))
        return str(int(json.loads(_read_small(annotations / f"{stem}.json"))[JSON_LABEL]))
    except Exception:  # NumPy raises nearly anything on a damaged file
        return ""


def _read_small(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_ANNOTATION)


def _npy_code(content: bytes) -> str:
    """Return the first value of a NumPy file, a number or its digits as text.

    `numpy.load` would parse the header of each of 290,000 files anew, which are all alike.
    """
    end = len(NPY_MAGIC) + 2 + int.from_bytes(content[len(NPY_MAGIC) :][:2], "little")
    return str(int(np.frombuffer(content[end:], _npy_dtype(content[:end]))[0]))


@lru_cache(maxsize=16)
def _npy_dtype(header: bytes) -> np.dtype[Any]:
    if not header.startswith(NPY_MAGIC):
        raise ValueError
    file = BytesIO(header[len(NPY_MAGIC) :])
    return npy_format.read_array_header_1_0(file)[2]


AFFECTNET = DataSet(
    name="affectnet",
    title="AffectNet",
    scan=scan,
    folders=("affectnet", "AffectNet", "AffectNet+"),
    instructions="request it, as the head of a laboratory or a professor, at mohammadmahoor.com",
    terms="AffectNet: non-commercial research only, no redistribution",
    showable=False,
    native_side=224,
    expected_counts={"train": TRAIN_COUNTS, "test": TEST_COUNTS},
    framing=Framing(),
)
