"""Contact sheets: in the run where pictures may be shown, else beside the prepared data."""

import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fer.data.datasets.drawn import KDEF_PEOPLE
from fer.data.datasets.kdef import ANGLE_GROUP
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import ImageRow, Manifest
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from fer.pipeline.contact_sheets import evenly_sampled, make_contact_sheet, sample_rows


class Recorded:
    """Stands in for a run."""

    def __init__(self) -> None:
        self.figures: dict[str, object] = {}

    def figure(self, figure, path) -> None:
        self.figures[path] = figure


def rows_of(dataset, people, angles):
    """A row for each expression, person, session and angle, ordered by path as in a manifest."""
    rows = []
    for expression in EXPRESSIONS:
        for person in people:
            for angle in angles:
                path = f"test/{dataset}/{expression}/{person}{angle}.png"
                rows.append(ImageRow(path, expression, "test", person, angle, "", "", 0, 9, 9, "", ""))
    return Manifest(dataset, tuple(sorted(rows, key=lambda row: row.path)))


def test_the_sheet_of_a_set_with_angles_shows_each_of_them_equally_often_in_one_order():
    manifest = rows_of("drawn-kdef", KDEF_PEOPLE, ANGLE_GROUP)
    for rows in sample_rows(DATASETS["drawn-kdef"], manifest).values():
        assert [row.angle for row in rows] == ["S", "S", "HL", "HL", "HR", "HR", "FL", "FL", "FR", "FR"]
        assert len({row.person for row in rows if row.angle == "S"}) == 2


def test_a_set_without_angles_is_sampled_from_the_first_to_the_last_image():
    manifest = rows_of("drawn-raf", [f"{n:02}" for n in range(23)], [""])
    for rows in sample_rows(DATASETS["drawn-raf"], manifest).values():
        assert [row.person for row in rows] == [f"{n:02}" for n in range(0, 23, 2)]


@pytest.mark.parametrize(("rows", "count"), [(0, 12), (1, 12), (12, 12), (13, 12), (5, 1)])
def test_no_row_is_sampled_twice(rows, count):
    sampled = evenly_sampled(list(range(rows)), count)
    assert len(sampled) == min(rows, count)
    assert set(Counter(sampled).values()) <= {1}


def kept_sheet(name, raw_trees, root):
    """Prepare a set and make its sheet; return what is said, the sheet's path, and what the run got."""
    manifest = prepare(DATASETS[name], raw_trees / name, root).manifest
    run = Recorded()
    said = make_contact_sheet(run, DATASETS[name], manifest, root, allow_unattributed=False)
    return said, root / f"contact_sheets/{name}.png", run


@pytest.mark.parametrize(
    ("name", "reason"),
    [("raf", "its pictures may not be shown"), ("wikimedia", "14 of its 14 pictures are unresolved")],
)
def test_a_set_that_may_not_be_shown_has_its_sheet_beside_the_data_only(name, reason, raw_trees, tmp_path):
    said, path, run = kept_sheet(name, raw_trees, tmp_path)
    assert said.startswith(reason)
    assert said.endswith(f"look at {path}, which may not be published")
    assert not run.figures
    with Image.open(path) as sheet:
        assert np.asarray(sheet.convert("L")).std() > 10


def test_a_second_preparation_keeps_the_sheet_and_one_of_other_pictures_does_not(raw_trees, tmp_path):
    _, path, _ = kept_sheet("raf", raw_trees, tmp_path)
    path.write_bytes(b"looked at")
    kept_sheet("raf", raw_trees, tmp_path)
    assert path.read_bytes() == b"looked at"
    manifest = tmp_path / "manifests/raf.csv"
    later = path.stat().st_mtime + 1
    os.utime(manifest, (later, later))
    kept_sheet("raf", raw_trees, tmp_path)
    assert path.read_bytes() != b"looked at"


def test_a_damaged_picture_is_one_sentence(raw_trees, tmp_path):
    manifest = prepare(DATASETS["raf"], raw_trees / "raf", tmp_path).manifest
    (tmp_path / manifest.images[0].path).write_bytes(b"no picture")
    with pytest.raises(DataError, match="delete it and run prepare again"):
        make_contact_sheet(Recorded(), DATASETS["raf"], manifest, tmp_path, allow_unattributed=False)


def test_data_that_may_not_be_written_can_still_be_used(raw_trees, tmp_path):
    manifest = prepare(DATASETS["raf"], raw_trees / "raf", tmp_path).manifest
    (tmp_path / "contact_sheets").write_bytes(b"in the way")
    message = make_contact_sheet(Recorded(), DATASETS["raf"], manifest, tmp_path, allow_unattributed=False)
    assert message.startswith("its pictures may not be shown; none could be kept at ")
