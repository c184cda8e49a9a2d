"""RAF-DB basic: aligned 100x100 faces with one of seven expressions, trained and tested on as published.

Li, Deng & Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild",
CVPR 2017.
"""

from pathlib import Path

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder, files_of_2021_tree
from fer.data.manifest import validation_names
from fer.errors import DataError, quoted
from fer.expressions import EXPRESSIONS, name_of

LABELS = Path("EmoLabel/list_patition_label.txt")  # the misspelling is the data set's own
IMAGES = Path("Image/aligned")

TRAIN_COUNTS = dict(zip(EXPRESSIONS, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True))
TEST_COUNTS = dict(zip(EXPRESSIONS, (329, 74, 160, 1185, 478, 162, 680), strict=True))


def scan(source: Path) -> Scan:
    """Scan RAF's label file.

    Args:
        source: The folder `basic`, one that holds it, or a tree that the 2021 project prepared.

    Raises:
        DataError: The folder has no label file, or a line of it cannot be read.
    """
    bases = (source, source / "basic")
    base = next((folder for folder in bases if (folder / LABELS).is_file()), None)
    if base:
        candidates = _from_labels(base)
    else:
        candidates = _from_2021_tree(source)
        if not candidates and any((folder / IMAGES).is_dir() for folder in bases):
            raise DataError(f"{source} looks like RAF's 'basic' without 'EmoLabel': it has no {LABELS}")
        if not candidates:
            raise WrongFolder(f"{source} is not RAF-DB's folder 'basic': it has no {LABELS}")
    return Scan(candidates)


def _from_labels(base: Path) -> list[Candidate]:
    labels = _read_labels(base / LABELS)
    # RAF names no people and comes without validation, so a stratified part of training is taken.
    training = [(name, expression) for name, expression in labels.items() if name.startswith("train")]
    validation = validation_names(training)
    candidates = []
    for name, expression in labels.items():
        image = IMAGES / f"{Path(name).stem}_aligned.jpg"
        split = "validation" if name in validation else name.split("_")[0]
        candidates.append(Candidate(base / image, expression, split, image.name, image.as_posix()))
    return candidates


def _from_2021_tree(source: Path) -> list[Candidate]:
    """Scan a tree of 2021, whose folders tell split and expression."""
    # Validation is chosen by the labels' names, so that the split is that of the original.
    label_name = {}
    training = []
    files = files_of_2021_tree(source, "raf_basic")
    for path, part, code in files:
        label_name[path] = path.name.replace("_aligned", "")
        if part == "train":
            training.append((label_name[path], name_of(code)))
    validation = validation_names(training)
    candidates = []
    for path, part, code in files:
        split = "validation" if label_name[path] in validation else part
        source_name = path.relative_to(source).as_posix()
        candidates.append(Candidate(path, name_of(code), split, path.name, source_name))
    return candidates


def _read_labels(path: Path) -> dict[str, str]:
    """Return the expressions by name; a name that stands twice must stand with the same code."""
    labels: dict[str, str] = {}
    # Editors on Windows add a mark of byte order.
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text: take it from the download again") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        words = line.split()
        if len(words) != 2 or not words[0].startswith(("train_", "test_")):
            raise DataError(f"{where}: {quoted(line.strip())} is not of the form 'train_00001.jpg 5'")
        name, code = words
        try:
            expression = name_of(int(code))
        except ValueError:
            raise DataError(f"{where}: {quoted(code)} is no expression code from 1 to 7") from None
        if labels.setdefault(name, expression) != expression:
            raise DataError(f"{where}: {name} has two labels, {labels[name]} and {expression}")
    if not labels:
        raise DataError(f"{path} is empty")
    return labels


RAF = DataSet(
    name="raf",
    title="RAF-DB basic",
    scan=scan,
    # The first is where MMF, the framework of 2021's downloads, puts it.
    folders=("~/.cache/torch/mmf/data/raf_basic/basic", "raf_basic/basic", "raf/basic"),
    instructions="request it with an academic address at www.whdeng.cn/RAF/model1.html",
    terms="RAF-DB: non-commercial research only, no redistribution",
    showable=False,
    native_side=100,
    expected_counts={"train": TRAIN_COUNTS, "test": TEST_COUNTS},
)
