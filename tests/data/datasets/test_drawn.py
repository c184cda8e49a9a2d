import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fer.data.datasets.drawn import (
    KDEF_PEOPLE,
    STAMP,
    _raf_counts,
    write_drawn,
    write_kdef,
    write_raf,
    write_wikimedia,
)
from fer.data.datasets.drawn.parameters import PROTOTYPES, Person, random_actions, studio_scene
from fer.data.datasets.drawn.render import render
from fer.data.datasets.kdef import TEST_PEOPLE
from fer.errors import DataError
from fer.expressions import EXPRESSIONS

COUNTS = {"train": dict.fromkeys(EXPRESSIONS, 2) | {"happiness": 4}, "test": dict.fromkeys(EXPRESSIONS, 1)}


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=float)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    write_drawn(folder, scale=0.01)
    return folder


@pytest.fixture(scope="module")
def kdef(drawn: Path) -> Path:
    return drawn / "kdef"


def test_every_expression_has_a_prototype() -> None:
    assert set(PROTOTYPES) == set(EXPRESSIONS)


def test_same_seed_gives_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_raf(tmp_path / name / "raf", COUNTS, seed)
        write_wikimedia(tmp_path / name / "wikimedia", 1, seed)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    pictures = [name for name in first if name.endswith(".jpg")]
    assert all(first[name] != other.get(name) for name in pictures)


def test_raf_layout_counts_and_missing_last_newline(tmp_path: Path) -> None:
    write_raf(tmp_path / "basic", COUNTS, seed=1)
    text = (tmp_path / "basic/EmoLabel/list_patition_label.txt").read_text()
    lines = [line.split() for line in text.splitlines()]
    assert not text.endswith("\n")
    assert lines[0][0] == "train_00001.jpg"
    assert lines[-1][0] == "test_0007.jpg"
    codes = Counter(int(code) for name, code in lines if name.startswith("train"))
    assert codes == {1: 2, 2: 2, 3: 2, 4: 4, 5: 2, 6: 2, 7: 2}
    images = tmp_path / "basic/Image/aligned"
    assert {path.name for path in images.iterdir()} == {name.replace(".jpg", "_aligned.jpg") for name, _ in lines}
    with Image.open(images / "train_00001_aligned.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (100, 100))


def test_raf_numbering_does_not_betray_the_class(tmp_path: Path) -> None:
    write_raf(tmp_path / "basic", COUNTS, seed=1)
    text = (tmp_path / "basic/EmoLabel/list_patition_label.txt").read_text()
    codes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("train")]
    assert codes != sorted(codes)


def test_demo_counts_keep_rafs_imbalance() -> None:
    counts = _raf_counts(1.0)
    assert counts["train"] == dict(zip(EXPRESSIONS, (147, 40, 82, 544, 226, 80, 288), strict=True))
    assert counts["test"] == dict(zip(EXPRESSIONS, (45, 20, 22, 162, 65, 22, 93), strict=True))
    assert set(KDEF_PEOPLE) <= set(TEST_PEOPLE)


def test_kdef_layout_and_faults(kdef: Path) -> None:
    folders = sorted(path.name for path in (kdef / "KDEF").iterdir())
    assert folders == ["AF31", "AM31", "BF31", "BM31"]
    names = {path.name for path in (kdef / "KDEF").rglob("*.JPG")}
    assert len(names) == 140
    assert {"AF31V.JPG", "AM31H.JPG", "AF31AFFL.JPG", "BM31SUS.JPG"} <= names
    assert not {"AF31SAHL.JPG", "AM31SUHR.JPG"} & names
    black = [path.name for path in (kdef / "KDEF").rglob("*.JPG") if pixels(path).max() == 0]
    assert black == ["BM31AFFL.JPG"]
    assert len(list((kdef / "AKDEF").iterdir())) == 1


def test_kdef_size_is_an_argument(tmp_path: Path) -> None:
    write_kdef(tmp_path / "kdef", ["F01"], seed=1, size=(56, 76))
    with Image.open(tmp_path / "kdef/KDEF/AF01/AF01NES.JPG") as image:
        assert image.size == (56, 76)


