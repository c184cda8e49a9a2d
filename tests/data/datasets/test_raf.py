import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fer.data.datasets.base import Candidate
from fer.data.datasets.raf import DISTRIBUTIONS, LABELS, RAF, TEST_COUNTS, TRAIN_COUNTS, scan
from fer.data.datasets.registry import find_source
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, name_of
from tests.data.datasets.layouts import raf_classes, raf_distributions, raf_labels, raf_official

LINES = [f"train_{number:05d}.jpg {number % 7 + 1}" for number in range(1, 211)]
LINES += [f"test_{number:04d}.jpg {number % 7 + 1}" for number in range(1, 15)]


def scanned(folder: Path, text: str | bytes) -> list[Candidate]:
    """Scan a label list; pictures are not read at this stage."""
    (folder / LABELS).parent.mkdir(parents=True, exist_ok=True)
    (folder / LABELS).write_bytes(text if isinstance(text, bytes) else text.encode())
    return scan(folder).candidates


def told(candidates: list[Candidate]) -> list[tuple[str, str]]:
    return [(item.name, item.expression) for item in candidates]


def test_a_line_becomes_a_candidate(tmp_path: Path) -> None:
    (found,) = scanned(tmp_path, "test_0001.jpg 5\n")
    assert found.path == tmp_path / "Image/aligned/test_0001_aligned.jpg"
    assert (found.expression, found.split, found.name) == ("sadness", "test", "test_0001_aligned.jpg")
    assert found.source_name == "Image/aligned/test_0001_aligned.jpg"
    assert (found.person, found.angle, found.session) == ("", "", "")


@pytest.mark.parametrize("code", range(1, 8))
def test_codes_are_the_seven_expressions_in_stored_order(tmp_path: Path, code: int) -> None:
    (found,) = scanned(tmp_path, f"train_00001.jpg {code}")
    assert found.expression == EXPRESSIONS[code - 1]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LINES),
        "\r\n".join(LINES) + "\r\n",
        "\r\n".join(LINES),
        "\ufeff" + "\n".join(LINES),
        "\n".join([*LINES, LINES[0], LINES[-1]]) + "\n",
        "\n" + "\n\n".join(LINES) + "\n \n\n",
        "\n".join(line.replace(" ", "\t") + "  " for line in LINES),
    ],
    ids=["no last newline", "windows", "windows, no last", "byte order mark", "doubled", "blank lines", "tabs"],
)
def test_every_writing_of_the_list_reads_the_same(tmp_path: Path, text: str) -> None:
    expected = scanned(tmp_path, "\n".join(LINES) + "\n")
    assert len(expected) == 224
    assert scanned(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("train_00001.jpg 5\ntrain_00002.jpg 3\ntrain_00001.jpg 4", ["line 3", "train_00001.jpg", "two labels"]),
        ("train_00001.jpg 0", ["line 1", "'0'", "1 to 7"]),
        ("train_00001.jpg 8", ["line 1", "'8'", "1 to 7"]),
        ("train_00001.jpg happy", ["line 1", "'happy'"]),
        ("train_00001.jpg -1", ["'-1'"]),
        ("train_00001.jpg 5\ntrain_00002.jpg", ["line 2", "'train_00002.jpg'"]),
        ("train_00001.jpg 5 6", ["line 1"]),
        ("train_00001.jpg,5", ["line 1"]),
        ("validation_00001.jpg 5", ["line 1", "validation_00001.jpg"]),
        ("", ["empty"]),
        ("\n\n", ["empty"]),
    ],
)
def test_a_wrong_list_is_refused_by_place_and_reason(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        scanned(tmp_path, text)
    assert all(part in str(caught.value) for part in [*parts, str(LABELS)]), caught.value


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="UTF-8"):
        scanned(tmp_path, "\n".join(LINES).encode("utf-16"))


def test_its_folder_or_the_one_above(tmp_path: Path) -> None:
    below = scanned(tmp_path / "basic", "\n".join(LINES))
    assert scan(tmp_path).candidates == below


