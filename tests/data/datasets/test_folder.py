import shutil
from collections import Counter
from pathlib import Path

import pytest

from fer.data.datasets.folder import scan
from fer.errors import ConfigError, DataError
from fer.expressions import EXPRESSIONS

CLASSES = dict(zip(("Surprised", "fearful", "disgust", "happy", "3_sad", "angry", "calm"), EXPRESSIONS, strict=True))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in CLASSES:
        for number in range(20):
            path = tmp_path / "faces" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path / "faces"


def test_classes_are_split_by_expression_and_alike_everywhere(source: Path, tmp_path: Path) -> None:
    found = scan("", "auto", source)
    counts = Counter((candidate.split, candidate.expression) for candidate in found.candidates)
    for expression in EXPRESSIONS:
        assert [counts[split, expression] for split in ("train", "validation", "test")] == [14, 2, 4]
    moved = Path(shutil.move(source, tmp_path / "elsewhere"))
    assert [(each.name, each.split) for each in scan("", "auto", moved).candidates] == [
        (each.name, each.split) for each in found.candidates
    ]


def test_names_are_unique_in_the_set(source: Path) -> None:
    (source / "joy").mkdir()
    (source / "joy/1.jpg").touch()
    names = [candidate.name for candidate in scan("", "auto", source).candidates]
    assert len(set(names)) == len(names) == 141
    assert "joy__1.jpg" in names


@pytest.mark.parametrize(("split", "splits"), [("test", {"test"}), ("train", {"train", "validation"})])
def test_all_can_be_for_one(source: Path, split: str, splits: set[str]) -> None:
    assert {candidate.split for candidate in scan("", split, source).candidates} == splits


def test_the_owners_splits_stay_and_validation_comes_out_of_training(source: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(source, tmp_path / "split" / part)
    candidates = scan("", "auto", tmp_path / "split").candidates
    assert {each.split for each in candidates if each.source_name.startswith("test/")} == {"test"}
    trained = Counter(each.split for each in candidates if each.source_name.startswith("train/"))
    assert trained == {"train": 126, "validation": 14}
    shutil.copytree(source, tmp_path / "split" / "valid")
    candidates = scan("", "auto", tmp_path / "split").candidates
    assert Counter(each.split for each in candidates) == {"train": 140, "validation": 140, "test": 140}


def test_no_person_stands_in_two_splits(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,{EXPRESSIONS[number % 7]},p{number % 31}" for number in range(400)]
    table = tmp_path / "faces.csv"
    table.write_text("\n".join(["path,label,person", *rows]))
    candidates = scan("", "auto", table).candidates
    splits: dict[str, set[str]] = {}
    for candidate in candidates:
        splits.setdefault(candidate.person, set()).add(candidate.split)
    assert len(splits) == 31
    assert all(len(where) == 1 for where in splits.values())
    assert set.union(*splits.values()) == {"train", "validation", "test"}


def test_what_cannot_be_held_out_is_said(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("\n".join(["path,label,person", *(f"{number}.jpg,sad,me" for number in range(40))]))
    understood = scan("", "auto", table).understood
    assert (
        "none for test, as there are too few, none for validation, as there are too few, chosen by person" in understood
    )
    assert "train: 40" in understood


def test_a_person_in_two_of_the_owners_splits_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("path,label,person,split\na.jpg,sad,7,train\nb.jpg,sad,7,val\n")
    with pytest.raises(DataError, match="person '7' stands in train and in validation"):
        scan("", "auto", table)


def test_other_classes_are_left_out_and_counted_unless_the_map_says_what_they_show(source: Path) -> None:
    for number in range(3):
        (source / "contempt").mkdir(exist_ok=True)
        (source / f"contempt/{number}.jpg").touch()
    found = scan("", "auto", source)
    assert [reason for _, reason in found.left_out] == ["class 'contempt' is none of the seven expressions"] * 3
    assert ["contempt", "left", "out", "3"] in [line.split() for line in found.understood.splitlines()]
    mapped = scan("contempt:anger,calm:none", "auto", source)
    counts = Counter(candidate.expression for candidate in mapped.candidates)
    assert (counts["anger"], counts["neutral"]) == (23, 0)


def test_what_was_understood_is_said(source: Path) -> None:
    shutil.rmtree(source / "fearful")
    text = scan("", "auto", source).understood
    assert text.startswith("class folders; 20 % held out for testing")
    assert ["Surprised", "surprise", "20"] in [line.split() for line in text.splitlines()]
    assert "train: 84, validation: 12, test: 24" in text
    assert "no training picture shows fear: train on it beside a set that does" in text
    assert "no test picture shows fear: tests say nothing of them" in text
    tested = scan("", "test", source).understood
    assert "no training picture" not in tested
    assert "no test picture shows fear" in tested


def test_of_many_classes_that_are_left_out_the_largest_are_shown(source: Path) -> None:
    for number in range(200):
        (source / f"person{number}").mkdir()
        (source / f"person{number}/1.jpg").touch()
    (source / "person77/2.jpg").touch()
    lines = [line.split() for line in scan("", "auto", source).understood.splitlines()]
    assert ["190", "more", "left", "out", "190"] in lines
    assert ["person77", "left", "out", "2"] in lines
    assert len(lines) < 30


def test_a_map_of_no_class_is_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match="map: unknown class"):
        scan("rage:anger", "auto", source)


def test_folders_of_splits_and_classes_without_a_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train/happy").mkdir(parents=True)
    (tmp_path / "train/happy/backup.jpg~").touch()
    with pytest.raises(DataError, match="has no file in its class folders: put the pictures there"):
        scan("", "auto", tmp_path)
