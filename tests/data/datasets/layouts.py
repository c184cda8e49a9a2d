"""Drawn downloads of the data sets in the layouts in which people hold them."""

import csv
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fer.data.datasets.affectnet import COLUMNS as AFFECTNET_COLUMNS
from fer.data.datasets.affectnet import EXPRESSION_OF as AFFECTNET_EXPRESSION_OF
from fer.data.datasets.ckplus import CLASSES
from fer.data.datasets.drawn.parameters import Person, random_actions, wild_scene
from fer.data.datasets.drawn.render import render
from fer.data.datasets.expw import EXPRESSION_OF as EXPW_EXPRESSION_OF
from fer.data.datasets.fer2013 import EXPRESSION_OF, SIDE
from fer.data.datasets.jaffe import EXPRESSION_OF as JAFFE_EXPRESSION_OF
from fer.data.datasets.raf import DISTRIBUTIONS, LABELS
from fer.expressions import EXPRESSIONS

RAF_IMAGES = "Image/aligned"
FER2013_USAGES = ("Training", "Training", "Training", "PublicTest", "PrivateTest")
"""Of the five drawn faces of each expression."""


def drawn_face(expression: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """A drawn face of an expression in RGB."""
    rng = np.random.default_rng(seed)
    person, actions = Person(rng), random_actions(rng, expression, strength=(0.8, 1.0))
    return render(person, actions, wild_scene(rng), size, rng)


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


def fer2013_rows() -> list[tuple[str, int, np.ndarray]]:
    """(usage, emotion's code, pixels) of drawn faces."""
    rows = []
    for code, expression in EXPRESSION_OF.items():
        for number, usage in enumerate(FER2013_USAGES):
            face = drawn_face(expression, 100 * code + number, (SIDE, SIDE))
            rows.append((usage, code, np.asarray(face.convert("L"))))
    return rows


def fer2013_table(path: Path, rows: Sequence[tuple[str, int, np.ndarray]]) -> Path:
    """FER2013's table, with the columns that Kaggle gives a file of this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    later = path.name == "icml_face_data.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", " Usage", " pixels"] if later else ["emotion", "pixels", "Usage"])
        for usage, code, values in rows:
            pixels = " ".join(map(str, values.ravel()))
            writer.writerow([code, usage, pixels] if later else [code, pixels, usage])
    return path.parent


def ckplus_sequences(folder: Path, people: Sequence[str] = ("S005", "S010"), frames: int = 3) -> Path:
    """CK+ as its authors send it: a sequence of every emotion of each person, and one that is not labelled."""
    for person in people:
        for number, label in enumerate([*CLASSES[1:], ""], start=1):
            sequence = folder / "cohn-kanade-images" / person / f"{number:03d}"
            labels = folder / "Emotion" / person / f"{number:03d}"
            sequence.mkdir(parents=True)
            labels.mkdir(parents=True)
            (sequence / ".DS_Store").touch()
            for frame in range(1, frames + 1):
                expression = label if frame == frames and label in EXPRESSIONS else "neutral"
                face = drawn_face(expression, int(person[1:]) + 10 * number + frame, (64, 49))
                face.convert("L").save(sequence / f"{person}_{number:03d}_{frame:08d}.png")
            if label:
                code = f"   {CLASSES.index(label)}.0000000e+00\n"
                (labels / f"{person}_{number:03d}_{frames:08d}_emotion.txt").write_text(code)
    return folder


def ckplus_classes(folder: Path, people: Sequence[str] = ("S005", "S010")) -> Path:
    """CK+48: the last three frames of each labelled sequence in a folder of its class."""
    for person in people:
        for number, label in enumerate(CLASSES[1:], start=1):
            place = folder / "CK+48" / ("happy" if label == "happiness" else label)
            place.mkdir(parents=True, exist_ok=True)
            for frame in (8, 9, 10):
                expression = label if label in EXPRESSIONS else "neutral"
                face = drawn_face(expression, int(person[1:]) + 10 * number + frame, (48, 48))
                face.convert("L").save(place / f"{person}_{number:03d}_{frame:08d}.png")
    return folder


def jaffe(folder: Path, people: Sequence[str] = ("KA", "YM")) -> Path:
    """JAFFE, of each person a picture of each expression."""
    (folder / "jaffe").mkdir(parents=True)
    (folder / "jaffe" / "README").write_text("ratings")
    for person in people:
        for number, (code, expression) in enumerate(JAFFE_EXPRESSION_OF.items(), start=1):
            face = drawn_face(expression, ord(person[0]) + number, (256, 256))
            face.convert("L").save(folder / "jaffe" / f"{person}.{code}1.{ord(person[0]) + number}.tiff")
    return folder


def photograph(expressions: Sequence[str], seed: int) -> Image.Image:
    """A photograph of drawn faces beside each other, each in a square of 64 pixels, with a border around."""
    picture = Image.new("RGB", (32 + 96 * len(expressions), 128), (90, 120, 150))
    for number, expression in enumerate(expressions):
        picture.paste(drawn_face(expression, seed + number, (64, 64)), (32 + 96 * number, 32))
    return picture


def expw(folder: Path, pictures: int = 28) -> Path:
    """ExpW: photographs of two faces each, and a list of the faces' boxes."""
    images = folder / "image" / "origin"
    images.mkdir(parents=True)
    (folder / "label").mkdir()
    lines = []
    codes = list(EXPW_EXPRESSION_OF)
    for number in range(pictures):
        name = f"happy_child_{number}.jpg"
        of_picture = [codes[number % 7], codes[(number + 1) % 7]]
        photograph([EXPW_EXPRESSION_OF[code] for code in of_picture], 10 * number).save(images / name)
        for face, code in enumerate(of_picture):
            top, left = 32, 32 + 96 * face
            lines.append(f"{name} {face} {top} {left} {left + 64} {top + 64} 51.03 {code}")
    (folder / "label" / "label.lst").write_text("\n".join(lines) + "\n")
    return folder


AFFECTNET_CODES = {"train": [*range(8), *range(11), *range(7)], "test": [*range(8), *range(8)]}
"""The codes of a drawn AffectNet's pictures: two or three of each expression, and some that are none."""


def affectnet_face(code: int, seed: int, size: tuple[int, int]) -> Image.Image:
    """A drawn face for a code, which may be no expression's."""
    return drawn_face(AFFECTNET_EXPRESSION_OF.get(code, "neutral"), seed, size)


def affectnet_tables(folder: Path, header: bool = True) -> Path:
    """AffectNet's first release: photographs in numbered folders, and tables with the faces' boxes."""
    lists = folder / "Manually_Annotated_file_lists"
    lists.mkdir(parents=True)
    for part, table in (("train", "training.csv"), ("test", "validation.csv")):
        with (lists / table).open("w", newline="") as file:
            writer = csv.writer(file)
            if header or part == "train":
                writer.writerow(AFFECTNET_COLUMNS)
            for number, code in enumerate(AFFECTNET_CODES[part]):
                name = f"{number % 3}/{part}{number:04d}.{'png' if number == 1 else 'JPG'}"
                path = folder / "Manually_Annotated_Images" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                photograph([AFFECTNET_EXPRESSION_OF.get(code, "neutral"), "neutral"], 50 * number).save(path)
                box = ["NULL"] * 4 if code > 7 else ["32", "32", "64", "64"]
                writer.writerow([name, *box, ";".join(["1.5"] * 136), code, "-0.1", "0.3"])
    return folder


def affectnet_arrays(folder: Path) -> Path:
    """AffectNet's later release: cut faces, and a NumPy file for each annotation."""
    for part, place in (("train", folder / "train_set"), ("test", folder / "val_set")):
        (place / "images").mkdir(parents=True)
        (place / "annotations").mkdir()
        for number, code in enumerate(AFFECTNET_CODES[part]):
            affectnet_face(code, 50 * number, (112, 112)).save(place / f"images/{number}.jpg")
            np.save(place / f"annotations/{number}_exp.npy", np.array(str(code)))
            np.save(place / f"annotations/{number}_val.npy", np.array("-0.1"))
            np.save(place / f"annotations/{number}_aro.npy", np.array("0.3"))
            np.save(place / f"annotations/{number}_lnd.npy", np.zeros(136))
    return folder


def affectnet_plus(folder: Path) -> Path:
    """AffectNet+: cut faces, and a JSON file of annotations for each."""
    for part, name in (("train", "train_set"), ("test", "validation_set")):
        place = folder / "AffectNet+" / "human_annotated" / name
        (place / "images").mkdir(parents=True)
        (place / "annotations").mkdir()
        for number, code in enumerate(AFFECTNET_CODES[part]):
            affectnet_face(code, 50 * number, (112, 112)).save(place / f"images/{number}.jpg")
            annotation = {"human-label": code, "soft-label": [0.1] * 8, "age": 30}
            (place / f"annotations/{number}.json").write_text(json.dumps(annotation))
    return folder
