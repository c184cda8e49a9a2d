import json
from pathlib import Path

import pytest

from fer.data.datasets.own import NAME, OwnSet, own_names, read_record, record_path, write_record
from fer.data.manifest import Manifest
from fer.errors import DataError
from tests.data.test_manifest import row

MINE = OwnSet("mine", "/pictures/mine", "rage:anger", "test", "for my lab", True, "none", False, 96)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert own_names(tmp_path) == []
    write_record(tmp_path, MINE)
    write_record(tmp_path, OwnSet("other", "/pictures"))
    assert own_names(tmp_path) == ["mine", "other"]
    assert read_record(tmp_path, "mine") == MINE


def test_a_file_that_prepare_did_not_write_is_no_record(tmp_path: Path) -> None:
    write_record(tmp_path, MINE)
    record_path(tmp_path, "My Copy").write_text(record_path(tmp_path, "mine").read_text())
    assert own_names(tmp_path) == ["mine"]


def test_a_record_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "sets").touch()
    with pytest.raises(DataError, match=r"sets is in the way .*: move it or choose another data_root"):
        write_record(tmp_path, MINE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("name", "yours"),
        ("source", 3),
        ("showable", "yes"),
        ("native_side", -1),
        ("map", "anger"),
        ("split", "half"),
        ("framing", "tight"),
        ("colour", "red"),
    ],
)
def test_a_damaged_record_is_refused_with_the_cure(tmp_path: Path, key: str, value: object) -> None:
    write_record(tmp_path, MINE)
    path = record_path(tmp_path, "mine")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(DataError, match="run prepare again with dataset=folder name=mine"):
        read_record(tmp_path, "mine")


def test_the_data_set_carries_what_its_owner_said(tmp_path: Path) -> None:
    dataset = MINE.dataset()
    assert (dataset.name, dataset.terms, dataset.showable, dataset.has_train) == (
        "mine",
        "mine: for my lab",
        True,
        False,
    )
    assert dataset.default_paths(tmp_path) == [Path("/pictures/mine")]
    # Nobody's silence is a licence.
    assert OwnSet("other", "/pictures").dataset().terms == "other: terms not stated"
    assert not OwnSet("other", "/pictures").dataset().showable


def test_what_the_images_tell_is_kept() -> None:
    assert MINE.dataset().framing is None
    images = [row(number, split="train", width=40 + number, height=20) for number in range(3)]
    prepared = MINE.prepared_as(Manifest("mine", images), "none")
    assert (prepared.has_train, prepared.native_side) == (True, 41)
    framed = [row(number, split="test", width=400, height=400, frame="200 200 80 0") for number in range(3)]
    prepared = MINE.prepared_as(Manifest("mine", framed), "auto")
    assert (prepared.has_train, prepared.native_side) == (False, 80)
    assert prepared.dataset().framing is not None


@pytest.mark.parametrize("name", ["mine", "my-faces_2", "a"])
def test_names_that_paths_and_metrics_can_hold(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "Mine", "my faces", "a/b", "a+b", "../x", "2faces", "a" * 41, "mïne"])
def test_names_that_they_cannot(name: str) -> None:
    assert not NAME.fullmatch(name)
