"""Drawn downloads of the data sets in the layouts in which people hold them."""

import shutil
import zipfile
from pathlib import Path

from fer.data.datasets.raf import DISTRIBUTIONS, LABELS

RAF_IMAGES = "Image/aligned"


def raf_labels(basic: Path) -> dict[str, int]:
    """The codes of RAF's pictures by name, such as `train_00001.jpg`."""
    lines = (basic / LABELS).read_text().splitlines()
    return {name: int(code) for name, code in (line.split() for line in lines)}


def raf_official(basic: Path, folder: Path) -> Path:
    """RAF-DB as its authors send it: a second folder `basic`, whose pictures are still zipped."""
    inner = folder / "basic" / "basic"
    shutil.copytree(basic / LABELS.parent, inner / LABELS.parent)
    (inner / "Image").mkdir()
    with zipfile.ZipFile(inner / f"{RAF_IMAGES}.zip", "w") as packed:
        for path in sorted((basic / RAF_IMAGES).iterdir()):
            packed.write(path, f"aligned/{path.name}")
            packed.writestr(f"__MACOSX/aligned/._{path.name}", b"what macOS adds")
    return folder


def raf_classes(basic: Path, folder: Path, tables: bool = True, level: str = "DATASET") -> Path:
    """RAF-DB as a folder for each class, with the tables beside them or without."""
    rows = {"train": ["image,label"], "test": ["image,label"]}
    for label, code in raf_labels(basic).items():
        part, name = label.split("_")[0], label.replace(".jpg", "_aligned.jpg")
        place = folder / level / part / str(code)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(basic / RAF_IMAGES / name, place / name)
        rows[part].append(f"{name},{code}")
    if tables:
        for part, lines in rows.items():
            (folder / f"{part}_labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def raf_distributions(basic: Path) -> str:
    """What RAF's annotators may have voted, as the file of it says: most for the label, the rest for another."""
    lines = []
    for number, (name, code) in enumerate(raf_labels(basic).items()):
        fractions = [0.0] * 7
        fractions[code - 1] = 0.75
        fractions[(code + number) % 7] += 0.25
        lines.append(f"{name} {' '.join(map(str, fractions))} ")
    return "\n".join(lines)


def add_raf_distributions(basic: Path, place: Path) -> None:
    """Put that file into a folder."""
    (place / DISTRIBUTIONS).write_text(raf_distributions(basic))
