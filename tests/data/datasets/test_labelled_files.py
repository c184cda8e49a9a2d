import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fer.data.datasets.base import WrongFolder
from fer.data.datasets.labelled_files import read_source
from fer.errors import DataError

Make = Callable[[Sequence[str]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make empty files: only names count here."""

    def files(names: Sequence[str]) -> Path:
        for name in names:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "set"

    return files


def found(source: Path) -> list[tuple[str, str, str]]:
    files, _ = read_source(source)
    assert all(file.path.is_file() for file in files)
    return [(file.label, file.split, file.source_name) for file in files]


def test_class_folders_are_read_at_any_depth_without_what_systems_leave(make: Make) -> None:
    source = make(["happy/b.jpg", "happy/2020/a.png", "sad/c.jpg", "sad/.DS_Store", "sad/c.jpg~", "sad/Thumbs.db"])
    assert found(source) == [
        ("happy", "", "happy/b.jpg"),
        ("happy", "", "happy/2020/a.png"),
        ("sad", "", "sad/c.jpg"),
    ]


def test_a_folder_that_may_not_be_read_is_not_passed_over(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(["happy/a.jpg", "happy/locked/b.jpg"])
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("locked"):
            raise PermissionError(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        read_source(source)


def test_folders_of_splits_are_known_by_their_usual_names(make: Make) -> None:
    source = make(["Train/sad/a.jpg", "val/sad/a.jpg", "TEST/sad/a.jpg", "extra/sad/a.jpg"])
    assert sorted(found(source)) == [
        ("sad", "test", "TEST/sad/a.jpg"),
        ("sad", "train", "Train/sad/a.jpg"),
        ("sad", "validation", "val/sad/a.jpg"),
    ]
    assert "not read: extra" in read_source(source)[1]


def test_what_lies_in_no_class_folder_is_told(make: Make) -> None:
    loose = [f"loose{number}.jpg" for number in range(7)]
    assert read_source(make(["happy/a.jpg", ".hidden", "Thumbs.db", *loose]))[1] == (
        "class folders; not read: loose0.jpg, loose1.jpg, loose2.jpg, loose3.jpg, loose4.jpg and 2 more"
    )
    source = make(["train/sad/a.jpg", "train/loose.jpg"])
    assert "; not read: happy, loose0.jpg, " in read_source(source)[1]


def test_folders_of_splits_without_classes_are_where_the_pictures_of_a_table_lie(make: Make) -> None:
    source = make(["train/a.jpg", "test/b.jpg"])
    (source / "faces.csv").write_text("path,label,split\ntrain/a.jpg,sad,train\ntest/b.jpg,sad,test\n")
    assert [split for _, split, _ in found(source)] == ["train", "test"]
    (source / "more.csv").touch()
    with pytest.raises(WrongFolder, match="holds 2 tables"):
        read_source(source)


def test_folders_that_only_wrap_the_set_are_passed(make: Make) -> None:
    source = make(["download/my-faces/happy/a.jpg", "download/my-faces/sad/b.jpg", "__MACOSX/x/y"])
    # Named as without the wrapping, so that an archive of the set is split as its folder is.
    assert found(source) == [("happy", "", "happy/a.jpg"), ("sad", "", "sad/b.jpg")]


def test_a_single_class_by_an_unknown_word_is_a_class(make: Make) -> None:
    assert [label for label, *_ in found(make(["rage/a.jpg", "rage/more/b.jpg"]))] == ["rage", "rage"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_by_its_columns(make: Make, delimiter: str) -> None:
    source = make(["a.jpg", "b/c.jpg"])
    rows = [
        ["Subject", "Image", "Emotion", "Usage"],
        ["7", "a.jpg", "joy", "Training"],
        ["8", "b/c.jpg", "sad", "test"],
    ]
    table = source / "faces.csv"
    table.write_text("\n".join(delimiter.join(row) for row in rows), encoding="utf-8-sig")
    for place in (table, source):
        files, how = read_source(place)
        assert how == "a table, faces.csv"
        assert [(file.label, file.split, file.person) for file in files] == [
            ("joy", "train", "7"),
            ("sad", "test", "8"),
        ]
        assert all(file.path.is_file() for file in files)


def test_paths_of_a_table_may_be_absolute(make: Make, tmp_path: Path) -> None:
    picture = make(["a.jpg"]) / "a.jpg"
    table = tmp_path / "elsewhere.csv"
    table.write_text(f"path,label\n{picture},sad\n")
    (file,), _ = read_source(table)
    assert file.path == picture
    # A split that depends on names must not depend on where the folder lies.
    assert file.source_name == "set/a.jpg"


@pytest.mark.parametrize("written", ["./a.jpg", "../set/a.jpg", "x/../a.jpg"])
def test_a_file_has_one_name_however_a_table_writes_it(make: Make, written: str) -> None:
    table = make(["a.jpg", "x/b.jpg"]) / "faces.csv"
    table.write_text(f"path,label\n{written},sad\na.jpg,sad\n")
    assert found(table) == [("sad", "", "a.jpg")]
    assert read_source(table)[1] == "a table, faces.csv; 1 of its rows repeat others"


@pytest.mark.parametrize("second", ["a.jpg,happy,train,1", "./a.jpg,sad,test,1", "a.jpg,sad,train,2"])
def test_rows_that_contradict_each_other_are_refused(tmp_path: Path, second: str) -> None:
    table = tmp_path / "faces.csv"
    table.write_text(f'path,label,split,person\na.jpg,sad,train,1\n"b\nc.jpg",sad,train,1\n{second}\n')
    with pytest.raises(DataError, match=r"line 5: 'a.jpg' stands in line 2 with another label, split or person"):
        read_source(table)


def test_names_that_begin_with_a_tilde_are_files_where_nobody_is_called_so(make: Make) -> None:
    table = make(["~nobody_is_called_so/a.jpg"]) / "faces.csv"
    table.write_text("path,label\n~nobody_is_called_so/a.jpg,sad\n")
    assert found(table) == [("sad", "", "~nobody_is_called_so/a.jpg")]


def test_labels_can_be_printed_whatever_they_hold(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text('path,label\na.jpg,"ha\nppy"\n')
    (file,), _ = read_source(table)
    assert file.label == "ha\\nppy"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,emotions\na.jpg,sad\n", "has no column 'label': its columns are 'file, emotions'"),
        ("label\nsad\n", "has no column 'path'"),
        ("path,label,split\na.jpg,sad,trian\n", "line 2: split 'trian' is none of train, validation and test"),
        ("path,label\na.jpg,sad\n,sad\n", "line 3 has no path"),
        ("path,label\na.jpg\n", "line 2 has no label"),
        ("", "has no column 'path'"),
        ("path,label\n", "has no rows below its header"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, content: str, message: str) -> None:
    table = tmp_path / "faces.csv"
    table.write_text(content)
    with pytest.raises(DataError) as caught:
        read_source(table)
    assert message in str(caught.value)
    assert str(table) in str(caught.value)


def test_a_table_of_another_encoding_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_bytes("path,label\nmüde.jpg,sad\n".encode("latin-1"))
    with pytest.raises(DataError, match="no table of UTF-8 text"):
        read_source(table)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no class folders and no CSV"),
        (["a.jpg"], "holds no class folders and no CSV"),
        (["a.csv", "b.csv"], "holds 2 tables, of which one is to be the source"),
    ],
)
def test_a_folder_without_classes_is_another_folder(make: Make, tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(WrongFolder, match=message):
        read_source(make(names))
