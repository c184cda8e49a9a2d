"""ExpW: 91,793 faces with given boxes in photographs from the web, often several in one.

Zhang, Luo, Loy & Tang, "From Facial Expression Recognition to Interpersonal Relation Prediction", IJCV 2018. A line of
`label/label.lst` reads: picture, number of the face in it, top, left, right and bottom of its box, the detector's
confidence, code of the expression; pictures lie in `image/origin/`.

There is no official split. Ours takes a tenth of the pictures for testing and a tenth of the others for validation,
chosen by hashes of their names, each picture with all its faces. It is stratified by the rarest expression of each
picture, which is as far as pictures with several faces allow. Figures of other authors' splits do not compare.

Known faults: the labels are noisy, given to what a search for words of emotion had found; some lines stand twice. How
the complete set falls to the splits is not known here, so what is missing is told by the number of faces listed.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder, find_folder
from fer.data.datasets.tables import read_lines
from fer.data.framing import Framing
from fer.data.splits import held_out_names, validation_names
from fer.errors import DataError, quoted
from fer.portable.detection import Box

LABELS = "label.lst"
EXPRESSION_OF = dict(enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")))
FACES = 91_793
"""In the complete list."""
TEST_FRACTION = 0.1
FIRST_PICTURES = 50
"""Pictures by which their folder is recognised; a few may be missing."""


class Face(NamedTuple):
    """A face of a picture: its number there, its box, and the expressions that the list gives it, usually one."""

    number: str
    box: Box
    expressions: list[str]


def scan(source: Path) -> Scan:
    """Scan ExpW's list of faces.

    Args:
        source: A folder with `label.lst` in it or below, and the pictures in the same or another one below.

    Raises:
        DataError: The folder is no ExpW, has no pictures, or a line cannot be read.
    """
    labels = find_folder(source, lambda folder: (folder / LABELS).is_file())
    if labels is None:
        raise WrongFolder(f"{source} is not ExpW: it has no {LABELS}")
    pictures = _read_labels(labels / LABELS)
    first = [name for name in list(pictures)[:FIRST_PICTURES] if Path(name).name == name]
    images = find_folder(source, lambda folder: any(_is_file(folder / name) for name in first))
    if images is None:
        missing = f"none of the first pictures that {LABELS} names"
        raise DataError(f"{source} has ExpW's labels but {missing}: unpack the pictures there, too")
    result = Scan()
    listed = sum(map(len, pictures.values()))
    if listed < FACES:
        result.left_out.append((LABELS, f"it lists {listed} faces, and the complete list {FACES}"))
    splits = _splits(pictures)
    # All faces of a picture one after the other, so that it is read from the disk once.
    for name, faces in pictures.items():
        for face in faces:
            source_name = f"{name} face {face.number}"
            fault = _fault(name, face)
            if fault:
                result.left_out.append((source_name, fault))
                continue
            candidate = Candidate(
                path=images / name,
                expression=face.expressions[0],
                split=splits[name],
                name=f"{Path(name).stem}_{face.number}.jpg",
                source_name=source_name,
                box=face.box,
            )
            result.candidates.append(candidate)
    return result


def _is_file(path: Path) -> bool:
    # Unlike Path's, this test says no where the list holds what no name can be.
    return os.path.isfile(path)  # noqa: PTH113


def _fault(name: str, face: Face) -> str:
    """Return why a face is left out; or nothing."""
    # The list might lead anywhere on the disk.
    if Path(name).name != name:
        return "its picture's name is no file's name"
    return "two lines give it two expressions" if len(set(face.expressions)) > 1 else ""


def _read_labels(path: Path) -> dict[str, list[Face]]:
    """Return the faces by picture, one for each box."""
    pictures: dict[str, dict[Box, Face]] = {}
    for where, line in read_lines(path):
        try:
            # The order of the sides is the list's own.
            name, number, top, left, right, bottom, _, code = line.split()
            box = (float(left), float(top), float(right), float(bottom))
            face = Face(str(int(number)), box, [])
            expression = EXPRESSION_OF[int(code)]
        except (ValueError, KeyError):
            form = "picture, face, top, left, right, bottom, confidence, expression from 0 to 6"
            raise DataError(f"{where}: {quoted(line)} is not of the form {form}") from None
        pictures.setdefault(name, {}).setdefault(box, face).expressions.append(expression)
    return {name: list(faces.values()) for name, faces in pictures.items()}


def _splits(pictures: Mapping[str, Sequence[Face]]) -> dict[str, str]:
    """Return the split of each picture, stratified by the rarest expression in it."""
    faces = chain.from_iterable(pictures.values())
    frequency = Counter(face.expressions[0] for face in faces)
    rarest = {}
    for name, of_picture in pictures.items():
        rarest[name] = min((face.expressions[0] for face in of_picture), key=lambda label: (frequency[label], label))
    test = held_out_names(list(rarest.items()), TEST_FRACTION, "test")
    validation = validation_names([(name, label) for name, label in rarest.items() if name not in test])
    splits = dict.fromkeys(rarest, "train")
    return splits | dict.fromkeys(test, "test") | dict.fromkeys(validation, "validation")


EXPW = DataSet(
    name="expw",
    title="ExpW",
    scan=scan,
    folders=("expw", "ExpW"),
    instructions="download it from mmlab.ie.cuhk.edu.hk/projects/socialrelation and unpack its pictures and labels",
    terms="ExpW: non-commercial research only, no redistribution",
    showable=False,
    native_side=224,
    has_duplicates=True,
    framing=Framing(),
)
