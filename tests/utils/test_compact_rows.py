import pickle
import tracemalloc
from dataclasses import dataclass

import pytest

from fer.utils.compact_rows import SEPARATOR, CompactRows


@dataclass(frozen=True)
class Person:
    name: str
    age: int
    town: str = ""


PEOPLE = [Person("Bo", 41, "Rome"), Person('"Al", Jr.', -3), Person("آوا\n", 0, "Bo")]


@pytest.fixture
def rows() -> CompactRows[Person]:
    return CompactRows(Person, PEOPLE)


def test_rows_are_a_sequence_of_equal_objects(rows: CompactRows[Person]) -> None:
    assert list(rows) == PEOPLE
    assert (len(rows), rows[1], rows[-1]) == (3, PEOPLE[1], PEOPLE[2])
    assert list(rows[1:]) == PEOPLE[1:]
    assert isinstance(rows[1:], CompactRows)
    assert PEOPLE[2] in rows
    with pytest.raises(IndexError):
        rows[3]


def test_rows_compare_by_content(rows: CompactRows[Person]) -> None:
    same = CompactRows(Person, iter(PEOPLE))
    assert (rows, hash(rows)) == (same, hash(same))
    assert rows != CompactRows(Person, PEOPLE[::-1])
    assert rows != PEOPLE
    assert pickle.loads(pickle.dumps(rows)) == rows


def test_columns_are_texts_in_the_order_asked_for(rows: CompactRows[Person]) -> None:
    assert list(rows.columns("age", "name")) == [("41", "Bo"), ("-3", '"Al", Jr.'), ("0", "آوا\n")]
    assert list(rows.column("town")) == ["Rome", "", "Bo"]
    assert next(iter(rows.cells())) == ["Bo", "41", "Rome"]


def test_rows_are_chosen_sorted_and_joined(rows: CompactRows[Person]) -> None:
    assert list(rows.where("name", ("Bo", "Ann"))) == PEOPLE[:1]
    assert [person.name for person in rows.sorted_by("town")] == ['"Al", Jr.', "آوا\n", "Bo"]
    assert list(rows + rows[:1]) == [*PEOPLE, PEOPLE[0]]
    assert list(rows) == PEOPLE


def test_cells_make_rows(rows: CompactRows[Person]) -> None:
    assert CompactRows.of_cells(Person, rows.cells()) == rows


@pytest.mark.parametrize("cells", [["Bo", "1"], ["Bo", "1", "", ""], ["Bo", "1", f"a{SEPARATOR}b"]])
def test_rows_of_other_lengths_are_refused(cells: list[str]) -> None:
    with pytest.raises(ValueError, match="no row of 3 cells"):
        CompactRows.of_cells(Person, [cells])


def test_a_row_takes_hardly_more_than_its_letters() -> None:
    tracemalloc.start()
    rows = CompactRows(Person, (Person(f"{number:0100}", number, "Rome") for number in range(1000)))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 1000
    assert taken / 1000 < 100 + 5 + 3 + 100
