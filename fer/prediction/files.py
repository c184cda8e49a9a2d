"""Files of `predict`: the pictures it reads, the table of predictions and the pictures it writes."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from fer.data.images import refuse_large_file
from fer.errors import ConfigError, DataError, quoted_path
from fer.expressions import EXPRESSIONS
from fer.portable.detection import detection_memory
from fer.portable.images import UnusableImage, decode
from fer.portable.memory import open_within_budget
from fer.prediction.recogniser import RecognisedFace
from fer.utils.atomic import atomic_path
from fer.utils.paths import printable
from fer.utils.rendering import csv_text, text_table

T = TypeVar("T")

BOX_COLUMNS = ("left", "top", "right", "bottom")
CSV_COLUMNS = ("picture", "face", *BOX_COLUMNS, "score", "expression", *EXPRESSIONS, "error")
NO_FACE = "no face found; framing=none takes the whole picture as one"
MAX_PRINTED_ROWS = 40
MAX_STEM_BYTES = 200
"""Leaves room for the endings of what is made of a file; file systems take names of 255 bytes."""


@dataclass(frozen=True)
class Prediction:
    """A face of a picture, or why there is none.

    Attributes:
        picture: The file, relative to the folder that was asked about.
        number: The face's number in its picture, from 1; 0 where there is none.
        face: The face.
        error: A sentence on why there is no face.
    """

    picture: str
    number: int = 0
    face: RecognisedFace | None = None
    error: str = ""

    def csv_cells(self) -> list[str]:
        """Return the cells of `CSV_COLUMNS`; those without a value are empty."""
        face = self.face
        if not face:
            empty = [""] * (len(CSV_COLUMNS) - 2)
            return [self.picture, *empty, self.error]
        return [
            self.picture,
            str(self.number),
            *[f"{value:.1f}" for value in face.box],
            f"{face.score:.4f}",
            face.expression,
            *[f"{face.probabilities[name]:.6f}" for name in EXPRESSIONS],
            self.error,
        ]

    def shown_cells(self) -> list[str]:
        """Return the cells of a row for a person."""
        face = self.face
        if not face:
            return [self.picture, "-", "-", "-", self.error]
        probability = face.probabilities[face.expression]
        box = " ".join(f"{value:.0f}" for value in face.box)
        return [self.picture, str(self.number), face.expression, f"{probability:.1%}", box]


def predictions_csv(rows: Sequence[Prediction]) -> str:
    """Return the rows as CSV with the columns `CSV_COLUMNS`."""
    return csv_text([CSV_COLUMNS, *[row.csv_cells() for row in rows]])


def predictions_table(rows: Sequence[Prediction]) -> str:
    """Lay out the first `MAX_PRINTED_ROWS` rows for a person, and say how many more there are."""
    headings = ["picture", "face", "expression", "probability", "box"]
    cells = [row.shown_cells() for row in rows[:MAX_PRINTED_ROWS]]
    table = text_table([headings, *cells], left=len(headings))
    hidden = len(rows) - len(cells)
    return f"{table}\n... and {hidden} more rows" if hidden else table


def count_faces(rows: Sequence[Prediction]) -> dict[str, int]:
    """Count pictures, faces, pictures without a face, and faces by expression."""
    expressions = Counter(row.face.expression for row in rows if row.face)
    # Every expression has a figure, so that runs compare even where one never occurs.
    return {
        "pictures": len({row.picture for row in rows}),
        "faces": expressions.total(),
        "pictures_without_face": sum(not row.face for row in rows),
        **{f"faces/{name}": expressions[name] for name in EXPRESSIONS},
    }


def existing_path(option: str) -> Path:
    """Return the absolute path of the picture or folder that the option `image` names.

    Raises:
        ConfigError: Nothing is there, or nothing was given.
    """
    if not option:
        raise ConfigError("which picture? give image=<a picture or a folder of pictures>")
    # Links are not followed: the name that was given is the one that is shown.
    path = Path(option).expanduser().absolute()
    try:
        exists = path.is_file() or path.is_dir()
    except OSError:  # a name too long
        exists = False
    if not exists:
        raise ConfigError(f"image {quoted_path(option)}: there is no such file or folder")
    return path


def list_pictures(image: Path, output: Path) -> list[Path]:
    """List the file, or a folder's files at any depth, sorted, without hidden ones and earlier output.

    Raises:
        ConfigError: The output would lie among the pictures.
        DataError: The folder holds no file, or the file is no picture.
    """
    if image.is_file():
        # Read once before the run begins, so that a slip leaves no failed run behind.
        try:
            use_picture(image, lambda picture: picture.size)
        except UnusableImage as error:
            raise DataError(f"{printable(str(image))} is no picture that can be read: {error}") from None
        return [image]
    if output == image.resolve():
        raise ConfigError("output is the folder of the pictures: give another one, so that they do not mix")
    output_inside = output.is_relative_to(image.resolve())
    files = []
    for path in sorted(image.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(image).parts)
        is_earlier_output = output_inside and path.resolve().is_relative_to(output)
        if path.is_file() and not is_hidden and not is_earlier_output:
            files.append(path)
    if not files:
        raise DataError(f"{printable(str(image))} holds no file: give image=<a picture or a folder of pictures>")
    return files


def use_picture(file: Path, work: Callable[[Image.Image], T]) -> T:
    """Return the result of a work on a picture, upright and RGB, which may look for faces in it.

    Args:
        file: The picture.
        work: Keeps nothing of the picture's size.

    Raises:
        UnusableImage: It is none, or may not be read.
    """
    try:
        refuse_large_file(file)
        with file.open("rb"):
            pass
    except OSError as error:
        raise UnusableImage(f"cannot be read ({error.strerror})") from None
    return open_within_budget(file, lambda image: work(decode(image)[0]), detection_memory)


def output_stem(name: str) -> str:
    """Return a file's name fit to begin those of its results, the same for no two files of a folder."""
    stem = printable(name)
    if len(stem.encode()) > MAX_STEM_BYTES:
        return hashlib.sha256(stem.encode()).hexdigest()
    return stem


def write_picture(path: Path, picture: Image.Image, kind: str) -> None:
    """Write a picture as `JPEG` or `PNG`; errors as of `write_file`."""
    content = io.BytesIO()
    picture.save(content, kind, quality=90, optimize=True)
    write_file(path, content.getvalue())


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        DataError: It cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        reason = f"{printable(str(path))} cannot be written ({error.strerror})"
        raise DataError(f"{reason}: give another output=<folder>") from None
