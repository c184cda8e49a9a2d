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
    """Read RAF's label file.

    Args:
        source: The folder `basic`, one that holds it, or a tree that the 2021 project prepared.

    Raises:
        DataError: The folder has no label file, or a line of it cannot be read.
    """
    base = next((folder for folder in (source, source / "basic") if (folder / LABELS).is_file()), None)
    if base is None:
        return _scan_tree(source)
    labels = _read_labels(base / LABELS)
    names = [(name, expression) for name, expression in labels.items() if name.startswith("train")]
    validation = validation_names(names)
    found = Scan()
    for name, expression in labels.items():
        aligned = IMAGES / f"{Path(name).stem}_aligned.jpg"
        split = "validation" if name in validation else name.split("_")[0]
        found.candidates.append(Candidate(base / aligned, expression, split, aligned.name, aligned.as_posix()))
    return found


def _scan_tree(source: Path) -> Scan:
    """Read a tree of 2021, whose folders tell split and expression."""
    tree = files_of_2021_tree(source, "raf_basic")
    if not tree:
        if any((folder / IMAGES).is_dir() for folder in (source, source / "basic")):
            raise DataError(f"{source} looks like RAF's 'basic' without 'EmoLabel': it has no {LABELS}")
        raise WrongFolder(f"{source} is not RAF-DB's folder 'basic': it has no {LABELS}")
    labelled = [(path.name.replace("_aligned", ""), name_of(code)) for path, part, code in tree if part == "train"]
    validation = validation_names(labelled)
    found = Scan()
    for path, part, code in tree:
        split = "validation" if path.name.replace("_aligned", "") in validation else part
        source_name = path.relative_to(source).as_posix()
        found.candidates.append(Candidate(path, name_of(code), split, path.name, source_name))
    return found


def _read_labels(path: Path) -> dict[str, str]:
    """Return name -> expression; a name that stands twice must stand with the same code."""
    labels: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text: take it from the download again") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        parts = line.split()
        if len(parts) != 2 or not parts[0].startswith(("train_", "test_")):
            raise DataError(f"{where}: {quoted(line.strip())} is not of the form 'train_00001.jpg 5'")
        try:
            expression = name_of(int(parts[1]))
        except ValueError:
            raise DataError(f"{where}: {quoted(parts[1])} is no expression code from 1 to 7") from None
        if labels.setdefault(parts[0], expression) != expression:
            raise DataError(f"{where}: {parts[0]} has two labels, {labels[parts[0]]} and {expression}")
    if not labels:
        raise DataError(f"{path} is empty")
    return labels


RAF = DataSet(
    name="raf",
    title="RAF-DB basic",
    scan=scan,
    default_paths=lambda root: (
        Path("~/.cache/torch/mmf/data/raf_basic/basic").expanduser(),
        root / "raf_basic" / "basic",
        root / "raf" / "basic",
    ),
    instructions="request it with an academic address at www.whdeng.cn/RAF/model1.html",
    terms="RAF-DB: non-commercial research only, no redistribution",
    showable=False,
    native_side=100,
    expected_counts={"train": TRAIN_COUNTS, "test": TEST_COUNTS},
)
