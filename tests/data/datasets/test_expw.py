import shutil
from collections import Counter
from pathlib import Path

import pytest

from fer.data.datasets.expw import EXPW, FACES, scan
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from tests.data.datasets.layouts import expw

SHORT = ("label.lst", f"it lists 56 faces, and the complete list {FACES}")


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 pictures of two faces each; tests only read it."""
    return expw(tmp_path_factory.mktemp("expw") / "ExpW")


@pytest.fixture
def own_list(download: Path, tmp_path: Path) -> Path:
    """The list of faces of a download of the test's own."""
    return Path(shutil.copytree(download, tmp_path / "own")) / "label/label.lst"


def test_every_face_is_cut_out_by_its_box(download: Path, tmp_path: Path) -> None:
    done = prepare(EXPW, download, tmp_path)
    assert done.left_out == (SHORT,)
    assert len(done.manifest.images) == 56
    assert Counter(row.expression for row in done.manifest.images) == dict.fromkeys(EXPRESSIONS, 8)
    by_name = {row.source_name: row for row in done.manifest.images}
    # Faces lie 32 pixels from each other, and a quarter of the box is kept around it.
    assert all((row.width, row.height) == (96, 96) for row in done.manifest.images)
    row = by_name["happy_child_5.jpg face 1"]
    assert (row.expression, Path(row.path).name) == ("neutral", "happy_child_5_1.jpg")
    assert prepare(EXPW, download, tmp_path).reused


def test_the_box_is_left_top_right_bottom_whatever_the_lists_order(download: Path) -> None:
    boxes = {item.source_name: item.box for item in scan(download).candidates}
    assert boxes["happy_child_0.jpg face 1"] == (128, 32, 192, 96)


def test_faces_of_one_picture_stay_in_one_split_and_every_split_has_a_tenth(download: Path, tmp_path: Path) -> None:
    found = scan(expw(tmp_path / "many", pictures=140)).candidates
    splits: dict[str, set[str]] = {}
    for item in found:
        splits.setdefault(item.source_name.split()[0], set()).add(item.split)
    assert all(len(of_picture) == 1 for of_picture in splits.values())
    counts = Counter(split for (split,) in splits.values())
    assert counts == {"train": 112, "validation": 14, "test": 14}
    for split in ("validation", "test"):
        assert {item.expression for item in found if item.split == split} == set(EXPRESSIONS)


def test_the_split_does_not_depend_on_the_order_of_the_list(own_list: Path) -> None:
    before = {item.source_name: item.split for item in scan(own_list.parent.parent).candidates}
    own_list.write_text("\n".join(reversed(own_list.read_text().splitlines())))
    assert {item.source_name: item.split for item in scan(own_list.parent.parent).candidates} == before


def test_pictures_may_lie_beside_the_list(own_list: Path) -> None:
    for path in (own_list.parent.parent / "image/origin").iterdir():
        path.rename(own_list.parent / path.name)
    assert all(item.path.is_file() for item in scan(own_list.parent).candidates)


def test_a_line_that_stands_twice_counts_once_and_one_of_two_expressions_not_at_all(own_list: Path) -> None:
    lines = own_list.read_text().splitlines()
    lines += [lines[0], lines[1][:-1] + "6"]
    own_list.write_text("\n".join(lines))
    found = scan(own_list.parent.parent)
    names = [item.source_name for item in found.candidates]
    assert names.count("happy_child_0.jpg face 0") == 1
    assert ("happy_child_0.jpg face 1", "two lines give it two expressions") in found.left_out


def test_missing_pictures_and_impossible_boxes_are_left_out(own_list: Path, tmp_path: Path) -> None:
    (own_list.parent.parent / "image/origin/happy_child_3.jpg").unlink()
    text = own_list.read_text().replace("happy_child_4.jpg 0 32 32 96 96", "happy_child_4.jpg 0 32 96 32 96")
    own_list.write_text(text.replace("happy_child_5.jpg 0 32 32 96 96", "happy_child_5.jpg 0 932 932 996 996"))
    left_out = dict(prepare(EXPW, own_list.parent.parent, tmp_path / "data").left_out)
    assert left_out["happy_child_3.jpg face 0"] == "missing file"
    assert left_out["happy_child_4.jpg face 0"] == "its face box is empty or upside down"
    assert left_out["happy_child_5.jpg face 0"] == "its face box lies outside the picture"
    assert len(left_out) == 5


def test_a_name_that_climbs_out_is_left_out(own_list: Path) -> None:
    own_list.write_text(own_list.read_text().replace("happy_child_7.jpg", "../../../happy_child_7.jpg"))
    left_out = dict(scan(own_list.parent.parent).left_out)
    assert left_out["../../../happy_child_7.jpg face 0"] == "its picture's name is no file's name"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [(" 51.03 0\n", " 51.03 7\n"), (" 51.03 0\n", " 51.03\n"), (" 51.03 0\n", " 51.03 angry\n"), (" 32 ", " x ")],
    ids=["unknown code", "too short", "a word", "no number"],
)
def test_a_wrong_line_is_refused_by_its_place(own_list: Path, wrong: str, right: str) -> None:
    own_list.write_text(own_list.read_text().replace(wrong, right, 1))
    form = "picture, face, top, left, right, bottom, confidence, expression from 0 to 6"
    with pytest.raises(DataError, match=rf"^[^\n]*label\.lst line 1: '[^\n]*' is not of the form {form}$"):
        scan(own_list.parent.parent)


def test_what_is_missing_is_said(own_list: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_list.parent.parent / "image")
    with pytest.raises(DataError, match=r"has ExpW's labels but none of the first pictures that label\.lst names"):
        scan(own_list.parent.parent)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"is not ExpW: it has no label\.lst"):
        scan(tmp_path / "other")


@pytest.mark.parametrize("name", ["x" * 3000, "a\0b"], ids=["long", "zero byte"])
def test_a_name_that_no_file_can_have_is_a_missing_picture(own_list: Path, name: str) -> None:
    own_list.write_text(own_list.read_text().replace("happy_child_0.jpg", name))
    (own_list.parent.parent / "image/origin").rename(own_list.parent.parent / "pictures")
    assert len(scan(own_list.parent.parent).candidates) == 56
