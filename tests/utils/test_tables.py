import csv
import io

from fer.utils.tables import csv_text, markdown_table, text_table

ROWS = [["run", "set", "images"], ["a", "raf", "3"], ["longer", "kdef", "1,000"]]


def test_names_are_flush_left_and_numbers_flush_right() -> None:
    assert text_table(ROWS).splitlines() == [
        "run     set   images",
        "--------------------",
        "a       raf        3",
        "longer  kdef   1,000",
    ]


def test_markdown_is_aligned_too() -> None:
    assert markdown_table(ROWS).splitlines() == [
        "| run    | set  | images |",
        "| ------ | ---- | ------ |",
        "| a      | raf  | 3      |",
        "| longer | kdef | 1,000  |",
    ]


def test_csv_keeps_every_cell() -> None:
    rows = [["a", 'b "quoted", with a comma'], ["line\nbreak", ""]]
    text = csv_text(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
    assert "\r" not in text
