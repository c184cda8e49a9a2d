from pathlib import Path

import pytest

from fer.data.datasets.tables import LONGEST_LINE, read_lines, read_table
from fer.errors import DataError


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", ["a, b\n1,2\n\n3,4\n", "\ufeffa,b\r\n1,2\r\n3,4", "c,b,a\n0,2,1\n0,4 , 3\n"])
def test_rows_hold_the_wanted_columns_in_the_wanted_order(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "labels.csv", text)
    assert [cells for _, cells in read_table(path, ("a", "b"))] == [["1", "2"], ["3", "4"]]
    assert [cells for _, cells in read_table(path, ("b",))] == [["2"], ["4"]]


def test_places_count_rows_from_one_below_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "a,b\n1,2\n3\n")
    assert list(read_table(path, ("b",))) == [(f"{path} row 1", ["2"]), (f"{path} row 2", [""])]


def test_a_header_may_be_missing_where_that_is_allowed(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "1,2\n3,4\n")
    assert [cells for _, cells in read_table(path, ("a", "b"), header=False)] == [["1", "2"], ["3", "4"]]
    with pytest.raises(DataError, match="has no column 'a'"):
        list(read_table(path, ("a", "b")))
    # A header of other names is none that is missing.
    with pytest.raises(DataError, match="has no column 'c'"):
        list(read_table(written(path, "a,b\n1,2\n"), ("b", "c"), header=False))


@pytest.mark.parametrize("content", [b"", b"x,b\n1,2\n"], ids=["empty", "another column"])
def test_a_column_that_is_missing_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"labels\.csv has no column 'a'"):
        list(read_table(written(tmp_path / "labels.csv", content), ("a", "b")))


@pytest.mark.parametrize("content", [b"a,b\n\xff\xfe,1\n", b'a,"' + b"x" * 200_000])
def test_what_is_no_table_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"labels\.csv is no table of UTF-8 text .*: take it from the download again$"):
        list(read_table(written(tmp_path / "labels.csv", content), ("a",)))


def test_lines_that_hold_something_come_with_their_places(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.lst", "\ufeffone 1\r\n\r\n  two 2 ")
    assert list(read_lines(path)) == [(f"{path} line 1", "one 1"), (f"{path} line 3", "two 2")]
    with pytest.raises(DataError, match="is no UTF-8 text"):
        list(read_lines(written(path, "one".encode("utf-16"))))


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", b"a,b\n" + b"1," * LONGEST_LINE)
    for read in (read_lines, lambda table: read_table(table, ("a",))):
        with pytest.raises(DataError, match="it has a line of more than 1,000,000 characters"):
            list(read(path))
