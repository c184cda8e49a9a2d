"""What `predict` found, as rows: one for every face, and one for every file without any."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fer.expressions import EXPRESSIONS

BOX = ("left", "top", "right", "bottom")
COLUMNS = ("picture", "face", *BOX, "score", "expression", *EXPRESSIONS, "error")
PRINTED = 40
"""Rows of the printed table at most."""


@dataclass(frozen=True)
class Prediction:
    """A face of a picture, or why there is none.

    Attributes:
        picture: The file, relative to the folder that was asked about.
        face: The face's number in its picture, from 1; 0 where there is none.
        box: Left, top, right, bottom in pixels of the upright picture; empty where there is none.
        score: The detector's confidence in [0, 1].
        expression: The answer.
        probabilities: By expression.
        error: Why there is no face, in words.
    """

    picture: str
    face: int = 0
    box: tuple[float, ...] = ()
    score: float = 0.0
    expression: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


def predictions_csv(rows: Sequence[Prediction]) -> str:
    """Return the rows as CSV with the columns `COLUMNS`; cells that have no value are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        if row.face:
            shares = [f"{row.probabilities[name]:.6f}" for name in EXPRESSIONS]
            box = [f"{value:.1f}" for value in row.box]
            writer.writerow([row.picture, row.face, *box, f"{row.score:.4f}", row.expression, *shares, row.error])
        else:
            writer.writerow([row.picture, *[""] * (len(COLUMNS) - 2), row.error])
    return text.getvalue()


def predictions_table(rows: Sequence[Prediction]) -> str:
    """Return the first `PRINTED` rows as a table for a person, and how many more there are."""
    cells = [("picture", "face", "expression", "probability", "box")]
    for row in rows[:PRINTED]:
        if row.face:
            share, box = f"{row.probabilities[row.expression]:.1%}", " ".join(f"{value:.0f}" for value in row.box)
            cells.append((row.picture, str(row.face), row.expression, share, box))
        else:
            cells.append((row.picture, "-", row.error, "", ""))
    first = max(len(row[0]) for row in cells)
    words = max(len(name) for name in ("expression", *EXPRESSIONS))
    lines = [f"{a:{first}}  {b:>4}  {c:{words}}  {d:>11}  {e}".rstrip() for a, b, c, d, e in cells]
    lines.insert(1, "-" * max(map(len, lines)))
    if len(rows) > PRINTED:
        lines.append(f"... and {len(rows) - PRINTED} more rows")
    return "\n".join(lines)


def counts(rows: Sequence[Prediction]) -> dict[str, int]:
    """Return how many pictures and faces there are, pictures without one, and faces by answer."""
    answers = Counter(row.expression for row in rows if row.face)
    return {
        "pictures": len({row.picture for row in rows}),
        "faces": answers.total(),
        "pictures_without_face": sum(not row.face for row in rows),
        **{f"faces/{name}": answers[name] for name in EXPRESSIONS},
    }
