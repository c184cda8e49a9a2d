import time
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pandas
import pytest

from fer.data.manifest import (
    FORMAT,
    SPLITS,
    ImageRow,
    Manifest,
    folder_of,
    read_manifest,
    votes_text,
)
from fer.errors import DataError
from fer.expressions import EXPRESSIONS


def row(number: int = 1, expression: str = "fear", split: str = "train", **others: object) -> ImageRow:
    facts = {"person": "", "angle": "", "session": "", "sha256": f"{number:064x}", "bytes": 900, "width": 100}
    facts |= {"height": 90, "source_name": f"{number}.jpg", "notes": ""}
    path = f"{folder_of('wikimedia', split, expression)}/{number}.jpg"
    return ImageRow(path, expression, split, **{**facts, **others})  # type: ignore[arg-type]


AWKWARD = Manifest(
    "wikimedia",
    (
        row(1, source_name='Say "cheese", please.jpg', notes="CMYK, rotated by EXIF"),
        row(2, source_name="دختر_بچه\nغمگین.jpg"),
        row(
            3,
            "happiness",
            "validation",
            person="F01",
            angle="HL",
            session="A",
            bytes=123456789,
            votes="happiness:0.75 NF:1",
        ),
        row(4, "neutral", "test", source_name="'; --", votes="happiness:0.75 NF:1"),
    ),
)


def test_written_and_read_is_the_same(tmp_path: Path) -> None:
    AWKWARD.write(tmp_path / "wikimedia.csv")
    read = read_manifest(tmp_path / "wikimedia.csv")
    assert read == AWKWARD
    assert read.digest == AWKWARD.digest
    assert [path.name for path in tmp_path.iterdir()] == ["wikimedia.csv"]


def test_writing_replaces_and_an_empty_manifest_is_one(tmp_path: Path) -> None:
    AWKWARD.write(tmp_path / "raf.csv")
    Manifest("raf", ()).write(tmp_path / "raf.csv")
    assert read_manifest(tmp_path / "raf.csv") == Manifest("raf", ())


def test_a_large_manifest_takes_little_time_and_memory(tmp_path: Path) -> None:
    """Of a million rows: about ten seconds and 400 MB, as `benchmarks/prepare.py --rows 1000000` measures them."""
    count = 20_000
    landmarks = " ".join(["123.4"] * 10)
    framed = {"frame": "123.4 123.4 123.4 -1.2", "framed": "detected", "landmarks": landmarks, "detector": "CenterFace"}
    started = time.process_time()
    tracemalloc.start()
    manifest = Manifest("wikimedia", (row(number, person=f"P{number // 9}", **framed) for number in range(count)))
    _, peak_of_making = tracemalloc.get_traced_memory()
    manifest.write(tmp_path / "wikimedia.csv")
    tracemalloc.stop()
    tracemalloc.start()
    read = read_manifest(tmp_path / "wikimedia.csv")
    parts = [read.of(split) for split in SPLITS]
    assert read.counts()["train"]["fear"] == len(parts[0].images) == count
    assert read.person_overlap() == {}
    _, peak_of_reading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.digest == manifest.digest
    # Each row has about 300 letters; as an object of texts it takes 1,000 bytes, and a list of its cells as many.
    assert max(peak_of_making, peak_of_reading) < 600 * count
    assert time.process_time() - started < 20


