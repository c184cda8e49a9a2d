from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.datasets.ferplus import COLUMNS, FERPLUS, TEST_COUNTS, TRAIN_COUNTS, majority, scan
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError
from tests.data.datasets.layouts import fer2013_table

VOTED = {
    "happiness": (0, 8, 1, 0, 0, 0, 0, 0, 0, 1),
    "anger": (1, 0, 0, 2, 6, 0, 0, 0, 1, 0),
    "neutral": (10, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "contempt": (0, 0, 0, 0, 0, 0, 0, 9, 0, 0),
}
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
# usage, voted expression, seed of the picture; an empty name where the picture is no face
ROWS = [
    ("Training", "happiness", 0),
    ("Training", "anger", 1),
    ("Training", "anger", 1),  # a copy within train
    ("Training", "neutral", 2),  # also in validation
    ("Training", "neutral", 3),  # also in test
    ("Training", "contempt", 4),
    ("Training", "", 5),
    ("PublicTest", "neutral", 2),
    ("PublicTest", "happiness", 6),  # also in test
    ("PrivateTest", "neutral", 3),
    ("PrivateTest", "happiness", 6),
    ("PrivateTest", "anger", 7),
]
KEPT = {
    "fer0000000.png": ("train", "happiness"),
    "fer0000001.png": ("train", "anger"),
    "fer0000007.png": ("validation", "neutral"),
    "fer0000009.png": ("test", "neutral"),
    "fer0000010.png": ("test", "happiness"),
    "fer0000011.png": ("test", "anger"),
}


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def write_labels(folder: Path, ending: str = "\n", mark: str = "") -> None:
    lines = [",".join(["Usage", "Image name", *COLUMNS])]
    for number, (usage, voted, _) in enumerate(ROWS):
        name = f"fer{number:07d}.png" if voted else ""
        votes = VOTED.get(voted, (0,) * 10)
        lines.append(",".join([usage, name, *map(str, votes)]))
    (folder / "fer2013new.csv").write_text(mark + ending.join(lines), encoding="utf-8", newline="")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """FER2013 as PNG files, as FER+'s own tool writes them."""
    source = tmp_path / "png"
    for number, (usage, voted, seed) in enumerate(ROWS):
        if voted:
            place = (
                source / "data" / {"Training": "FER2013Train", "PublicTest": "FER2013Valid"}.get(usage, "FER2013Test")
            )
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(seed)).save(place / f"fer{number:07d}.png")
    write_labels(source)
    return source


def written_table(path: Path) -> Path:
    source = fer2013_table(path, [(usage, 0, pixels(seed)) for usage, _, seed in ROWS])
    write_labels(source)
    return source


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """FER2013 as the challenge's table."""
    return written_table(tmp_path / "csv" / "fer2013.csv")


@pytest.fixture
def later_table(tmp_path: Path) -> Path:
    """FER2013 as Kaggle's later table."""
    return written_table(tmp_path / "csv" / "icml_face_data.csv")


def kept(prepared: Prepared) -> dict[str, tuple[str, str]]:
    return {Path(row.path).name: (row.split, row.expression) for row in prepared.manifest.images}


@pytest.mark.parametrize("form", ["folders", "table", "later_table"])
def test_either_form_gives_the_majority_without_copies(form, request, tmp_path):
    prepared = prepare(FERPLUS, request.getfixturevalue(form), tmp_path / "data")
    assert kept(prepared) == KEPT
    reasons = dict(prepared.left_out)
    assert reasons["fer0000002.png"] == "the same pixels as a picture in train"
    assert reasons["fer0000003.png"] == "the same pixels as a picture in validation"
    assert reasons["fer0000004.png"] == reasons["fer0000008.png"] == "the same pixels as a picture in test"
    assert "no majority" in reasons["fer0000005.png"]
    assert len(reasons) == 5
    files = {path.name for path in (tmp_path / "data").glob("*/ferplus/*/*")}
    assert files == KEPT.keys()
    by_name = {row.source_name: row for row in prepared.manifest.images}
    assert by_name["fer0000001.png"].votes == "neutral:1 sadness:2 anger:6 unknown:1"
    # Of the seven expressions: surprise, fear, disgust, happiness, sadness, anger, neutral.
    assert by_name["fer0000001.png"].distribution() == pytest.approx((0, 0, 0, 0, 2 / 9, 6 / 9, 1 / 9))
    picture = Image.open(tmp_path / "data" / by_name["fer0000011.png"].path)
    assert np.array_equal(np.asarray(picture), pixels(7))
    assert prepare(FERPLUS, request.getfixturevalue(form), tmp_path / "data").reused


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ((5, 5, 0, 0, 0, 0, 0, 0, 0, 0), None),  # a tie
        ((5, 4, 1, 0, 0, 0, 0, 0, 0, 0), "neutral"),  # 5 of 9 once the single vote is dropped
        ((4, 3, 3, 0, 0, 0, 0, 0, 0, 0), None),  # most, but not half
        ((3, 1, 1, 1, 1, 1, 1, 1, 0, 0), "neutral"),
        ((0, 0, 0, 0, 0, 0, 0, 9, 1, 0), None),  # contempt
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 10), None),  # no face
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), None),
        ((0, 0, 0, 0, 0, 0, 6, 0, 4, 0), "fear"),
    ],
    ids=str,
)
def test_a_strict_majority_after_dropping_single_votes(votes, expected):
    assert majority(votes) == expected


