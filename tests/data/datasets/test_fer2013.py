import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.datasets.fer2013 import EXPRESSION_OF, FER2013, ROWS, TABLES, scan
from fer.data.datasets.ferplus import COLUMNS, FERPLUS
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from tests.data.datasets.layouts import fer2013_rows, fer2013_table

SHORT = ("fer2013.csv", f"it has 35 rows, and the complete table {ROWS}")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each form of the table; tests only read them."""
    folder = tmp_path_factory.mktemp("fer2013")
    return {name: fer2013_table(folder / name / name, fer2013_rows()) for name in TABLES}


@pytest.fixture
def own_table(downloads: dict[str, Path], tmp_path: Path) -> Path:
    """A table to damage."""
    return Path(shutil.copytree(downloads["fer2013.csv"], tmp_path / "own")) / "fer2013.csv"


def test_both_tables_give_one_set(downloads, tmp_path: Path) -> None:
    first, second = (prepare(FER2013, downloads[name], tmp_path / name) for name in TABLES)
    assert first.manifest.digest == second.manifest.digest
    assert first.manifest.counts() == {
        "train": dict.fromkeys(EXPRESSIONS, 3),
        "validation": dict.fromkeys(EXPRESSIONS, 1),
        "test": dict.fromkeys(EXPRESSIONS, 1),
    }
    assert first.left_out == (SHORT,)


def test_codes_names_and_pixels_are_the_tables(downloads, tmp_path: Path) -> None:
    done = prepare(FER2013, downloads["fer2013.csv"], tmp_path)
    by_name = {row.source_name: row for row in done.manifest.images}
    for number, (_, code, pixels) in enumerate(fer2013_rows()):
        row = by_name[f"fer2013-{number:05d}.png"]
        assert row.expression == EXPRESSION_OF[code]
        assert np.array_equal(np.asarray(Image.open(tmp_path / row.path)), pixels)
    assert list(EXPRESSION_OF.values()) == [
        "anger",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
        "neutral",
    ]


def test_the_pictures_are_those_of_ferplus(downloads, tmp_path: Path) -> None:
    source = shutil.copytree(downloads["icml_face_data.csv"], tmp_path / "both")
    lines = [",".join(["Usage", "Image name", *COLUMNS])]
    named = 0
    for number, (usage, *_) in enumerate(fer2013_rows()):
        # FER+ counts named rows only.
        lines.append(f"{usage},fer{named:07d}.png,10,0,0,0,0,0,0,0,0,0" if number != 3 else f"{usage},{',0' * 9},10")
        named += number != 3
    (source / "fer2013new.csv").write_text("\n".join(lines))
    own, plus = (prepare(dataset, source, tmp_path / "data") for dataset in (FER2013, FERPLUS))
    pictures = {(row.sha256, row.split) for row in own.manifest.images if row.source_name != "fer2013-00003.png"}
    assert {(row.sha256, row.split) for row in plus.manifest.images} == pictures
    assert len(pictures) == 34


def test_a_copy_in_another_split_leaves_training(tmp_path: Path) -> None:
    rows = fer2013_rows()
    rows.append(("Training", 6, rows[4][2]))
    done = prepare(FER2013, fer2013_table(tmp_path / "own" / "fer2013.csv", rows), tmp_path / "data")
    assert dict(done.left_out)["fer2013-00035.png"] == "the same pixels as a picture in test that is labelled otherwise"
    assert Counter(row.expression for row in done.manifest.of("test").images)["anger"] == 1


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("emotion,pixels", "emotion,picture", "has no column 'pixels': take it from the download again"),
        ("Usage", "Split", "row 1: '' is none of the usages Training, PublicTest, PrivateTest"),
        ("emotion", "label", "row 1: '' is no emotion's code from 0 to 6"),
        ("\n6,", "\n7,", "row 31: '7' is no emotion's code from 0 to 6"),
        ("\n6,", "\nneutral,", "row 31: 'neutral' is no emotion's code from 0 to 6"),
        ("PublicTest", "Validation", "row 4: 'Validation' is none of the usages"),
    ],
)
def test_a_wrong_table_is_refused_by_its_place(own_table: Path, wrong: str, right: str, message: str) -> None:
    own_table.write_text(own_table.read_text().replace(wrong, right))
    with pytest.raises(DataError, match=rf"^[^\n]*fer2013\.csv:? ?{message}"):
        scan(own_table.parent)


def test_half_a_table_tells_its_rows_and_the_row_cut_short(own_table: Path, tmp_path: Path) -> None:
    content = own_table.read_bytes()
    rows = content.split(b"\r\n")
    # The last row lost a part of its pixels and its usage with them.
    own_table.write_bytes(b"\r\n".join(rows[:20]) + b"\r\n" + rows[20][:500])
    with pytest.raises(DataError, match="row 20: '' is none of the usages"):
        prepare(FER2013, own_table.parent, tmp_path / "data")
    own_table.write_bytes(b"\r\n".join(rows[:20]))
    done = prepare(FER2013, own_table.parent, tmp_path / "data")
    assert done.left_out == (("fer2013.csv", f"it has 19 rows, and the complete table {ROWS}"),)


def test_a_row_of_fewer_pixels_is_left_out(own_table: Path, tmp_path: Path) -> None:
    rows = own_table.read_text().split("\n")
    rows[3] = "0,1 2 3,Training"
    own_table.write_text("\n".join(rows))
    left_out = dict(prepare(FER2013, own_table.parent, tmp_path / "data").left_out)
    assert left_out["fer2013-00002.png"] == "its row of fer2013.csv is not 48x48 numbers from 0 to 255"


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not FER2013: it has neither fer2013\.csv nor icml_face_data\.csv"):
        scan(tmp_path)


def test_a_row_without_end_is_refused_like_any_wrong_row(own_table: Path) -> None:
    with own_table.open("ab") as table:
        table.write(b"0," + b"1 " * 2_000_000)
    with pytest.raises(DataError, match="is none of the usages Training, PublicTest, PrivateTest"):
        scan(own_table.parent)
