"""RAF-DB basic: aligned 100x100 faces with one of seven expressions, trained and tested on as published.

Li, Deng & Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild",
CVPR 2017. People hold it in several layouts, which all give the same pictures, labels and splits:

- the authors' download, `basic/EmoLabel/list_patition_label.txt` and `basic/Image/aligned/`, or `aligned.zip` in its
  place, as it comes; also with a second `basic` inside, or all of it packed once more;
- a folder for each class, `DATASET/{train,test}/{1..7}/train_00001_aligned.jpg`, with or without the tables
  `train_labels.csv` and `test_labels.csv`; also as the 2021 project prepared it.

Beside the labels may lie `distribution_basic.txt`: how the about 40 annotators of each picture voted, a line
`train_00001.jpg` and seven fractions. Its columns are taken to be in the order of the codes, which the labels must bear
out, for the file was not at hand.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder, files_of_2021_tree, find_folder
from fer.data.datasets.tables import read_lines, read_table
from fer.data.manifest import votes_text
from fer.data.splits import validation_names
from fer.errors import DataError, quoted, shortened
from fer.expressions import EXPRESSIONS, name_of

LABELS = Path("EmoLabel/list_patition_label.txt")  # the misspelling is the data set's own
IMAGES = Path("Image/aligned")
ZIPPED_IMAGES = Path("Image/aligned.zip")
DISTRIBUTIONS = "distribution_basic.txt"
TABLES = {"train": "train_labels.csv", "test": "test_labels.csv"}
IMAGE_NAME = re.compile(r"(train|test)_\d+(_aligned)?\.jpg")
MIN_AGREEMENT = 0.5
"""Fraction of the labels that the annotators' distributions must bear out; in another order of columns few do."""

TRAIN_COUNTS = dict(zip(EXPRESSIONS, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True))
TEST_COUNTS = dict(zip(EXPRESSIONS, (329, 74, 160, 1185, 478, 162, 680), strict=True))


def scan(source: Path) -> Scan:
    """Scan RAF's label file, or the folders of its classes.

    Args:
        source: The folder of one of the layouts above, or one that holds it.

    Raises:
        DataError: The folder has no labels, or they cannot be read or contradict each other.
    """
    base = find_folder(source, lambda folder: (folder / LABELS).is_file())
    if base:
        return Scan(_from_labels(base))
    base = find_folder(source, lambda folder: bool(_classified_files(folder)))
    if base:
        return _from_classes(base)
    if find_folder(source, lambda folder: (folder / IMAGES).is_dir() or (folder / ZIPPED_IMAGES).is_file()):
        raise DataError(f"{source} looks like RAF's 'basic' without 'EmoLabel': it has no {LABELS}")
    layouts = f"it has no {LABELS}, and no folders such as train/1 with pictures such as train_00001_aligned.jpg"
    raise WrongFolder(f"{source} is not RAF-DB's folder 'basic': {layouts}")


def _from_labels(base: Path) -> list[Candidate]:
    labels = _read_labels(base / LABELS)
    splits = _splits(labels)
    votes = _read_distributions((base / LABELS.parent, base, base.parent), labels)
    # Unpacked as some tools do, into a folder of the archive's name that holds another.
    nested = base / IMAGES / IMAGES.name
    folder = nested if nested.is_dir() else base / IMAGES
    present = {path.name for path in folder.glob("*")}
    names = {label: f"{Path(label).stem}_aligned.jpg" for label in labels}
    zipped = {}
    if not present.issuperset(names.values()) and (base / ZIPPED_IMAGES).is_file():
        zipped = _zipped_images(base / ZIPPED_IMAGES)
    candidates = []
    for label, expression in labels.items():
        name = names[label]
        in_zip = name in zipped and name not in present
        # A picture that is in neither is left out when it is read.
        path = base / ZIPPED_IMAGES if in_zip else folder / name
        candidate = Candidate(
            path=path,
            expression=expression,
            split=splits[label],
            name=name,
            source_name=(path / name if in_zip else path).relative_to(base).as_posix(),
            votes=votes.get(label, ""),
            read=zipped[name] if in_zip else None,
        )
        candidates.append(candidate)
    return candidates


def _zipped_images(archive: Path) -> dict[str, Callable[[], bytes]]:
    """Return what reads each picture of the archive, by the picture's name."""
    # Brings zipfile and tarfile, which most downloads do not need.
    from fer.data.archives import ZippedFiles

    zipped = ZippedFiles(archive)
    return {name.rpartition("/")[2]: partial(zipped.read, name) for name in zipped.names()}


