"""Tables of millions of rows in little memory."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar, cast, overload

Row = TypeVar("Row")

SEPARATOR = "\x1f"
"""Stands between the cells of a row; ASCII's unit separator, which no cell holds."""


class CompactRows(Sequence[Row], Generic[Row]):
    """An immutable sequence of dataclass objects, of which each is kept as one text and made anew when asked for.

    An object of a dozen texts takes about 100 bytes for each of them; joined, they take one byte for each letter. So
    a million rows of a manifest stay below 400 MB. What looks at all rows is best served by `columns`, which makes no
    objects.

    Args:
        kind: A dataclass whose fields are texts and whole numbers.
        rows: Objects of it.

    Raises:
        ValueError: A text holds `SEPARATOR`.
    """

    def __init__(self, kind: type[Row], rows: Iterable[Row] = ()) -> None:
        self.kind = kind
        columns = fields(cast(Any, kind))
        self._names = [column.name for column in columns]
        self._numbers = [place for place, column in enumerate(columns) if column.type is int]
        cells = map(attrgetter(*self._names), rows)
        self._texts = [self._joined(map(str, values)) for values in cells]

    @classmethod
    def of_cells(cls, kind: type[Row], table: Iterable[Sequence[str]]) -> "CompactRows[Row]":
        """Make the rows from their cells, in the order of the dataclass's fields.

        Raises:
            ValueError: A row has too many or too few cells, or one holds `SEPARATOR`.
        """
        rows = cls(kind)
        rows._texts = [rows._joined(cells) for cells in table]
        return rows

    def _joined(self, cells: Iterable[str]) -> str:
        text = SEPARATOR.join(cells)
        if text.count(SEPARATOR) != len(self._names) - 1:
            raise ValueError(f"no row of {len(self._names)} cells without {SEPARATOR!r}: {text!r}")
        return text

    def _like(self, texts: list[str]) -> "CompactRows[Row]":
        rows = type(self)(self.kind)
        rows._texts = texts
        return rows

    def cells(self) -> Iterator[list[str]]:
        """Yield the cells of each row."""
        return (text.split(SEPARATOR) for text in self._texts)

    def columns(self, *names: str) -> Iterator[tuple[str, ...]]:
        """Yield the texts of two or more columns for each row."""
        places = [self._names.index(name) for name in names]
        last = max(places) + 1
        chosen = cast(Callable[[list[str]], tuple[str, ...]], itemgetter(*places))
        return (chosen(text.split(SEPARATOR, last)) for text in self._texts)

    def column(self, name: str) -> Iterator[str]:
        """Yield the text of one column for each row."""
        place = self._names.index(name)
        return (text.split(SEPARATOR, place + 1)[place] for text in self._texts)

    def where(self, name: str, values: Collection[str]) -> "CompactRows[Row]":
        """Return the rows whose column holds one of these values."""
        return self._like([text for text, value in zip(self._texts, self.column(name), strict=True) if value in values])

    def at(self, places: Iterable[int]) -> "CompactRows[Row]":
        """Return the rows at these places."""
        return self._like([self._texts[place] for place in places])

    def sorted_by(self, name: str) -> "CompactRows[Row]":
        """Return the rows ordered by a column's texts."""
        place = self._names.index(name)
        return self._like(sorted(self._texts, key=lambda text: text.split(SEPARATOR, place + 1)[place]))

    def _object(self, text: str) -> Row:
        values: list[Any] = text.split(SEPARATOR)
        for place in self._numbers:
            values[place] = int(values[place])
        return self.kind(*values)

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "CompactRows[Row]": ...

    def __getitem__(self, index: int | slice) -> "Row | CompactRows[Row]":
        if isinstance(index, slice):
            return self._like(self._texts[index])
        return self._object(self._texts[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._object, self._texts)

    def __add__(self, other: "CompactRows[Row]") -> "CompactRows[Row]":
        return self._like(self._texts + other._texts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CompactRows):
            return NotImplemented
        return self.kind is other.kind and self._texts == other._texts

    def __hash__(self) -> int:
        return hash((self.kind, *self._texts))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind.__name__}, {len(self)} rows)"
