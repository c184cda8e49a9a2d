import shutil
from pathlib import Path

import pytest

from fer.data.datasets.jaffe import COUNTS, JAFFE, PEOPLE, scan
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from tests.data.datasets.layouts import jaffe


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jaffe(tmp_path / "download")


def test_names_tell_person_and_expression(source: Path, tmp_path: Path) -> None:
    done = prepare(JAFFE, source, tmp_path / "data")
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 2)}
    by_name = {row.source_name: row for row in done.manifest.images}
    row = by_name["jaffe/KA.AN1.76.tiff"]
    assert (row.person, row.expression, row.notes, row.width) == ("KA", "anger", "L", 256)
    assert not done.left_out
    assert "test fear: 2 of 32" in done.differences


def test_an_archive_gives_the_same(source: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "jaffe"), "zip", source))
    expected = prepare(JAFFE, source, tmp_path / "a").manifest.digest
    assert prepare(JAFFE, archive, tmp_path / "b").manifest.digest == expected


@pytest.mark.parametrize("name", ["ka.an1.39.tiff", "KA.AN1.39.tif", "KA.AN1.39.tiff.bmp", "KA.AN1.39.jpg"])
def test_copies_of_other_suffixes_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (found,) = scan(tmp_path).candidates
    assert (found.person, found.expression, found.name) == ("KA", "anger", name)


@pytest.mark.parametrize("name", ["XX.AN1.39.tiff", "KA.XX1.39.tiff", "KA.AN.tiff", "face.png"])
def test_pictures_of_other_names_are_left_out(source: Path, name: str) -> None:
    (source / "jaffe" / name).touch()
    assert scan(source).left_out == [(f"jaffe/{name}", "its name is not of the form KA.AN1.39.tiff")]


def test_what_macos_adds_is_passed_over(source: Path) -> None:
    (source / "__MACOSX").mkdir()
    (source / "__MACOSX/._KA.AN1.76.tiff").touch()
    assert scan(source).left_out == []


def test_half_an_archive_and_another_folder_are_one_sentence(source: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "jaffe"), "zip", source))
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(DataError, match="is damaged"):
        prepare(JAFFE, archive, tmp_path / "data")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"^[^\n]* is not JAFFE: it has no pictures such as KA\.AN1\.39\.tiff$"):
        scan(tmp_path / "other")


def test_the_published_counts() -> None:
    assert sum(COUNTS.values()) == 213
    assert len(PEOPLE) == 10
