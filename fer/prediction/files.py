"""The files `predict` reads and writes: which pictures were asked about, and results that are never half there."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from fer.data.images import refuse_large_file
from fer.errors import ConfigError, DataError, quoted_path
from fer.portable.images import UnusableImage, decode_rgb
from fer.utils.paths import printable

LONGEST_NAME = 200
"""Bytes of a file's name that leave room for the endings of what is made of it."""


def asked_place(option: str) -> Path:
    """Return the absolute place of the picture or folder that the option `image` names.

    Raises:
        ConfigError: Nothing is there, or nothing was given.
    """
    if not option:
        raise ConfigError("which picture? give image=<a picture or a folder of pictures>")
    # Links are not followed: the name that was given is the one that is shown.
    place = Path(os.path.abspath(Path(option).expanduser()))  # noqa: PTH100
    try:
        present = place.is_file() or place.is_dir()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        present = False
    if not present:
        raise ConfigError(f"image {quoted_path(option)}: there is no such file or folder")
    return place


def asked_files(image: Path, output: Path) -> list[Path]:
    """Return the file, or a folder's files at any depth, sorted, without hidden ones and earlier output.

    Raises:
        ConfigError: The output would lie among the pictures.
        DataError: The folder holds no file, or the file is no picture.
    """
    if image.is_file():
        try:
            read_picture(image)
        except UnusableImage as fault:
            raise DataError(f"{printable(str(image))} is no picture that can be read: {fault}") from None
        return [image]
    if output == image.resolve():
        raise ConfigError("output is the folder of the pictures: give another one, so that they do not mix")
    found = sorted(path for path in _visible(image, output) if path.is_file())
    if not found:
        raise DataError(f"{printable(str(image))} holds no file: give image=<a picture or a folder of pictures>")
    return found


def _visible(folder: Path, output: Path) -> Iterator[Path]:
    """Yield what is not hidden, and nothing that lies in an output inside the folder."""
    inside = output.is_relative_to(folder.resolve())
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not (inside and path.resolve().is_relative_to(output)):
            yield path


def read_picture(file: Path) -> Image.Image:
    """Return a picture, upright and RGB.

    Raises:
        UnusableImage: It is none, or may not be read.
    """
    try:
        refuse_large_file(file)
        return decode_rgb(file.read_bytes())
    except OSError as error:
        raise UnusableImage(f"cannot be read ({error.strerror})") from None


def stem_of(name: str) -> str:
    """Return a file's name fit to begin others, the same for no two files of a folder."""
    shown = printable(name)
    return shown if len(shown.encode()) <= LONGEST_NAME else hashlib.sha256(shown.encode()).hexdigest()


def write_picture(path: Path, picture: Image.Image, kind: str) -> None:
    """Write a picture as `JPEG` or `PNG`, as `write`."""
    content = io.BytesIO()
    picture.save(content, kind, quality=90, optimize=True)
    write(path, content.getvalue())


def write(path: Path, content: bytes) -> None:
    """Write a file so that under its name there is never half of it.

    Raises:
        DataError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        place = printable(str(path))
        raise DataError(f"{place} cannot be written ({error.strerror}): give another output=<folder>") from None