def _splits(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the split of each label; RAF names no people, so validation is a stratified part of training."""
    training = [(label, expression) for label, expression in labels.items() if label.startswith("train")]
    # Chosen by the labels' names, so that every layout gives the same split.
    validation = validation_names(training)
    return {label: "validation" if label in validation else label.split("_")[0] for label in labels}


def _read_labels(path: Path) -> dict[str, str]:
    """Return the expressions by name; a name that stands twice must stand with the same code."""
    labels: dict[str, str] = {}
    for where, line in read_lines(path):
        words = line.split()
        if len(words) != 2 or not words[0].startswith(("train_", "test_")):
            raise DataError(f"{where}: {quoted(line)} is not of the form 'train_00001.jpg 5'")
        name, code = words
        expression = _expression(code, where)
        if labels.setdefault(name, expression) != expression:
            raise DataError(f"{where}: {shortened(name)} has two labels, {labels[name]} and {expression}")
    if not labels:
        raise DataError(f"{path} is empty")
    return labels


def _expression(code: str, where: str) -> str:
    try:
        return name_of(int(code))
    except ValueError:
        raise DataError(f"{where}: {quoted(code)} is no expression code from 1 to 7") from None


def _read_distributions(folders: Iterable[Path], labels: Mapping[str, str]) -> dict[str, str]:
    """Return the annotators' votes by label, as manifests hold them; none where there is no such file."""
    path = _first_file(folders, DISTRIBUTIONS)
    if path is None:
        return {}
    votes = {}
    agreeing = known = 0
    for where, line in read_lines(path):
        name, *cells = line.split()
        fractions = _fractions(cells)
        if not fractions:
            raise DataError(f"{where}: {quoted(line)} is no picture's name and {len(EXPRESSIONS)} fractions")
        if name in labels:
            votes[name] = votes_text(fractions)
            known += 1
            agreeing += fractions[labels[name]] == max(fractions.values())
    if agreeing < MIN_AGREEMENT * known or not known:
        fault = f"agrees with the labels of {agreeing} of {len(labels)} pictures only"
        raise DataError(f"{path} {fault}: take it from RAF-DB basic, or leave it away")
    return votes


def _fractions(cells: list[str]) -> dict[str, float]:
    """Return a line's fractions by expression; nothing where they are none."""
    try:
        numbers = list(map(float, cells))
    except ValueError:
        return {}
    if len(numbers) != len(EXPRESSIONS) or min(numbers) < 0 or not 0 < sum(numbers) < math.inf:
        return {}
    return dict(zip(EXPRESSIONS, numbers, strict=True))


def _classified_files(base: Path) -> list[tuple[Path, str, int]]:
    """List (file, `train` or `test`, code) of a folder whose folders tell split and expression."""
    files = files_of_2021_tree(base, "raf_basic") or files_of_2021_tree(base, "")
    # Other sets have such folders too.
    return files if any(IMAGE_NAME.fullmatch(path.name) for path, *_ in files) else []


def _from_classes(base: Path) -> Scan:
    result = Scan()
    pictures: dict[str, Path] = {}
    labels: dict[str, str] = {}
    for path, part, code in _classified_files(base):
        match = IMAGE_NAME.fullmatch(path.name)
        label = path.name.replace("_aligned", "")
        if not match:
            reason = "its name is not of the form train_00001_aligned.jpg"
            result.left_out.append((path.relative_to(base).as_posix(), reason))
        elif match[1] != part:
            raise DataError(f"{path} is no picture of {part}: RAF-DB's own split is needed")
        elif label in labels:
            raise DataError(f"{path} has two labels, as {pictures[label]} is the same picture: leave only one of them")
        else:
            pictures[label] = path
            labels[label] = name_of(code)
    for part, table in TABLES.items():
        table_path = _first_file((base, base.parent), table)
        if table_path:
            _compare_with_table(table_path, part, base, pictures, labels)
    splits = _splits(labels)
    votes = _read_distributions((base, base.parent), labels)
    for label, expression in labels.items():
        path = pictures[label]
        source_name = path.relative_to(base).as_posix()
        candidate = Candidate(path, expression, splits[label], path.name, source_name, votes=votes.get(label, ""))
        result.candidates.append(candidate)
    return result


def _compare_with_table(
    table: Path,
    part: str,
    base: Path,
    pictures: dict[str, Path],
    labels: dict[str, str],
) -> None:
    """Compare the folders of a part with its table, and add the pictures that are missing, to be left out as such.

    Raises:
        DataError: They contradict each other.
    """
    listed = set()
    for where, (image, code) in read_table(table, ("image", "label")):
        label = image.replace("_aligned", "")
        expression = _expression(code, where)
        listed.add(label)
        if labels.setdefault(label, expression) != expression:
            raise DataError(f"{where}: {shortened(image)} shows {expression}, but lies in {pictures[label].parent}")
        pictures.setdefault(label, base / part / code / image)
    unlisted = next((label for label in labels if label.startswith(part) and label not in listed), None)
    if unlisted:
        raise DataError(f"{table} has no row for {pictures[unlisted]}: take both from one download")


def _first_file(folders: Iterable[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


RAF = DataSet(
    name="raf",
    title="RAF-DB basic",
    scan=scan,
    # The first is where MMF, the framework of 2021's downloads, puts it.
    folders=("~/.cache/torch/mmf/data/raf_basic/basic", "raf_basic/basic", "raf/basic", "raf_basic", "raf", "RAF-DB"),
    instructions="request it with an academic address at www.whdeng.cn/RAF/model1.html",
    terms="RAF-DB: non-commercial research only, no redistribution",
    showable=False,
    native_side=100,
    expected_counts={"train": TRAIN_COUNTS, "test": TEST_COUNTS},
)