def test_another_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="list_patition_label") as caught:
        scan(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_validation_is_a_tenth_of_each_training_class_and_test_is_untouched(tmp_path: Path) -> None:
    found = scanned(tmp_path, "\n".join(LINES))
    counts = Counter((item.split, item.expression) for item in found)
    for expression in EXPRESSIONS:
        assert counts["validation", expression] == 3
        assert counts["train", expression] == 27
        assert counts["test", expression] == 2
    assert all(item.name.startswith("test") == (item.split == "test") for item in found)


def test_validation_is_the_same_for_every_copy(tmp_path: Path) -> None:
    first, second = (scanned(tmp_path / name, "\n".join(lines)) for name, lines in (("a", LINES), ("b", LINES[::-1])))
    assert {(item.name, item.split) for item in first} == {(item.name, item.split) for item in second}


def test_the_complete_set_has_the_published_counts() -> None:
    assert list(TRAIN_COUNTS.values()) == [1290, 281, 717, 4772, 1982, 705, 2524]
    assert list(TEST_COUNTS.values()) == [329, 74, 160, 1185, 478, 162, 680]
    assert (sum(TRAIN_COUNTS.values()), sum(TEST_COUNTS.values())) == (12271, 3068)
    assert [name_of(code) for code in range(1, 8)] == list(TRAIN_COUNTS)


def test_a_part_of_the_set_is_told_from_the_whole(prepared: tuple[Path, dict[str, Prepared]]) -> None:
    differences = prepared[1]["raf"].differences
    assert len(differences) == 14
    assert "train happiness: 20 of 4772" in differences
    assert "test neutral: 2 of 680" in differences


def test_the_default_place_is_where_mmf_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    places = RAF.default_paths(tmp_path / "data")
    assert places[0] == tmp_path / "home/.cache/torch/mmf/data/raf_basic/basic"
    assert tmp_path / "data/raf_basic/basic" in places


def test_a_label_file_that_is_a_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / LABELS).mkdir(parents=True)
    with pytest.raises(DataError, match="is not RAF-DB's folder 'basic': it has no EmoLabel"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("train_\0.jpg", "its name is no UTF-8 text in one line"),
        (f"train_{'0' * 300}.jpg", "its name is too long"),
        ("train_../../../up.jpg", "missing file"),
    ],
    ids=["a zero byte", "too long", "climbing"],
)
def test_a_label_of_an_impossible_name_is_left_out(own_copy, tmp_path: Path, name: str, reason: str) -> None:
    source = own_copy("raf")
    text = (source / LABELS).read_text()
    (source / LABELS).write_text(f"{text}\n{name} 4\n")
    done = prepare(RAF, source, tmp_path / "data")
    ((_, told),) = done.left_out
    assert told == reason
    assert len(done.manifest.images) == len(text.splitlines())


def test_a_list_of_one_endless_line_is_not_shown_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        scanned(tmp_path, "x" * 100_000)
    assert len(str(caught.value)) < 400


def packed_official(basic: Path, folder: Path) -> Path:
    """The authors' download packed once more."""
    return Path(shutil.make_archive(str(folder / "raf"), "zip", raf_official(basic, folder / "around")))