def test_the_digest_fits_into_mlflow() -> None:
    assert len(AWKWARD.digest) == 36
    assert set(AWKWARD.digest) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [
        {"expression": "anger"},
        {"split": "validation"},
        {"sha256": "f" * 64},
        {"path": "train/raf/2/other.jpg"},
        {"person": "F02"},
        {"angle": "S"},
        {"session": "B"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_changes_with_content(change: dict[str, str]) -> None:
    before = Manifest("raf", (row(1), row(2)))
    assert Manifest("raf", (replace(row(1), **change), row(2))).digest != before.digest


def test_the_digest_changes_with_name_and_images() -> None:
    digests = {Manifest("raf", (row(1), row(2))).digest, Manifest("kdef", (row(1), row(2))).digest}
    digests |= {Manifest("raf", (row(1),)).digest, Manifest("raf", ()).digest}
    assert len(digests) == 4


def test_values_do_not_run_into_each_other() -> None:
    one = Manifest("kdef", (row(1, person="F01", angle=""),))
    other = Manifest("kdef", (row(1, person="F0", angle="1"),))
    assert one.digest != other.digest


def test_the_digest_does_not_tell_where_a_picture_came_from() -> None:
    assert Manifest("raf", (row(1, source_name="b/1.jpg"),)).digest == Manifest("raf", (row(1),)).digest


def test_the_digest_does_not_depend_on_votes() -> None:
    voted = replace(row(1), votes=votes_text({"fear": 7, "surprise": 3}))
    assert Manifest("raf", (voted,)).digest == Manifest("raf", (row(1),)).digest


def test_votes_are_written_by_name_without_zeros() -> None:
    votes = {"neutral": 6, "happiness": 0, "sadness": 3, "contempt": 0.25, "unknown": 1 / 3}
    assert votes_text(votes) == "neutral:6 sadness:3 contempt:0.25 unknown:0.333333"
    assert votes_text({"fear": 0}) == ""


@pytest.mark.parametrize(
    "votes",
    [{"not sure": 1}, {"a:b": 1}, {"": 1}, {"fear": -1}, {"fear": float("inf")}, {"fear": float("nan")}],
    ids=str,
)
def test_votes_that_could_not_be_read_again_are_not_written(votes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"votes|float"):
        votes_text(votes)


def test_a_distribution_counts_the_seven_expressions_only() -> None:
    shares = row(votes="neutral:6 sadness:1.5 contempt:2 unknown:1").distribution()
    assert shares == pytest.approx((0, 0, 0, 0, 0.2, 0, 0.8))
    assert len(shares) == len(EXPRESSIONS)
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("votes", ["", "contempt:9 NF:1"])
def test_without_votes_for_an_expression_there_is_no_distribution(votes: str) -> None:
    assert row(votes=votes).distribution() is None


@pytest.mark.parametrize(
    "votes", ["5 4 1", "fear:", "fear:-1", "fear:nan", "fear:inf", ":3", "fear:1 fear:2", "fear:1 "]
)
def test_damaged_votes_are_refused_by_reader_and_distribution(votes: str, tmp_path: Path) -> None:
    damaged = Manifest("wikimedia", (row(votes=votes),))
    damaged.write(tmp_path / "wikimedia.csv")
    with pytest.raises(DataError, match="damaged"):
        read_manifest(tmp_path / "wikimedia.csv")
    with pytest.raises(ValueError, match=r"votes|float"):
        damaged.images[0].distribution()


def test_of_keeps_the_splits_asked_for() -> None:
    assert [item.split for item in AWKWARD.of("train").images] == ["train", "train"]
    assert [item.split for item in AWKWARD.of("train", "validation").images] == ["train", "train", "validation"]
    assert AWKWARD.of("validation").dataset == "wikimedia"
    assert AWKWARD.of("validation").digest != AWKWARD.digest


def test_counts_hold_zeros_and_only_splits_that_occur() -> None:
    none = dict.fromkeys(EXPRESSIONS, 0)
    assert AWKWARD.counts() == {
        "train": none | {"fear": 2},
        "validation": none | {"happiness": 1},
        "test": none | {"neutral": 1},
    }
    assert AWKWARD.of("test").counts() == {"test": none | {"neutral": 1}}
    assert [*AWKWARD.counts()["test"]] == list(EXPRESSIONS)


def test_the_rows_make_a_data_frame() -> None:
    frame = pandas.DataFrame(list(AWKWARD.images))
    assert list(frame.columns) == [item.name for item in fields(ImageRow)]
    assert (frame["person"][2], frame["bytes"][2]) == ("F01", 123456789)


def without_header(text: str) -> str:
    return text.split("\n", 1)[1]


def another_column(text: str) -> str:
    return text.replace("sha256", "md5", 1)


def cut_in_a_row(text: str) -> str:
    return text[: text.index("train/wikimedia/4/3.jpg") + 30]


def last_column_lost(text: str) -> str:
    return text.rstrip("\n").rsplit(",", 1)[0]


def one_column_more(text: str) -> str:
    return text.rstrip("\n") + ",more\n"


def no_number(text: str) -> str:
    return text.replace("123456789", "large")


def no_expression(text: str) -> str:
    return text.replace("neutral", "contempt")


def no_split(text: str) -> str:
    return text.replace("validation", "dev")


def stray_carriage_return(text: str) -> str:
    return text.replace("test/wikimedia/7/4", "test/wikimedia\r/7/4")


def damaged_votes(text: str) -> str:
    return text.replace("happiness:0.75 NF:1", "happiness:much")


def nothing(text: str) -> str:
    return ""


@pytest.mark.parametrize(
    "damage",
    [
        without_header, another_column, cut_in_a_row, last_column_lost, one_column_more, no_number, no_expression,
        no_split, stray_carriage_return, damaged_votes, nothing,
    ],
)  # fmt: skip
def test_a_damaged_manifest_says_to_prepare_again(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = tmp_path / "wikimedia.csv"
    AWKWARD.write(path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=r"run prepare again for 'wikimedia'") as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def another_format(text: str) -> str:
    return text.replace(f",{FORMAT}\n", ",0\n")


@pytest.mark.parametrize("change", [another_format, another_column, without_header])
def test_a_manifest_of_another_version_is_refused_with_one_sentence(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    path = tmp_path / "wikimedia.csv"
    AWKWARD.write(path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=r"another version of fer: run prepare again for 'wikimedia'$"):
        read_manifest(path)


def test_a_manifest_that_is_no_text_says_so_too(tmp_path: Path) -> None:
    (tmp_path / "raf.csv").write_bytes(b"\xff\xfe\x00\x01" * 20)
    with pytest.raises(DataError, match="run prepare again"):
        read_manifest(tmp_path / "raf.csv")


def test_person_overlap_names_people_and_splits() -> None:
    images = [
        row(1, person="F01"),
        row(2, person="F01", split="test"),
        row(3, person="F02"),
        row(4, person="F02"),
        row(5),
        row(6, split="test"),
        row(7, person="M01", split="validation"),
        row(8, person="M01"),
    ]
    assert Manifest("raf", images).person_overlap() == {"F01": {"train", "test"}, "M01": {"validation", "train"}}
    assert Manifest("raf", images[2:6]).person_overlap() == {}