def test_of_a_doubled_name_the_last_row_counts(folders):
    lines = (folders / "fer2013new.csv").read_text().splitlines()
    lines.append("Training,fer0000000.png," + ",".join(map(str, VOTED["anger"])))
    (folders / "fer2013new.csv").write_text("\n".join(lines))
    (found,) = [item for item in scan(folders).candidates if item.name == "fer0000000.png"]
    assert found.expression == "anger"


@pytest.mark.parametrize(("ending", "mark"), [("\r\n", ""), ("\n", "\ufeff")])
def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(folders, tmp_path, ending, mark):
    write_labels(folders, ending, mark)
    assert kept(prepare(FERPLUS, folders, tmp_path / "data")) == KEPT


def test_a_picture_that_is_missing_or_malformed_is_left_out_with_its_reason(folders, table, tmp_path):
    (folders / "data" / "FER2013Test" / "fer0000011.png").unlink()
    assert ("fer0000011.png", "missing file") in prepare(FERPLUS, folders, tmp_path / "a").left_out
    text = (table / "fer2013.csv").read_text().splitlines()
    text[12] = "0,1 2 3,PrivateTest"
    (table / "fer2013.csv").write_text("\n".join(text))
    left_out = dict(prepare(FERPLUS, table, tmp_path / "b").left_out)
    assert left_out["fer0000011.png"] == "its row of fer2013.csv is not 48x48 numbers from 0 to 255"


def test_what_is_missing_is_said(folders, table, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"it has no fer2013new\.csv"):
        scan(tmp_path / "nothing")
    write_labels(tmp_path / "nothing")
    with pytest.raises(DataError, match="no pictures"):
        scan(tmp_path / "nothing")
    short = (table / "fer2013.csv").read_text().splitlines()[:5]
    (table / "fer2013.csv").write_text("\n".join(short))
    with pytest.raises(DataError, match=r"has 4 pictures"):
        scan(table)
    (folders / "fer2013new.csv").write_text("Usage,Image name\n")
    with pytest.raises(DataError, match="no column 'neutral'"):
        scan(folders)
    write_labels(folders)
    broken = (folders / "fer2013new.csv").read_text().replace(",10,0,0", ",ten,0,0")
    (folders / "fer2013new.csv").write_text(broken)
    with pytest.raises(DataError, match=r"row 4 \(fer0000003\.png\)"):
        scan(folders)


def test_the_known_counts_are_the_measured_ones():
    assert (sum(TRAIN_COUNTS.values()), sum(TEST_COUNTS.values())) == (23_402 + 3_121, 3_121)


def test_of_a_doubled_name_the_last_row_counts_even_without_a_majority(folders):
    lines = (folders / "fer2013new.csv").read_text().splitlines()
    lines.append("PrivateTest,fer0000011.png,0,0,0,0,0,0,0,0,0,10")
    (folders / "fer2013new.csv").write_text("\n".join(lines))
    found = scan(folders)
    assert "fer0000011.png" not in [item.name for item in found.candidates]
    assert ("fer0000011.png", "no majority for one of the seven expressions") in found.left_out


@pytest.mark.parametrize("row", ["0,1 2 3,Training", "0," + "256 " * 2304 + ",Training", "0", "0," + "7 " * 200_000])
def test_a_table_without_one_row_of_the_right_size_is_refused(table, tmp_path, row):
    (table / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *[row] * len(ROWS)]))
    with pytest.raises(DataError, match=r"no usable picture of FER\+; .* is not 48x48 numbers from 0 to 255$"):
        prepare(FERPLUS, table, tmp_path / "data")
    assert not list((tmp_path / "data").glob("t*"))


@pytest.mark.parametrize("content", [b"Usage,Image name\xff\xfe", b'Usage,"' + b"x" * 200_000])
def test_a_label_file_that_is_no_table_is_refused(folders, content):
    (folders / "fer2013new.csv").write_bytes(content)
    with pytest.raises(DataError, match="is no table of UTF-8 text"):
        scan(folders)


def test_folders_named_like_the_tables_are_none(folders, tmp_path):
    (folders / "fer2013.csv").mkdir()
    assert kept(prepare(FERPLUS, folders, tmp_path / "data")) == KEPT
    (folders / "fer2013new.csv").unlink()
    (folders / "fer2013new.csv").mkdir()
    with pytest.raises(DataError, match="looks like FER2013 without FER"):
        scan(folders)


@pytest.mark.parametrize("form", ["folders", "table"])
@pytest.mark.parametrize("name", ["../../../../evil.png", "/evil.png", ".."])
def test_a_label_whose_name_climbs_out_is_left_out(form, name, request, tmp_path):
    source = request.getfixturevalue(form)
    text = (source / "fer2013new.csv").read_text()
    (source / "fer2013new.csv").write_text(text.replace("fer0000011.png", name))
    done = prepare(FERPLUS, source, tmp_path / "data")
    assert (name, "its name is no file's name") in done.left_out
    assert not list(tmp_path.rglob("evil.png"))
