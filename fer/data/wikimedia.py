"""84 free faces from Wikimedia Commons, 12 for each expression: a small test set no network was trained on."""

from pathlib import Path

from fer.data.archives import NotHere
from fer.data.framing import Framing
from fer.data.sources import Candidate, DataSet, Scan
from fer.data.wikimedia_files import FOLDER, PLACE, REPOSITORY, obtain
from fer.expressions import EXPRESSIONS, name_of

FOLDERS = (PLACE, f"test/{PLACE}")


def scan(source: Path) -> Scan:
    """Read the folders 1 to 7.

    Args:
        source: The folder with the seven class folders, or one that holds it under its 2021 name.

    Raises:
        NotHere: There is no folder named 1 to 7.
    """
    bases = (source, *(source / name for name in FOLDERS))
    base = next((folder for folder in bases if any((folder / str(code)).is_dir() for code in range(1, 8))), None)
    if base is None:
        raise NotHere(f"{source} is not the Wikimedia set: it has no folders 1 to 7")
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
    places=lambda root: tuple(root / name for name in FOLDERS),
    obtain=f"take {FOLDER} of {REPOSITORY}",
    terms="Wikimedia Commons: each picture has its own free licence; name its author",
    showable=False,
    native_side=224,
    known_counts={"test": dict.fromkeys(EXPRESSIONS, 12)},
    has_train=False,
    framing=Framing(),
    fetch=obtain,
)