LAYOUTS: dict[str, Callable[[Path, Path], Path]] = {
    "as sent": raf_official,
    "as sent, inner folder": lambda basic, folder: raf_official(basic, folder) / "basic" / "basic",
    "archive in archive": packed_official,
    "archive in tar": lambda basic, folder: Path(
        shutil.make_archive(str(folder / "raf"), "gztar", raf_official(basic, folder / "around") / "basic")
    ),
    "class folders and tables": raf_classes,
    "class folders": lambda basic, folder: raf_classes(basic, folder, tables=False),
    "class folders, inner folder": lambda basic, folder: raf_classes(basic, folder) / "DATASET",
    "no DATASET": lambda basic, folder: raf_classes(basic, folder, level=""),
    "class folders in a zip": lambda basic, folder: Path(
        shutil.make_archive(str(folder / "raf"), "zip", raf_classes(basic, folder / "around"))
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_set(layout: str, raw_trees, prepared, tmp_path: Path) -> None:
    plain: Prepared = prepared[1]["raf"]
    (tmp_path / "download").mkdir()
    source = LAYOUTS[layout](raw_trees / "raf", tmp_path / "download")
    done = prepare(RAF, source, tmp_path / "data")
    assert done.manifest.digest == plain.manifest.digest
    for row, expected in zip(done.manifest.images, plain.manifest.images, strict=True):
        assert (row.path, row.sha256, row.split) == (expected.path, expected.sha256, expected.split)
        assert (tmp_path / "data" / row.path).read_bytes() == (prepared[0] / expected.path).read_bytes()
    assert not done.left_out
    assert done.differences == plain.differences
    assert prepare(RAF, source, tmp_path / "data").reused


def test_the_download_as_sent_is_found_in_a_usual_place(raw_trees, prepared, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    raf_official(raw_trees / "raf", tmp_path / "data" / "RAF-DB")
    source = find_source(RAF, "", tmp_path / "data")
    assert source == tmp_path / "data" / "RAF-DB"
    assert prepare(RAF, source, tmp_path / "data").manifest.digest == prepared[1]["raf"].manifest.digest


def test_pictures_unpacked_by_hand_are_taken_before_the_zip(raw_trees, tmp_path: Path) -> None:
    inner = raf_official(raw_trees / "raf", tmp_path / "download") / "basic" / "basic"
    shutil.copytree(raw_trees / "raf/Image/aligned", inner / "Image/aligned/aligned")
    (inner / "Image/aligned.zip").write_bytes(b"half a download")
    assert all(item.read is None and item.path.is_file() for item in scan(tmp_path / "download").candidates)


def test_a_picture_lost_on_the_way_comes_from_the_zip(raw_trees, tmp_path: Path) -> None:
    inner = raf_official(raw_trees / "raf", tmp_path / "download") / "basic" / "basic"
    shutil.copytree(raw_trees / "raf/Image/aligned", inner / "Image/aligned")
    (inner / "Image/aligned/test_0001_aligned.jpg").unlink()
    found = {item.name: item for item in scan(tmp_path / "download").candidates}
    assert [name for name, item in found.items() if item.read] == ["test_0001_aligned.jpg"]
    content = (raw_trees / "raf/Image/aligned/test_0001_aligned.jpg").read_bytes()
    read = found["test_0001_aligned.jpg"].read
    assert read is not None
    assert read() == content


def test_half_of_the_zip_is_one_sentence(raw_trees, tmp_path: Path) -> None:
    source = raf_official(raw_trees / "raf", tmp_path / "download")
    archive = source / "basic/basic/Image/aligned.zip"
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"^[^\n]*aligned\.zip is damaged [^\n]*: download it again$"):
        prepare(RAF, source, tmp_path / "data")


def test_a_damaged_zip_within_an_archive_is_named_by_its_place_in_it(raw_trees, tmp_path: Path) -> None:
    source = raf_official(raw_trees / "raf", tmp_path / "download")
    inner = source / "basic/basic/Image/aligned.zip"
    content = bytearray(inner.read_bytes())
    content[200] ^= 1
    inner.write_bytes(content)
    archive = Path(shutil.make_archive(str(tmp_path / "sent"), "zip", source))
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError) as caught:
        prepare(RAF, archive, tmp_path / "data")
    assert str(caught.value).startswith(f"{archive}: basic/basic/Image/aligned.zip is damaged (")


def test_pictures_that_the_zip_lacks_are_left_out(raw_trees, tmp_path: Path) -> None:
    source = raf_official(raw_trees / "raf", tmp_path / "download")
    with zipfile.ZipFile(source / "basic/basic/Image/aligned.zip", "w") as packed:
        for path in sorted((raw_trees / "raf/Image/aligned").glob("train*")):
            packed.write(path, path.name)
    done = prepare(RAF, source, tmp_path / "data")
    assert {reason for _, reason in done.left_out} == {"missing file"}
    assert len(done.left_out) == 14
    assert "test neutral: 0 of 680" in done.differences


def test_the_annotators_votes_are_kept_and_change_no_digest(own_copy, prepared, tmp_path: Path) -> None:
    basic = own_copy("raf")
    (basic / "EmoLabel" / DISTRIBUTIONS).write_text(raf_distributions(basic))
    done = prepare(RAF, basic, tmp_path / "data")
    assert done.manifest.digest == prepared[1]["raf"].manifest.digest
    for row in done.manifest.images:
        distribution = row.distribution()
        assert distribution is not None
        assert distribution[EXPRESSIONS.index(row.expression)] >= 0.75
        assert sum(distribution) == pytest.approx(1)
    classes = raf_classes(basic, tmp_path / "classes")
    shutil.copy(basic / "EmoLabel" / DISTRIBUTIONS, classes)
    votes = {item.name: item.votes for item in scan(classes).candidates}
    assert votes == {Path(row.path).name: row.votes for row in done.manifest.images}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda text: text.replace(" 0.75", " much", 1), "line 1: .* is no picture's name and 7 fractions"),
        (lambda text: text.replace("0.0 ", "", 1), "line 1: .* is no picture's name and 7 fractions"),
        (lambda text: text.replace(" 0.75", " -0.75", 1), "line 1: .* is no picture's name and 7 fractions"),
        (lambda text: text.replace(" 0.75", " nan", 1), "line 1: .* is no picture's name and 7 fractions"),
        (lambda text: text.replace("_0", "_9"), "agrees with the labels of 0 of 52 pictures only"),
        (lambda text: "\n".join(rotated(line) for line in text.splitlines()), "agrees with the labels of"),
        (lambda text: "", "agrees with the labels of 0 of 52 pictures only"),
    ],
    ids=["no number", "six", "negative", "not a number", "other pictures", "other order", "empty"],
)
def test_a_wrong_file_of_votes_is_refused(own_copy, harm, message: str) -> None:
    basic = own_copy("raf")
    (basic / "EmoLabel" / DISTRIBUTIONS).write_text(harm(raf_distributions(basic)))
    with pytest.raises(DataError, match=rf"^[^\n]*{DISTRIBUTIONS}[^\n]*{message}"):
        scan(basic)


