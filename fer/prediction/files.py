"""Files of `predict`: the pictures it reads, the table of predictions and the pictures it writes."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from fer.data.images import refuse_large_file
from fer.errors import ConfigError, DataError, quoted_path
from fer.expressions import EXPRESSIONS
from fer.portable.images import UnusableImage, decode_rgb
from fer.utils.atomic import atomic_path
from fer.utils.paths import printable
from fer.utils.rendering import csv_text, text_table

CSV_COLUMNS = ("picture", "face", "left", "top", "right", "bottom", "score", "expression", *EXPRESSIONS, "error")
MAX_PRINTED_ROWS = 40
MAX_STEM_BYTES = 200
"""Leaves room for the endings of what is made of a file; file systems take names of 255 bytes."""


@dataclass(frozen=True)
class Prediction:
    """A face of a picture, or why there is none.

    Attributes:
        picture: The file, relative to the folder that was asked about.
        face: The face's number in its picture, from 1; 0 where there is none.
        box: Left, top, right, bottom in pixels of the upright picture; empty where there is none.
        score: The detector's confidence in [0, 1].
        expression: The most probable one.
        probabilities: By expression.
        error: A sentence on why there is no face.
    """

    picture: str
    face: int = 0
    box: tuple[float, ...] = ()
    score: float = 0.0
    expression: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    def csv_cells(self) -> list[str]:
        """Return the cells of `CSV_COLUMNS`; those without a value are empty."""
        if not self.face:
            empty = [""] * (len(CSV_COLUMNS) - 2)
            return [self.picture, *empty, self.error]
        return [
            self.picture,
            str(self.face),
            *[f"{value:.1f}" for value in self.box],
            f"{self.score:.4f}",
            self.expression,
            *[f"{self.probabilities[name]:.6f}" for name in EXPRESSIONS],
            self.error,
        ]

    def shown_cells(self) -> list[str]:
        """Return the cells of a row for a person."""
        if not self.face:
            return [self.picture, "-", "-", "-", self.error]
        probability = self.probabilities[self.expression]
        box = " ".join(f"{value:.0f}" for value in self.box)
        return [self.picture, str(self.face), self.expression, f"{probability:.1%}", box]


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
    expressions = Counter(row.expression for row in rows if row.face)
    return {
        "pictures": len({row.picture for row in rows}),
        "faces": expressions.total(),
        "pictures_without_face": sum(not row.face for row in rows),
        **{f"faces/{name}": expressions[name] for name in EXPRESSIONS},
    }


def resolve_image_option(option: str) -> Path:
    """Return the absolute path of the picture or folder that the option `image` names.

    Raises:
        ConfigError: Nothing is there, or nothing was given.
    """
    if not option:
        raise ConfigError("which picture? give image=<a picture or a folder of pictures>")
    # Links are not followed: the name that was given is the one that is shown.
    path = Path(os.path.abspath(Path(option).expanduser()))  # noqa: PTH100
    try:
        exists = path.is_file() or path.is_dir()
    # A name too long, or with a zero byte.
    except (OSError, ValueError):
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
            read_picture(image)
        except UnusableImage as error:
            raise DataError(f"{printable(str(image))} is no picture that can be read: {error}") from None
        return [image]
    if output == image.resolve():
        raise ConfigError("output is the folder of the pictures: give another one, so that they do not mix")
    files = sorted(path for path in _visible_paths(image, output) if path.is_file())
    if not files:
        raise DataError(f"{printable(str(image))} holds no file: give image=<a picture or a folder of pictures>")
    return files


def _visible_paths(folder: Path, output: Path) -> Iterator[Path]:
    """Yield all paths that are not hidden and do not lie in an output inside the folder."""
    output_inside = output.is_relative_to(folder.resolve())
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        earlier_output = output_inside and path.resolve().is_relative_to(output)
        if not hidden and not earlier_output:
            yield path


def read_picture(file: Path) -> Image.Image:
    """Read a picture, upright and RGB.

    Raises:
        UnusableImage: It is none, or may not be read.
    """
    try:
        refuse_large_file(file)
        return decode_rgb(file.read_bytes())
    except OSError as error:
        raise UnusableImage(f"cannot be read ({error.strerror})") from None


def output_stem(name: str) -> str:
    """Return a file's name fit to begin those of its results, the same for no two files of a folder."""
    stem = printable(name)
    if len(stem.encode()) > MAX_STEM_BYTES:
        return hashlib.sha256(stem.encode()).hexdigest()
    return stem


def write_picture(path: Path, picture: Image.Image, kind: str) -> None:
    """Write a picture as `JPEG` or `PNG` whole or not at all; errors as of `write_file`."""
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
