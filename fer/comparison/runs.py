"""What a comparison reads of a run: its options, figures, and its prediction for each test image."""

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fer.errors import DataError, quoted
from fer.evaluation.metrics import Ints
from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    PATH,
    PERSON,
    PREDICTED,
    PREDICTION_COLUMNS,
    SHA256,
    TRUE,
)
from fer.expressions import EXPRESSIONS

OVERALL = {ACCURACY: "accuracy", CLASS_MEAN: "class mean"}
"""Headings of what is compared over all classes."""
MEASURES = (*EXPRESSIONS, *OVERALL)
"""What is compared, in the order of the tables' columns."""
SHORT_ID = 8
"""Characters of a run's id that are shown."""
MIN_SHARED = 0.9
"""Fraction of the smaller test set that two configurations must share to be compared."""
_RUN_PREFIX = "runs:/"
ImageKey = tuple[str, str, str]
"""Path, hash and true expression of an image: what makes it the same image for two runs."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """A run's predictions on one data set.

    Attributes:
        keys: The images.
        labels: True classes as indices into `EXPRESSIONS`, `(N,)`.
        predicted: Predicted classes, likewise.
        persons: Who is on each image; empty where the data set does not say.
    """

    keys: tuple[ImageKey, ...]
    labels: Ints
    predicted: Ints
    persons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RunFigures:
    """What a comparison needs of one run.

    Attributes:
        id: The run's id.
        name: Its name, as a person gave it.
        config: The options of its command; empty if unknown.
        configuration: Equal for the seeds of one configuration and for no other options; empty if unknown.
        experiment: The experiment it belongs to, if any.
        reproduces: The row of the 2021 table that it repeats, if any.
        reported: Whether it only records such a row, which has figures but no predictions.
        training_digests: Digests of the data sets it was trained on, by data set.
        tested_digests: Digests of the images it tested, by data set.
        contamination: Which tested images were seen in training, or why that is not known, by data set.
        metrics: The last value of each.
        predictions: Stored predictions by data set.
        minutes: Duration of its training; None for runs that train nothing, were continued or have not ended.
        curves: Metrics by epoch, as (epoch, value) in order.
    """

    id: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    configuration: str = ""
    experiment: str = ""
    reproduces: str = ""
    reported: bool = False
    training_digests: Mapping[str, str] = field(default_factory=dict)
    tested_digests: Mapping[str, str] = field(default_factory=dict)
    contamination: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    minutes: float | None = None
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)

    @property
    def seed(self) -> int | None:
        """Return the seed it was trained with."""
        return self.config.get("seed")

    @property
    def pretraining(self) -> str:
        """Return the address of the run it starts from, such as `runs:/<id>`; empty for other initial weights."""
        init = str(self.config.get("init", ""))
        return init if init.startswith(_RUN_PREFIX) else ""

    @property
    def short_id(self) -> str:
        """Return the beginning of its id."""
        return self.id[:SHORT_ID]

    @property
    def label(self) -> str:
        """Return its name and the beginning of its id."""
        return f"{isolated(one_line(self.name))} ({self.short_id})"


@dataclass(frozen=True, eq=False)
class SharedImages:
    """Predictions of two configurations on the images that all their runs share.

    Attributes:
        labels: True classes, `(N,)`.
        first: Predictions of the first configuration, `(runs, N)`.
        second: Predictions of the second, likewise.
        persons: Who is on each image, `(N,)`; None unless this is known of every one.
        fewest: Images of the run with fewest predictions.
        most: Images of the run with most.
    """

    labels: Ints
    first: Ints
    second: Ints
    persons: tuple[str, ...] | None
    fewest: int
    most: int

    @property
    def comparable(self) -> bool:
        """Return whether enough images are shared for a comparison."""
        return len(self.labels) > 0 and len(self.labels) >= MIN_SHARED * self.fewest


def read_predictions(text: str, source: str) -> Predictions:
    """Parse a `predictions.csv`.

    Args:
        text: Its content.
        source: Names it in errors.

    Raises:
        DataError: It is no table, a column is missing, an expression unknown, an image doubled, or there is none.
    """
    try:
        rows = _parse_rows(text)
        true = [row[TRUE] for row in rows]
        predicted = [row[PREDICTED] for row in rows]
        # Files hold names, never indices: another order of classes cannot be misread.
        unknown = {*true, *predicted} - set(EXPRESSIONS)
        if unknown:
            raise ValueError(f"holds the expression {quoted(min(unknown))}, which is none of {', '.join(EXPRESSIONS)}")
    except (csv.Error, ValueError) as error:
        fault = f"is no table ({error})" if isinstance(error, csv.Error) else error
        raise DataError(f"{source} {fault}: evaluate the model again") from None
    return Predictions(
        keys=tuple((row[PATH], row[SHA256], row[TRUE]) for row in rows),
        labels=_class_indices(true),
        predicted=_class_indices(predicted),
        persons=tuple(row[PERSON] for row in rows),
    )


def _parse_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a table of predictions; raise a `csv.Error` or a ValueError that says what is wrong."""
    # Strict: otherwise a quote that never ends swallows the rest of the file without an error.
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for column in PREDICTION_COLUMNS:
        if column not in (table.fieldnames or ()):
            raise ValueError(f"has no column {column!r}")
    rows = list(table)
    # Python fills short rows with None, and keeps what long ones have too many under None.
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("has a row that is not as long as its head")
    if not rows:
        raise ValueError("holds no image")
    # A doubled image would count twice in every test.
    if len({row[PATH] for row in rows}) < len(rows):
        raise ValueError("names an image twice")
    return rows


def _class_indices(names: Sequence[str]) -> Ints:
    return np.array([EXPRESSIONS.index(name) for name in names], dtype=np.int64)


def one_line(text: str) -> str:
    """Return a text in one line without characters that steer a terminal or that SVG files may not hold."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())


def isolated(name: str) -> str:
    """Return a name that does not turn round what stands beside it, as one written from right to left would.

    https://www.unicode.org/reports/tr9/#Explicit_Directional_Isolates
    """
    # Terminals without such letters would show the signs themselves.
    if any(unicodedata.bidirectional(sign) in ("R", "AL") for sign in name):
        return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"
    return name


def align(first: Sequence[Predictions], second: Sequence[Predictions]) -> SharedImages:
    """Restrict predictions to the images that every run of both sides has, in the order of the first run.

    An image is the same if path, bytes and true expression are; the order of the files does not matter.
    """
    runs = [*first, *second]
    shared = set(runs[0].keys).intersection(*(run.keys for run in runs[1:]))
    keys = [key for key in runs[0].keys if key in shared]
    aligned = np.empty((len(runs), len(keys)), dtype=np.int64)
    for number, run in enumerate(runs):
        # Files may list images in different orders, and lack some of each other's.
        by_image = dict(zip(run.keys, run.predicted.tolist(), strict=True))
        aligned[number] = [by_image[key] for key in keys]
    # Images without a person would otherwise count as pictures of one person.
    person_of = dict(zip(runs[0].keys, runs[0].persons, strict=True))
    persons = tuple(person_of[key] for key in keys)
    counts = [len(run.keys) for run in runs]
    return SharedImages(
        labels=_class_indices([true for _, _, true in keys]),
        first=aligned[: len(first)],
        second=aligned[len(first) :],
        persons=persons if all(persons) else None,
        fewest=min(counts),
        most=max(counts),
    )
