"""The 84 Wikimedia crops the 2021 figures were measured on: what each is known by, and how they are obtained."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.data.framing import Framing
from fer.data.images import inspect
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, name_of
from fer.portable.images import UnusableImage
from fer.utils.download import CorruptDownload, download_file, file_fault, is_disk_fault
from fer.utils.paths import data_lock, translate_disk_errors

LIST = Path(__file__).with_name("wikimedia_files.csv")
REPOSITORY = "github.com/trougnouf/TRAIL2021-challenge5"
COMMIT = "9d3dc23dc35adf53f29ed0b0775ebf437ca4bde3"
"""The last of the 2021 project, whose pictures are those its figures were measured on."""
FOLDER = "datasets/test/wikimedia_commons_emotions"
FILES = f"https://raw.githubusercontent.com/trougnouf/TRAIL2021-challenge5/{COMMIT}/{FOLDER}"
PLACE = "wikimedia_commons_emotions"
"""Folder under the data root where the set is brought."""
SHOWN = 12
"""Names in a sentence on differences."""


@dataclass(frozen=True)
class ListedFile:
    """One picture of the set.

    Attributes:
        file: Place in the set, such as `6/Sword_of_Anger.jpg`.
        sha256: Hash of the file as published in 2021.
        pixels: Hash of its RGB pixels, which a copy with other metadata shares.
        width: Width in pixels.
        height: Height in pixels.
        title: Likely title on Commons, by the file's name; not confirmed there.
        flickr_id: Number on Flickr, where the name holds one.
        doubt: Why the likely title may be another picture's; empty where it is distinctive.
        author: As the EXIF, XMP or IPTC of the file say.
        credit: Likewise.
        claims: Likewise, joined by "; ".
    """

    file: str
    sha256: str
    pixels: str
    width: int
    height: int
    title: str = ""
    flickr_id: str = ""
    doubt: str = ""
    author: str = ""
    credit: str = ""
    claims: str = ""


@cache
def listed_files(path: Path = LIST) -> tuple[ListedFile, ...]:
    """Read a list of pictures, in the order of their places."""
    with path.open(encoding="utf-8", newline="") as table:
        return tuple(
            ListedFile(width=int(row.pop("width")), height=int(row.pop("height")), **row)
            for row in csv.DictReader(table)
        )


def obtain(root: Path) -> Path:
    """Bring the pictures from the 2021 project's repository and verify each; what an earlier call brought is kept.

    Args:
        root: The data root.

    Returns:
        The folder of the set, which appears when all of it is there.

    Raises:
        DataError: There is no network, the repository is gone or gave other files, or the disk is full.
    """
    place, draft = root / PLACE, root / f".{PLACE}"
    with translate_disk_errors(root), data_lock(root, PLACE):
        if place.is_dir():
            return place
        for item in tqdm(listed_files(), "obtain the Wikimedia set", unit="image"):
            _obtain_file(item, draft / item.file, place)
        for lock in draft.rglob(".*.lock"):
            lock.unlink()
        draft.rename(place)
    return place


def differences_from_list(path: Path, pictures: Mapping[str, Path]) -> list[str]:
    """Compare a set with its list: one sentence per kind of difference, none where all pictures have the listed pixels.

    Args:
        path: The list, as `DataSet.credits`.
        pictures: The files by their places in the set, such as `6/Sword_of_Anger.jpg`.
    """
    listed = {item.file: item.pixels for item in listed_files(path)}
    differing = [name for name in listed if name in pictures and _pixels(pictures[name]) != listed[name]]
    kinds = {
        "not the pixels of the 2021 set": differing,
        "not in the 2021 set": sorted(pictures.keys() - listed.keys()),
        "missing of the 2021 set": [name for name in listed if name not in pictures],
    }
    return [f"{kind}: {_named(names)}" for kind, names in kinds.items() if names]


def _named(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"


def _pixels(path: Path) -> str:
    try:
        return inspect(path).pixels
    except UnusableImage:
        return ""


def _obtain_file(item: ListedFile, target: Path, place: Path) -> None:
    address = f"{FILES}/{quote(item.file)}"
    cure = (
        f"copy {FOLDER} of {REPOSITORY} at commit {COMMIT[:12]} to {place}, or pass a folder that has it "
        "as source=...; dataset=drawn works at once"
    )
    try:
        if target.is_file() and file_fault(target, item.sha256):
            target.unlink()
        download_file(address, target, item.sha256, show_progress=False)
    except CorruptDownload as fault:
        raise DataError(f"{fault}: {cure}") from None
    except OSError as error:
        if is_disk_fault(error):
            raise
        why = f"{address} cannot be downloaded ({error})"
        raise DataError(f"the Wikimedia set is not at {place} and {why}: {cure}") from None


FOLDERS = (PLACE, f"test/{PLACE}")


def scan(source: Path) -> Scan:
    """Read the folders 1 to 7.

    Args:
        source: The folder with the seven class folders, or one that holds it under its 2021 name.

    Raises:
        WrongFolder: There is no folder named 1 to 7.
    """
    bases = (source, *(source / name for name in FOLDERS))
    base = next((folder for folder in bases if any((folder / str(code)).is_dir() for code in range(1, 8))), None)
    if base is None:
        raise WrongFolder(f"{source} is not the Wikimedia set: it has no folders 1 to 7")
    found = Scan()
    for code in range(1, 8):
        for path in sorted((base / str(code)).glob("*")):
            # Editors leave backups ending in "~"; a hidden file is no picture either.
            if path.is_file() and not path.name.endswith("~") and not path.name.startswith("."):
                source_name = path.relative_to(base).as_posix()
                found.candidates.append(Candidate(path, name_of(code), "test", path.name, source_name))
    return found


WIKIMEDIA = DataSet(
    name="wikimedia",
    title="Wikimedia Commons faces",
    scan=scan,
    folders=FOLDERS,
    instructions=f"take {FOLDER} of {REPOSITORY}",
    terms="Wikimedia Commons: each picture has its own free licence; name its author",
    showable=False,
    native_side=224,
    expected_counts={"test": dict.fromkeys(EXPRESSIONS, 12)},
    has_train=False,
    framing=Framing(),
    credits=LIST,
    download=obtain,
)
