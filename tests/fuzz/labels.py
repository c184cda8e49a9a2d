"""Readers of lists, tables and annotations of labels: every data set's, on a small download with a file spoilt."""

import io
import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from fer.data.copying import copy_checked
from fer.data.datasets import own
from fer.data.datasets.base import DataSet, Scan
from fer.data.datasets.class_names import parse_class_map
from fer.data.datasets.ferplus import COLUMNS as VOTES
from fer.data.datasets.registry import DATASETS
from fer.data.prepared import fingerprint
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import TEXTS, altered, as_json, spoilt

Input = tuple[str, bytes]
"""Which file of a download is spoilt, and what it then holds."""
WORDS = (
    b"train_00001.jpg 5\n",
    b"/etc/hostname",
    b"../../../escape.jpg",
    b"/proc/self/mem",
    b"/dev/zero",
    b"~root/x.jpg",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b'"',
    b",,,,,,,,,,",
    b"\r",
    b"\x0b",
    b"\x85",
    b"nan",
    b"inf",
    b"-inf",
    b"1_0",
    b"0x7",
    b"+5",
)


def picture(seed: int = 0, side: int = 48) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def draw(folder: Path, *names: str) -> None:
    """Put a picture under each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)


def target(
    name: str,
    dataset: DataSet,
    pictures: tuple[str, ...],
    files: Mapping[str, bytes],
    inputs: SearchStrategy[Input] | None = None,
    known: tuple[Input, ...] = (),
) -> Target[Input]:
    """Return the reader of a download.

    Args:
        name: What it reads.
        dataset: Whose.
        pictures: Names of the pictures.
        files: The other files, of which one is spoilt at a time.
        inputs: How; None: their bytes.
        known: As of `Target`.
    """

    def set_up(folder: Path) -> None:
        draw(folder / "download", *pictures)
        for path, content in files.items():
            write(folder / "download" / path, content)

    def read(value: Input, folder: Path) -> Scan:
        path, content = value
        source = folder / "download"
        write(source / path, content)
        try:
            scan = dataset.scan(source)
            fingerprint(dataset, source, scan)
            rows, left_out = copy_checked(dataset, scan, folder / "draft")
            assert len(rows) + len(left_out) >= len(scan.candidates)
            return scan
        finally:
            shutil.rmtree(folder / "draft", ignore_errors=True)
            write(source / path, files[path])

    spoilt_files = [spoilt([content], WORDS).map(partial(named, path)) for path, content in files.items()]
    valid = tuple(files.items())
    return Target(name, st.one_of(spoilt_files) if inputs is None else inputs, read, Scan, valid, known, set_up)


def named(path: str, content: bytes) -> Input:
    return path, content


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def raf() -> list[Target[Input]]:
    labels = [("train_00001", 5), ("train_00002", 4), ("test_0001", 7)]
    lines = "\n".join(f"{name}.jpg {code}" for name, code in labels)
    votes = "\n".join(f"{name}.jpg {'0 ' * (code - 1)}1 {'0 ' * (7 - code)}" for name, code in labels)
    lists = {"EmoLabel/list_patition_label.txt": lines.encode(), "EmoLabel/distribution_basic.txt": votes.encode()}
    aligned = tuple(f"Image/aligned/{name}_aligned.jpg" for name, _ in labels)
    classes = tuple(f"{name.split('_')[0]}/{code}/{name}_aligned.jpg" for name, code in labels)
    tables = {}
    for part in ("train", "test"):
        rows = [f"{name}_aligned.jpg,{code}" for name, code in labels if name.startswith(part)]
        tables[f"{part}_labels.csv"] = "\n".join(["image,label", *rows]).encode()
    return [
        target("RAF-DB: lists of labels and votes", DATASETS["raf"], aligned, lists),
        target("RAF-DB: tables of class folders", DATASETS["raf"], classes, tables),
    ]


def fer2013() -> list[Target[Input]]:
    rows = []
    for number, usage in enumerate(("Training", "PublicTest", "PrivateTest")):
        pixels = " ".join(map(str, np.asarray(picture(number).convert("L")).ravel()))
        rows.append(f"{number},{pixels},{usage}")
    table = "\n".join(["emotion,pixels,Usage", *rows]).encode()
    counts = ["10,0,0,0,0,0,0,0,0,0", "0,8,1,0,0,0,0,0,1,0", "0,0,0,9,0,0,0,0,0,1"]
    usages = ("Training", "PublicTest", "PrivateTest")
    head = ",".join(["Usage", "Image name", *VOTES])
    votes = "\n".join([head, *(f"{u},fer{n:07d}.png,{c}" for n, (u, c) in enumerate(zip(usages, counts, strict=True)))])
    return [
        target("FER2013: table of pictures", DATASETS["fer2013"], (), {"fer2013.csv": table}),
        target("FER+: votes", DATASETS["ferplus"], (), {"fer2013.csv": table, "fer2013new.csv": votes.encode()}),
    ]


def expw() -> Target[Input]:
    lines = "a.jpg 0 4 4 30 30 51.03 3\na.jpg 1 10 10 40 40 9.5 6\nb.jpg 0 0 0 48 48 12 2\n"
    files = {"label/label.lst": lines.encode()}
    return target("ExpW: list of faces", DATASETS["expw"], ("image/a.jpg", "image/b.jpg"), files)


def affectnet() -> list[Target[Input]]:
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    rows = {"training": "1/a.jpg,4,4,20,20,1.5;2,3,-0.1,0.3", "validation": "1/b.jpg,NULL,NULL,NULL,NULL,,8,0,0"}
    tables = {
        f"Manually_Annotated_file_lists/{name}.csv": f"{head}\n{row}\n1/c.jpg,1,1,9,9,,7,0,0\n".encode()
        for name, row in rows.items()
    }
    pictures = tuple(f"Manually_Annotated_Images/1/{name}.jpg" for name in "abc")
    arrays = {}
    for place, value in (("train_set", np.array("3")), ("val_set", np.array([5]))):
        content = io.BytesIO()
        np.save(content, value)
        arrays[f"{place}/annotations/0_exp.npy"] = content.getvalue()
    labels = {"human-label": 3, "soft-label": [0.1] * 8, "age": 30}
    notes = {"train_set/annotations/0.json": json.dumps(labels).encode()}
    altered_notes = st.one_of(
        altered(labels).map(as_json).map(partial(named, next(iter(notes)))),
        spoilt(list(notes.values()), WORDS).map(partial(named, next(iter(notes)))),
    )
    cut = ("train_set/images/0.jpg", "val_set/images/0.jpg")
    dataset = DATASETS["affectnet"]
    return [
        target("AffectNet: tables of faces", dataset, pictures, tables),
        target("AffectNet: arrays of annotations", dataset, cut, arrays),
        target("AffectNet+: JSON of annotations", dataset, cut[:1], notes, altered_notes),
    ]


def ckplus() -> Target[Input]:
    frames = tuple(f"cohn-kanade-images/S005/001/S005_001_0000000{number}.png" for number in (1, 2, 3))
    files = {"Emotion/S005/001/S005_001_00000003_emotion.txt": b"   3.0000000e+00\n"}
    return target("CK+: files of emotions", DATASETS["ckplus"], frames, files)


def own_set() -> list[Target[Input]]:
    rows = ["path,label,split,person", "x/a.png,happy,train,P1", "x/b.png,sad,test,P2", "x/c.png,angry,val,P3"]
    table = "\n".join(rows).encode()
    dataset = own.OwnSet("mine", "/nowhere").dataset()
    pictures = ("x/a.png", "x/b.png", "x/c.png")
    return [target("own sets: table", dataset, pictures, {"labels.csv": table})]


def class_maps() -> Target[str]:
    """The option `map` of own sets."""
    words = st.sampled_from(["happy", "7", ":", ",", "anger", "none", "::", " ", *TEXTS])
    return Target(
        "own sets: map of classes",
        st.lists(words, max_size=8).map("".join),
        lambda text, folder: parse_class_map(text),
        dict,
        ("rage:anger,7:neutral,contempt:none", ""),
    )


def file_names() -> Target[tuple[str, list[str]]]:
    """Sets whose labels stand in names of folders and files."""
    letters = st.sampled_from("AFM0123456789.~-_ \n\x1b\u202e\udcfe😀SNEHILR")
    parts = st.one_of(
        st.sampled_from(("AF01", "AF01AFFL.JPG", "KA.AN1.39.tiff", "S010_004_00000017.png", "anger", "happy", "train")),
        st.sampled_from(("test", "1", "7", "train_00001_aligned.jpg", ".hidden", "a~", "Thumbs.db", "n" * 255)),
        st.text(letters, min_size=1, max_size=20),
    )
    paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
    names = ("kdef", "jaffe", "ckplus", "raf", "wikimedia", "own")

    def read(value: tuple[str, list[str]], folder: Path) -> Scan:
        name, wanted = value
        dataset = own.OwnSet("mine", "/nowhere").dataset() if name == "own" else DATASETS[name]
        source = folder / "download"
        source.mkdir()
        try:
            for path in wanted:
                _put(source / path)
            scan = dataset.scan(source)
            copy_checked(dataset, scan, folder / "draft")
            return scan
        finally:
            for made in (source, folder / "draft"):
                shutil.rmtree(made, ignore_errors=True)

    valid = ("kdef", ["KDEF/AF01/AF01AFFL.JPG"]), ("jaffe", ["KA.AN1.39.tiff"]), ("wikimedia", ["1/a.png"])
    inputs = st.tuples(st.sampled_from(names), st.lists(paths, min_size=1, max_size=5))
    return Target("names of folders and files", inputs, read, Scan, valid)


def _put(path: Path) -> None:
    """Put a picture somewhere, unless the name or what is there already forbids it."""
    try:
        if ".." not in path.parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURE)
    except (OSError, ValueError):
        pass


def _encoded() -> bytes:
    content = io.BytesIO()
    picture().save(content, "PNG")
    return content.getvalue()


PICTURE = _encoded()


def targets() -> list[Target]:
    """Return the readers of labels."""
    return [*raf(), *fer2013(), expw(), *affectnet(), ckplus(), *own_set(), class_maps(), file_names()]
