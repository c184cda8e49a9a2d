import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer.data.datasets.affectnet import AFFECTNET, DAMAGED, NO_EXPRESSION, TEST_COUNTS, TRAIN_COUNTS, scan
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from tests.data.datasets.layouts import affectnet_arrays, affectnet_plus, affectnet_tables

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "tables": affectnet_tables,
    "arrays": affectnet_arrays,
    "plus": affectnet_plus,
}


def npy(header: str) -> bytes:
    """A file of NumPy with any header, and a few bytes behind it."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\xff\xff\xff\xff" * 8


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three layouts; tests only read them."""
    folder = tmp_path_factory.mktemp("affectnet")
    return {name: write(folder / name) for name, write in LAYOUTS.items()}


@pytest.fixture
def own(downloads: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A layout to damage."""
    return lambda name: Path(shutil.copytree(downloads[name], tmp_path / "own" / name))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_seven_classes_and_tests_on_the_official_validation(downloads, tmp_path, layout) -> None:
    done = prepare(AFFECTNET, downloads[layout], tmp_path)
    assert done.manifest.counts() == {
        "train": dict.fromkeys(EXPRESSIONS, 2),
        "validation": dict.fromkeys(EXPRESSIONS, 1),
        "test": dict.fromkeys(EXPRESSIONS, 2),
    }
    reasons = Counter(reason for _, reason in done.left_out)
    assert reasons == {NO_EXPRESSION[7]: 4, NO_EXPRESSION[8]: 1, NO_EXPRESSION[9]: 1, NO_EXPRESSION[10]: 1}
    assert "train happiness: 3 of 134415" in done.differences
    assert prepare(AFFECTNET, downloads[layout], tmp_path).reused


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_further_down_and_an_archive_give_the_same(own, downloads, tmp_path, layout) -> None:
    expected = prepare(AFFECTNET, downloads[layout], tmp_path / "plain").manifest.digest
    (tmp_path / "around").mkdir()
    own(layout).rename(tmp_path / "around" / "AffectNet")
    assert prepare(AFFECTNET, tmp_path / "around", tmp_path / "around-data").manifest.digest == expected
    packed = Path(shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "around"))
    assert prepare(AFFECTNET, packed, tmp_path / "packed-data").manifest.digest == expected


def test_arrays_and_annotations_of_affectnet_plus_give_the_same_pictures(downloads, tmp_path) -> None:
    arrays, plus = (prepare(AFFECTNET, downloads[name], tmp_path / name).manifest for name in ("arrays", "plus"))
    assert {(row.path, row.sha256) for row in arrays.of("test").images} == {
        (row.path, row.sha256) for row in plus.of("test").images
    }


def test_faces_of_the_tables_are_cut_out_by_their_boxes(downloads, tmp_path) -> None:
    found = {item.source_name: item for item in scan(downloads["tables"]).candidates}
    item = found["1/train0001.png"]
    assert (item.box, item.name, item.expression) == ((32, 32, 96, 96), "train0001.jpg", "happiness")
    done = prepare(AFFECTNET, downloads["tables"], tmp_path)
    assert {(row.width, row.height) for row in done.manifest.images} == {(96, 96)}


def test_the_second_table_may_have_no_header(downloads, tmp_path) -> None:
    bare = affectnet_tables(tmp_path / "bare", header=False)
    expected = [item.source_name for item in scan(downloads["tables"]).candidates]
    assert [item.source_name for item in scan(bare).candidates] == expected


def test_a_damaged_row_and_a_damaged_picture_are_left_out_with_their_reason(own, tmp_path) -> None:
    source = own("tables")
    (source / "Manually_Annotated_Images/0/train0000.JPG").write_bytes(b"damaged")
    table = source / "Manually_Annotated_file_lists/training.csv"
    rows = table.read_text().split("\n")
    rows[2] = rows[2][:30]
    rows[3] = rows[3].replace(",32,32,64,64,", ",NaN,,,,")
    rows[4] = rows[4].replace("0/train0003", "../../train0003")
    table.write_text("\n".join(rows))
    left_out = dict(prepare(AFFECTNET, source, tmp_path / "data").left_out)
    assert left_out["0/train0000.JPG"] == "no readable picture (of no known format)"
    assert left_out["1/train0001.png"] == left_out["2/train0002.JPG"] == DAMAGED
    assert left_out["../../train0003.JPG"] == DAMAGED


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("expression", "emotion", r"training\.csv has no column 'expression': take it from the download again"),
        (",6,-0.1", ",11,-0.1", r"training\.csv row 7: '11' is no expression's code from 0 to 10"),
    ],
)
def test_a_wrong_table_is_one_sentence(own, wrong: str, right: str, message: str) -> None:
    table = own("tables") / "Manually_Annotated_file_lists/training.csv"
    table.write_text(table.read_text().replace(wrong, right, 1))
    with pytest.raises(DataError, match=rf"^[^\n]*{message}$"):
        scan(table.parent.parent)


@pytest.mark.parametrize(
    ("layout", "file", "content"),
    [
        ("arrays", "train_set/annotations/3_exp.npy", None),
        ("arrays", "train_set/annotations/3_exp.npy", b"\x93NUMPY"),
        ("arrays", "train_set/annotations/3_exp.npy", b"PK"),
        ("plus", "train_set/annotations/3.json", None),
        ("plus", "train_set/annotations/3.json", b'{"human-label'),
        ("plus", "train_set/annotations/3.json", b'{"label": 3}'),
        ("plus", "train_set/annotations/3.json", b"[3]"),
        ("plus", "train_set/annotations/3.json", b'{"human-label": 1e999}'),
        ("plus", "train_set/annotations/3.json", b"[" * 100_000),
        ("arrays", "train_set/annotations/3_exp.npy", npy("(" * 20)),
        ("arrays", "train_set/annotations/3_exp.npy", npy("{'descr': '<U1', 'fortran_order': False, 'shape': (), }")),
    ],
)
def test_a_missing_or_damaged_annotation_leaves_its_picture_out(own, layout, file, content) -> None:
    source = own(layout)
    base = source / "AffectNet+/human_annotated" if layout == "plus" else source
    if content is None:
        (base / file).unlink()
    else:
        (base / file).write_bytes(content)
    assert dict(scan(source).left_out)["train_set/images/3.jpg"] == DAMAGED


@pytest.mark.parametrize("value", [3, "3", 3.0, np.array(["3"]), np.int64(3), "03"])
def test_annotations_of_any_kind_are_read(own, value) -> None:
    source = own("arrays")
    np.save(source / "train_set/annotations/5_exp.npy", np.array(value))
    found = {item.source_name: item.expression for item in scan(source).candidates}
    assert found["train_set/images/5.jpg"] == "surprise"


def test_an_unknown_code_of_an_annotation_is_one_sentence(own) -> None:
    source = own("plus")
    (source / "AffectNet+/human_annotated/validation_set/annotations/3.json").write_text(
        json.dumps({"human-label": 12})
    )
    with pytest.raises(DataError, match=r"^the annotation of [^\n]*3\.jpg: '12' is no expression's code from 0 to 10$"):
        scan(source)


@pytest.mark.parametrize(
    ("layout", "lost", "message"),
    [
        ("tables", "Manually_Annotated_Images", "holds a part of AffectNet only: put Manually_Annotated_Images there"),
        ("tables", "Manually_Annotated_file_lists", "put training.csv and validation.csv there, too"),
        ("arrays", "train_set/images", "train_set has annotations but no folder images: unpack it there, too"),
    ],
)
def test_half_of_the_set_says_what_is_missing(own, layout: str, lost: str, message: str) -> None:
    source = own(layout)
    shutil.rmtree(source / lost)
    with pytest.raises(DataError, match=message):
        scan(source)


def test_without_one_part_its_counts_tell(own, tmp_path) -> None:
    source = own("arrays")
    shutil.rmtree(source / "val_set")
    done = prepare(AFFECTNET, source, tmp_path / "data")
    assert "test fear: 0 of 500" in done.differences


def test_another_folder_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="is not AffectNet: it has neither Manually_Annotated_Images and training"):
        scan(tmp_path)


def test_the_published_counts() -> None:
    assert sum(TRAIN_COUNTS.values()) == 283_901
    assert sum(TEST_COUNTS.values()) == 3_500
