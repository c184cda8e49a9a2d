"""CK+: sequences of people in a laboratory, from the resting face to the peak of an expression.

Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)", CVPR Workshops 2010. Of 593 sequences of 123 people, 327 of 118
people are labelled; the others have no file of an emotion and are no pictures of this set. Two layouts are read:

- the authors', with frames `cohn-kanade-images/S005/001/S005_001_00000011.png` and for each labelled sequence a file
  `Emotion/S005/001/S005_001_00000011_emotion.txt`, which holds one code such as `3.0000000e+00`;
- `CK+48`, faces cut to 48x48 in a folder for each class, with the last three frames of each labelled sequence.

The peak, the last frame, stands for its sequence: the frames before it show nearly the same. No sequence is labelled
neutral, but all begin at rest, so the first frame of each person's first labelled sequence is taken as the person's
neutral face; one only, as they are all alike. `CK+48` holds no such frames. The set serves as a test for models trained
elsewhere: it is small, and its people repeat.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder, find_folder, subfolders
from fer.data.framing import Framing
from fer.errors import DataError, quoted
from fer.expressions import EXPRESSIONS

IMAGES = "cohn-kanade-images"
LABELS = "Emotion"
LABEL_ENDING = "_emotion.txt"
LONGEST_LABEL = 1000
"""Characters that are read of a label, which has 16."""
FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d{8})\.png", re.IGNORECASE)
CLASSES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
CLASS_OF: dict[float, str] = dict(enumerate(CLASSES))
"""By code; the files write codes as floating-point numbers."""
CLASS_FOLDERS = {"happy": "happiness", **{name: name for name in CLASSES}}
CONTEMPT = "contempt, which is none of the seven expressions"

# The labelled sequences by expression, and one neutral face of each of the 118 people.
COUNTS = dict(zip(EXPRESSIONS, (83, 25, 59, 69, 28, 45, 118), strict=True))


def scan(source: Path) -> Scan:
    """Scan CK+'s sequences, or the class folders of `CK+48`.

    Args:
        source: A folder that holds one of the layouts, in it or below.

    Raises:
        DataError: The folder is no CK+, lacks the images or the labels, or a label cannot be read.
    """
    images = find_folder(source, lambda folder: (folder / IMAGES).is_dir())
    labels = find_folder(source, lambda folder: (folder / LABELS).is_dir())
    if images and labels:
        return _from_sequences(images / IMAGES, labels / LABELS)
    if images:
        raise DataError(f"{source} has CK+'s images but no labels: unpack Emotion_labels.zip there, too")
    if labels:
        raise DataError(f"{source} has CK+'s labels but no images: unpack extended-cohn-kanade-images.zip there, too")
    classes = find_folder(source, lambda folder: any(map(_frames, _class_folders(folder))))
    if classes:
        return _from_classes(classes)
    layouts = f"it has neither {IMAGES} and {LABELS} nor folders such as anger with pictures S010_004_00000017.png"
    raise WrongFolder(f"{source} is not CK+: {layouts}")


def _from_sequences(images: Path, labels: Path) -> Scan:
    result = Scan()
    people = set()
    for path in sorted(labels.glob(f"*/*/*{LABEL_ENDING}")):
        label = _read_label(path)
        folder = images / path.parent.relative_to(labels)
        frames = _frames(folder)
        if not frames:
            result.left_out.append((folder.relative_to(images).as_posix(), "no frames of this labelled sequence"))
            continue
        named = path.name.replace(LABEL_ENDING, ".png")
        peak = next((frame for frame in frames if frame.name.casefold() == named.casefold()), None)
        if peak is None:
            # The last frame of half a sequence may show nothing yet.
            source_name = (folder / named).relative_to(images).as_posix()
            result.left_out.append((source_name, "the frame that the label names is missing"))
            continue
        _add_peak(result, peak, label, images)
        person = path.parent.parent.name
        # A sequence of contempt begins at rest as well; but some copies hold the last frames only.
        if person not in people and 2 * _number(frames[0]) <= _number(peak):
            people.add(person)
            result.candidates.append(_candidate(frames[0], "neutral", images))
    if not result.candidates:
        raise DataError(
            f"{labels} has no label such as S005/001/S005_001_00000011_emotion.txt of a sequence in {images}"
        )
    return result


def _read_label(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(LONGEST_LABEL).strip()
    try:
        return CLASS_OF[float(text)]
    except (ValueError, KeyError):
        codes = f"from 0 to {len(CLASS_OF) - 1}"
        raise DataError(f"{path}: {quoted(text)} is no code of an emotion {codes}") from None


def _from_classes(base: Path) -> Scan:
    result = Scan()
    for folder, label in _class_folders(base).items():
        peaks: dict[str, Path] = {}
        frames = _frames(folder)
        for path in frames:
            # Frames are sorted, so that the last of a sequence stays.
            peaks[path.name[: len("S010_004")]] = path
        for path in frames:
            if path in peaks.values():
                _add_peak(result, path, label, base)
            else:
                reason = "not the peak, which is the last frame of its sequence"
                result.left_out.append((path.relative_to(base).as_posix(), reason))
    return result


def _class_folders(base: Path) -> Mapping[Path, str]:
    """Return the folders of a class, each with the class."""
    folders = {}
    for folder in subfolders(base):
        label = CLASS_FOLDERS.get(folder.name.lower())
        if label:
            folders[folder] = label
    return folders


def _frames(folder: Path) -> list[Path]:
    """List the frames in a folder in their order; other files, such as macOS's, are passed over."""
    return sorted(path for path in folder.glob("*") if FRAME.fullmatch(path.name))


def _number(frame: Path) -> int:
    """Return a frame's number in its sequence, from 1."""
    match = FRAME.fullmatch(frame.name)
    assert match
    return int(match[3])


def _add_peak(result: Scan, path: Path, label: str, base: Path) -> None:
    if label in EXPRESSIONS:
        result.candidates.append(_candidate(path, label, base))
    else:
        result.left_out.append((path.relative_to(base).as_posix(), CONTEMPT))


def _candidate(path: Path, expression: str, base: Path) -> Candidate:
    match = FRAME.fullmatch(path.name)
    assert match
    return Candidate(
        path=path,
        expression=expression,
        split="test",
        name=path.name,
        source_name=path.relative_to(base).as_posix(),
        person=match[1].upper(),
        session=match[2],
    )


CKPLUS = DataSet(
    name="ckplus",
    title="CK+",
    scan=scan,
    folders=("ckplus", "CK+", "CK+48"),
    instructions="request it at www.jeffcohn.net/Resources",
    terms="CK+: non-commercial research only, no redistribution",
    showable=False,
    native_side=640,
    expected_counts={"test": COUNTS},
    has_train=False,
    framing=Framing(),
)
