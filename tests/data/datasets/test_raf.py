from collections import Counter
from pathlib import Path

import pytest

from fer.data.datasets.base import Candidate
from fer.data.datasets.raf import LABELS, RAF, TEST_COUNTS, TRAIN_COUNTS, scan
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, name_of

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
