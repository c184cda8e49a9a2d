from dataclasses import replace

import numpy as np
import pytest

from fer.commands import evaluation
from fer.commands.evaluation import by_angle
from fer.data.kdef import KDEF
from fer.data.manifest import ImageRow, Manifest
from fer.data.raf import RAF
from fer.expressions import EXPRESSIONS

ANGLES = ("FL", "HL", "S", "HR", "FR")


@pytest.fixture
def manifest() -> Manifest:
    row = ImageRow("", "fear", "test", "F03", "", "A", "", 0, 1, 1, "", "")
    splits = ("train", "validation", "test")
    rows = [
        replace(row, path=f"{split}/{angle}/{n}", expression=EXPRESSIONS[n], angle=angle, split=split)
        for split in splits
        for angle in ANGLES
        for n in range(7)
    ]
    return Manifest("kdef", tuple(rows))


def test_a_model_that_never_saw_kdef_is_tested_on_all_of_it_and_one_that_did_on_its_test_people(manifest):
    assert evaluation.testable(KDEF, manifest, ["raf"]) == ("whole", manifest)
    assert evaluation.testable(KDEF, manifest, ["raf", "kdef"]) == ("test", manifest.of("test"))
    assert evaluation.testable(RAF, manifest, ["kdef"]) == ("test", manifest.of("test"))


def test_reports_by_angle_are_those_of_their_images(manifest):
    generator = np.random.default_rng(0)
    scores = generator.dirichlet(np.ones(7), len(manifest.images))
    labels = np.array([EXPRESSIONS.index(row.expression) for row in manifest.images])
    groups = by_angle(KDEF, manifest, labels, scores)
    assert list(groups) == ["frontal", "half-profile", "full-profile"]
    for group, members in (("frontal", {"S"}), ("half-profile", {"HL", "HR"}), ("full-profile", {"FL", "FR"})):
        chosen = [n for n, row in enumerate(manifest.images) if row.angle in members]
        assert groups[group].count == len(chosen)
        right = sum(scores[n].argmax() == labels[n] for n in chosen)
        assert groups[group].accuracy == pytest.approx(right / len(chosen))
    assert by_angle(RAF, manifest, labels, scores) == {}
