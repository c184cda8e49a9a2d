"""Stored answers of runs, and the images that several runs answered."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer.errors import DataError, quoted
from fer.evaluation.metrics import Ints
from fer.expressions import EXPRESSIONS

COLUMNS = ("path", "sha256", "person", "true", "predicted")
SHARED = 0.9
"""Part of the smaller test set that two configurations must both have answered to be compared."""
Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Answers:
    """A run's answers on one set.

    Attributes:
        keys: Place, hash and true expression of each image: what makes it the same image for two runs.
        labels: True classes, `(N,)`, as places in `EXPRESSIONS`.
        answers: Given classes, likewise.
        persons: Who is on each image; empty where the set does not tell.
    """

    keys: tuple[Key, ...]
    labels: Ints
    answers: Ints
    persons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Joined:
    """What two configurations answered on the images that all their runs share.

    Attributes:
        labels: True classes, `(N,)`.
        first: Answers of the first configuration, `(runs, N)`.
        second: Answers of the second, likewise.
        persons: Who is on each image, `(N,)`; None for a set that does not tell of every one.
        fewest: Images of the run that answered fewest.
        most: Images of the run that answered most.
    """

    labels: Ints
    first: Ints
    second: Ints
    persons: tuple[str, ...] | None
    fewest: int
    most: int

    @property
    def alike(self) -> bool:
        """Return whether enough images are shared for a comparison."""
        return len(self.labels) > 0 and len(self.labels) >= SHARED * self.fewest


def read_answers(text: str, where: str) -> Answers:
    """Return the answers in a `predictions.csv`.

    Args:
        text: Its content.
        where: Names it in errors.

    Raises:
        DataError: It is no table, a column is missing, an expression unknown, an image doubled, or there is none.
    """
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
            raise DataError(f"{where} has no column {missing[0]!r}: evaluate the model again")
        rows = list(table)
    except csv.Error as error:
        raise DataError(f"{where} is no table ({error}): evaluate the model again") from None
    # Python fills short rows with None, and keeps what long ones have too many under None.
    if any(None in row or None in row.values() for row in rows):
        raise DataError(f"{where} has a row that is not as long as its head: evaluate the model again")
    unknown = {str(row[key]) for row in rows for key in ("true", "predicted")} - set(EXPRESSIONS)
    if unknown:
        raise DataError(
            f"{where} holds the expression {quoted(min(unknown))}, which is none of {', '.join(EXPRESSIONS)}"
        )
    keys = tuple((row["path"], row["sha256"], row["true"]) for row in rows)
    if not keys or len({path for path, _, _ in keys}) < len(keys):
        raise DataError(f"{where} {'names an image twice' if keys else 'holds no image'}: evaluate the model again")
    labels, answers = (np.array([EXPRESSIONS.index(row[key]) for row in rows]) for key in ("true", "predicted"))
    return Answers(keys, labels, answers, tuple(row["person"] for row in rows))


def join(first: Sequence[Answers], second: Sequence[Answers]) -> Joined:
    """Return the answers on the images that every run of both sides answered, in the first one's order.

    An image is the same if place, bytes and true expression are; the order of the files does not matter.
    """
    everyone = [*first, *second]
    shared = set(everyone[0].keys).intersection(*(answers.keys for answers in everyone[1:]))
    keys = [key for key in everyone[0].keys if key in shared]
    aligned = []
    for answers in everyone:
        place = {key: number for number, key in enumerate(answers.keys)}
        aligned.append([int(answers.answers[place[key]]) for key in keys])
    table = np.array(aligned, dtype=np.int64).reshape(len(everyone), len(keys))
    people = dict(zip(everyone[0].keys, everyone[0].persons, strict=True))
    persons = tuple(people[key] for key in keys)
    counts = [len(answers.keys) for answers in everyone]
    labels = np.array([EXPRESSIONS.index(true) for _, _, true in keys], dtype=np.int64)
    split = len(first)
    return Joined(labels, table[:split], table[split:], persons if all(persons) else None, min(counts), max(counts))