def rotated(line: str) -> str:
    """A line of votes with its last column first."""
    name, *cells = line.split()
    return " ".join([name, cells[-1], *cells[:-1]])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda text: text.replace("label", "emotion"), r"train_labels\.csv has no column 'label'"),
        (lambda text: text.replace(",4", ",8", 1), r"train_labels\.csv row \d+: '8' is no expression code from 1 to 7"),
        (lambda text: text.replace(",4", ",5", 1), "shows sadness, but lies in .*/train/4"),
        (lambda text: text.rsplit("\n", 2)[0], r"has no row for .*/train/\d/train_00038_aligned\.jpg"),
    ],
    ids=["wrong column", "unknown code", "other label", "missing row"],
)
def test_tables_that_contradict_the_folders_are_refused(raw_trees, tmp_path: Path, harm, message: str) -> None:
    source = raf_classes(raw_trees / "raf", tmp_path / "download")
    table = source / "train_labels.csv"
    table.write_text(harm(table.read_text()))
    with pytest.raises(DataError, match=message):
        scan(source)


def test_pictures_that_the_folders_lack_are_left_out_where_a_table_names_them(raw_trees, tmp_path: Path) -> None:
    source = raf_classes(raw_trees / "raf", tmp_path / "download")
    lost = next((source / "DATASET/train/4").iterdir())
    lost.unlink()
    done = prepare(RAF, source, tmp_path / "data")
    assert done.left_out == ((f"train/4/{lost.name}", "missing file"),)


def test_another_split_or_a_second_label_is_refused(raw_trees, tmp_path: Path) -> None:
    source = raf_classes(raw_trees / "raf", tmp_path / "download", tables=False)
    first = next((source / "DATASET/train/4").iterdir())
    shutil.copy(first, source / "DATASET/train/5")
    with pytest.raises(DataError, match="has two labels"):
        scan(source)
    (source / "DATASET/train/5" / first.name).rename(source / "DATASET/test/4" / first.name)
    with pytest.raises(DataError, match="is no picture of test: RAF-DB's own split is needed"):
        scan(source)


def test_class_folders_of_another_set_are_not_taken_for_raf(raw_trees, tmp_path: Path) -> None:
    shutil.copytree(raw_trees / "wikimedia", tmp_path / "train")
    with pytest.raises(DataError, match="is not RAF-DB's folder 'basic'"):
        scan(tmp_path)


def test_files_of_other_names_among_the_classes_are_left_out(raw_trees, tmp_path: Path) -> None:
    source = raf_classes(raw_trees / "raf", tmp_path / "download")
    (source / "DATASET/train/4/Thumbs.db").touch()
    assert scan(source).left_out == [("train/4/Thumbs.db", "its name is not of the form train_00001_aligned.jpg")]


def test_the_drawn_labels_cover_every_code(raw_trees) -> None:
    assert set(raf_labels(raw_trees / "raf").values()) == set(range(1, 8))
