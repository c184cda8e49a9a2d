import csv
import io

import numpy as np
import pytest

from fer.expressions import EXPRESSIONS
from fer.prediction.files import (
    CSV_COLUMNS,
    MAX_PRINTED_ROWS,
    Prediction,
    count_faces,
    output_stem,
    predictions_csv,
    predictions_table,
)
from fer.prediction.recogniser import RecognisedFace

SHARES = dict(zip(EXPRESSIONS, (0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1), strict=True))
CROP = np.zeros((8, 8, 3), np.uint8)
ROWS = [
    Prediction('a, "b".jpg', 1, RecognisedFace((1.26, 2, 30, 40), 0.98765, CROP, "happiness", SHARES)),
    Prediction('a, "b".jpg', 2, RecognisedFace((-1, 2, 30, 40), 0.5, CROP, "happiness", SHARES)),
    Prediction("none.png", error="no face found"),
]


def test_the_table_for_programs_has_a_row_for_each_face_and_empty_cells_where_there_is_none() -> None:
    first, second, none = csv.DictReader(io.StringIO(predictions_csv(ROWS)))
    assert tuple(first) == CSV_COLUMNS == tuple(none)
    assert (first["picture"], first["face"], first["left"], first["expression"]) == (
        'a, "b".jpg',
        "1",
        "1.3",
        "happiness",
    )
    assert float(first["score"]) == pytest.approx(0.98765, abs=1e-4)
    assert [float(first[name]) for name in EXPRESSIONS] == list(SHARES.values())
    assert (second["face"], second["left"], first["error"]) == ("2", "-1.0", "")
    assert {name: cell for name, cell in none.items() if cell} == {"picture": "none.png", "error": "no face found"}


def test_the_table_for_people_is_cut_where_it_would_be_endless() -> None:
    lines = predictions_table(ROWS).splitlines()
    assert lines[0].split() == ["picture", "face", "expression", "probability", "box"]
    assert lines[2].split()[-6:] == ["happiness", "40.0%", "1", "2", "30", "40"]
    assert lines[4].endswith("no face found")
    long = predictions_table(ROWS[:1] * (MAX_PRINTED_ROWS + 7)).splitlines()
    assert (len(long), long[-1]) == (MAX_PRINTED_ROWS + 3, "... and 7 more rows")


def test_pictures_and_faces_are_counted() -> None:
    found = count_faces(ROWS)
    assert (found["pictures"], found["faces"], found["pictures_without_face"]) == (2, 2, 1)
    assert {name: found[f"faces/{name}"] for name in EXPRESSIONS} == dict.fromkeys(EXPRESSIONS, 0) | {"happiness": 2}


def test_names_too_long_for_an_ending_still_give_a_file_each():
    names = ["é" * 120 + ".jpg", "é" * 121 + ".jpg", "short.jpg"]
    stems = [output_stem(name) for name in names]
    assert len(set(stems)) == 3 and stems[2] == "short.jpg"
    assert all(len(stem.encode()) <= 200 for stem in stems)
