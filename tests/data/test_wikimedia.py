from collections import Counter
from pathlib import Path

import pytest

from fer.data.preparing import Prepared, prepare
from fer.data.wikimedia import WIKIMEDIA, scan
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of
from tests.paths import REAL_FACES


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_1_to_7_are_the_expressions_of_a_test_set(tmp_path: Path) -> None:
    found = scan(touched(tmp_path, *(f"{code}/{code}.jpg" for code in range(1, 8)))).candidates
    assert [(item.expression, item.name, item.split) for item in found] == [
        (expression, f"{code_of(expression)}.jpg", "test") for expression in EXPRESSIONS
    ]


@pytest.mark.parametrize("inside", [".", "wikimedia_commons_emotions", "test/wikimedia_commons_emotions"])
def test_its_folder_or_one_that_holds_it(tmp_path: Path, inside: str) -> None:
    touched(tmp_path / inside, "3/a.jpg", "7/b.jpg")
    assert [item.source_name for item in scan(tmp_path).candidates] == ["3/a.jpg", "7/b.jpg"]


def test_backups_hidden_files_and_other_folders_are_ignored(tmp_path: Path) -> None:
    touched(tmp_path, "1/a.jpg", "1/a.jpg~", "1/.DS_Store", "8/b.jpg", "0/c.jpg", "1/deeper/d.jpg", "README.md")
    found = scan(tmp_path)
    assert [item.source_name for item in found.candidates] == ["1/a.jpg"]
    assert found.left_out == []


def test_equal_names_in_two_classes_are_two_pictures(tmp_path: Path) -> None:
    found = scan(touched(tmp_path, "1/a.jpg", "2/a.jpg")).candidates
    assert [(item.name, item.expression) for item in found] == [("a.jpg", "surprise"), ("a.jpg", "fear")]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders 1 to 7"):
        scan(touched(tmp_path, "surprise/a.jpg"))


def test_every_mode_and_name_of_the_drawn_tree_is_prepared(prepared: tuple[Path, dict[str, Prepared]]) -> None:
    done = prepared[1]["wikimedia"]
    assert done.left_out == ()
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 2)}
    notes = Counter(row.notes for row in done.manifest.images)
    assert {"", "CMYK", "L", "RGBA", "rotated by EXIF"} == set(notes)
    assert notes["CMYK"] == notes["rotated by EXIF"] == 1


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_the_real_set_is_complete(tmp_path: Path) -> None:
    done = prepare(WIKIMEDIA, REAL_FACES, tmp_path)
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 12)}
    assert len(done.manifest.images) == 84
    assert done.left_out == done.differences == ()
    assert max(max(row.width, row.height) for row in done.manifest.images) == 224
    assert "6/Sword_of_Anger.jpg" in {row.source_name for row in done.manifest.images}