def test_kdef_sessions_share_the_person_and_angles_differ(kdef: Path) -> None:
    neutral = pixels(kdef / "KDEF/AF31/AF31NES.JPG")
    same, profile, other = (
        np.abs(neutral - pixels(kdef / "KDEF" / name[:4] / name)).mean()
        for name in ("BF31NES.JPG", "AF31NEFL.JPG", "AM31NES.JPG")
    )
    assert same < 0.7 * profile
    assert same < 0.7 * other


def test_neutral_differs_from_surprise_in_brows_and_mouth() -> None:
    who, scene = Person(np.random.default_rng(3)), studio_scene(np.random.default_rng(4), 0.0)
    neutral, surprise = (
        np.asarray(
            render(who, dict.fromkeys(PROTOTYPES[name][0], 1.0), scene, (140, 190), np.random.default_rng(5)),
            dtype=float,
        )
        for name in ("neutral", "surprise")
    )
    rows = np.abs(neutral - surprise).mean(axis=(1, 2))
    assert rows[60:100].mean() > 3
    assert rows[125:160].mean() > 3
    assert rows[:50].max() == 0


def test_profiles_mirror_each_other_and_not_themselves() -> None:
    who = Person(np.random.default_rng(3))
    even = replace(studio_scene(np.random.default_rng(4), 0.0), roll=0.0, shift=(0.0, 0.0), light=(0.0, 0.0), noise=0.0)
    scenes = [replace(even, yaw=yaw) for yaw in (-90.0, 90.0)]
    left, right = (
        np.asarray(render(who, {}, scene, (140, 190), np.random.default_rng(5)), dtype=float) for scene in scenes
    )
    assert np.abs(left - right).mean() > 3 * np.abs(left - right[:, ::-1]).mean()


def test_wikimedia_modes_names_and_backup(drawn: Path) -> None:
    place = drawn / "wikimedia"
    assert sorted(path.name for path in place.iterdir()) == list("1234567")
    pictures = [path for path in place.rglob("*.*") if not path.name.endswith("~")]
    assert len(pictures) == 21
    assert len(list(place.rglob("*~"))) == 1
    modes, turned = set(), []
    for path in pictures:
        with Image.open(path) as image:
            modes.add((image.format, image.mode))
            assert max(image.size) == 224
            if image.getexif().get(0x0112) == 6:
                turned.append(path)
                assert ImageOps.exif_transpose(image).size == image.size[::-1]
    assert {("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA")} == modes
    assert len(turned) == 1
    names = " ".join(path.name for path in pictures)
    assert all(part in names for part in (" ", '"', "(", "چهره"))


def test_write_all_keeps_a_matching_set_and_replaces_another(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    write_drawn(folder, scale=0.01)
    (folder / "mark").touch()
    write_drawn(folder, scale=0.01)
    assert (folder / "mark").exists()
    (folder / STAMP).write_text(json.dumps({"version": 0}))
    write_drawn(folder, scale=0.01)
    assert not (folder / "mark").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"drawn", ".locks"}


def test_write_all_spares_a_folder_it_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn/holiday.jpg").touch()
    with pytest.raises(DataError, match="in the way"):
        write_drawn(tmp_path / "drawn", scale=0.01)
    assert (tmp_path / "drawn/holiday.jpg").exists()


def test_actions_stay_in_range_and_overlap() -> None:
    rng = np.random.default_rng(0)
    showings = [random_actions(rng, "surprise") for _ in range(200)]
    values = [value for showing in showings for value in showing.values()]
    assert 0 <= min(values) <= max(values) <= 1
    assert any(4 in showing for showing in showings), "units of other expressions join in"
    assert any(showing[2] == 0 for showing in showings), "some units stay out"


def test_drawing_needs_no_torch() -> None:
    code = "import sys, fer.data.datasets.drawn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
