"""Wikimedia Commons faces: the 84 pictures the 2021 figures were measured on, their list and their download."""

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
from fer.utils.downloads import CorruptDownload, download_file, file_fault, is_disk_fault
from fer.utils.paths import data_lock, translate_disk_errors

LIST = Path(__file__).with_name("wikimedia_files.csv")
REPOSITORY = "github.com/trougnouf/TRAIL2021-challenge5"
COMMIT = "9d3dc23dc35adf53f29ed0b0775ebf437ca4bde3"
"""The last of the 2021 project, whose pictures are those its figures were measured on."""
REPOSITORY_FOLDER = "datasets/test/wikimedia_commons_emotions"
FILES = f"https://raw.githubusercontent.com/trougnouf/TRAIL2021-challenge5/{COMMIT}/{REPOSITORY_FOLDER}"
FOLDER = "wikimedia_commons_emotions"
"""Under the data root, where the set is downloaded to."""
DEFAULT_FOLDERS = (FOLDER, f"test/{FOLDER}")
MAX_NAMES = 12
"""Names in a sentence on differences."""


@dataclass(frozen=True)
class ListedFile:
    """A picture of the set.

    Attributes:
        file: Path in the set, such as `6/Sword_of_Anger.jpg`.
        sha256: Hash of the file as published in 2021.
        pixels: Hash of its RGB pixels, which a copy with other metadata shares.
        width: Width in pixels.
        height: Height in pixels.
        title: Likely title on Commons, by the file's name; not confirmed there.
        flickr_id: Number on Flickr, where the name holds one.
        doubt: Why the likely title may be another picture's; empty where it is distinctive.
        author: As the EXIF, XMP or IPTC of the file published in 2021 say.
        credit: Likewise.
        claims: Likewise what they say of rights, in a few fixed words, joined by "; ".
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
    """Read a list of pictures, in the order of their paths."""
    with path.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    files = []
    for row in rows:
        width, height = int(row.pop("width")), int(row.pop("height"))
        files.append(ListedFile(width=width, height=height, **row))
    return tuple(files)


def differences_from_list(path: Path, pictures: Mapping[str, Path]) -> list[str]:
    """Compare a set with its list: one sentence per kind of difference, none where all pictures have the listed pixels.

    Args:
        path: The list, as `DataSet.credits`.
        pictures: The files by their paths in the set, such as `6/Sword_of_Anger.jpg`.
    """
    listed = {item.file: item.pixels for item in listed_files(path)}
    shared = sorted(listed.keys() & pictures.keys())
    kinds = {
        "not the pixels of the 2021 set": [name for name in shared if _pixels(pictures[name]) != listed[name]],
        "not in the 2021 set": sorted(pictures.keys() - listed.keys()),
        "missing of the 2021 set": sorted(listed.keys() - pictures.keys()),
    }
    sentences = []
    for kind, names in kinds.items():
        if names:
            more = ", ..." if len(names) > MAX_NAMES else ""
            shown = ", ".join(names[:MAX_NAMES])
            sentences.append(f"{kind}: {len(names)} ({shown}{more})")
    return sentences


def _pixels(path: Path) -> str:
    # Pixels, not bytes: a copy whose metadata a tool has stripped is the same picture.
    try:
        return inspect(path).pixels
    except UnusableImage:
        return ""


def download_set(root: Path) -> Path:
    """Download the pictures from the 2021 project's repository and verify each, continuing an earlier call.

    Args:
        root: The data root.

    Returns:
        The folder of the set, which appears when all of it is there.

    Raises:
        DataError: There is no network, the repository is gone or gave other files, or the disk is full.
    """
    folder = root / FOLDER
    draft = root / f".{FOLDER}"
    with translate_disk_errors(root), data_lock(root, FOLDER):
        if folder.is_dir():
            return folder
        for item in tqdm(listed_files(), "download the Wikimedia set", unit="image"):
            _download(item, draft / item.file, folder)
        # The folder appears in one step, and without what the downloads needed.
        for lock in draft.rglob(".*.lock"):
            lock.unlink()
        draft.rename(folder)
    return folder


def _download(item: ListedFile, path: Path, folder: Path) -> None:
    address = f"{FILES}/{quote(item.file)}"
    remedy = (
        f"copy {REPOSITORY_FOLDER} of {REPOSITORY} at commit {COMMIT[:12]} to {folder}, or pass a folder that has it "
        "as source=...; dataset=drawn works at once"
    )
    try:
        # What an earlier call left may have been damaged since.
        if path.is_file() and file_fault(path, item.sha256):
            path.unlink()
        download_file(address, path, item.sha256, show_progress=False)
    except CorruptDownload as fault:
        raise DataError(f"{fault}: {remedy}") from None
    except OSError as error:
        # A full disk has a sentence of its own.
        if is_disk_fault(error):
            raise
        reason = f"{address} cannot be downloaded ({error})"
        raise DataError(f"the Wikimedia set is not at {folder} and {reason}: {remedy}") from None


def scan(source: Path) -> Scan:
    """Read the folders 1 to 7.

    Args:
        source: The folder with the seven class folders, or one that holds it under its 2021 name.

    Raises:
        WrongFolder: There is no folder named 1 to 7.
    """
    codes = range(1, 8)
    for base in (source, *(source / name for name in DEFAULT_FOLDERS)):
        if any((base / str(code)).is_dir() for code in codes):
            break
    else:
        raise WrongFolder(f"{source} is not the Wikimedia set: it has no folders 1 to 7")
    result = Scan()
    for code in codes:
        # Sorted, because the order of a folder differs from disk to disk.
        for path in sorted((base / str(code)).glob("*")):
            # Editors leave backups ending in "~"; a hidden file is no picture either.
            if path.is_file() and not path.name.endswith("~") and not path.name.startswith("."):
                source_name = path.relative_to(base).as_posix()
                result.candidates.append(Candidate(path, name_of(code), "test", path.name, source_name))
    return result


WIKIMEDIA = DataSet(
    name="wikimedia",
    title="Wikimedia Commons faces",
    scan=scan,
    folders=DEFAULT_FOLDERS,
    instructions=f"take {REPOSITORY_FOLDER} of {REPOSITORY}",
    terms="Wikimedia Commons: each picture has its own free licence; name its author",
    showable=False,
    native_side=224,
    expected_counts={"test": dict.fromkeys(EXPRESSIONS, 12)},
    has_train=False,
    framing=Framing(),
    credits=LIST,
    download=download_set,
)
