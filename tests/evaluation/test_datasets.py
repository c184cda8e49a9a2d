import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from torch import nn

from fer.comparison.comparing import compare
from fer.comparison.report import terminal
from fer.comparison.runs import RunFigures
from fer.data.datasets.kdef import KDEF
from fer.data.datasets.raf import RAF
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.evaluation import datasets as evaluation
from fer.evaluation.datasets import outputs, predictions_csv, reports_by_angle
from fer.evaluation.intervals import person_interval, wilson_interval
from fer.evaluation.names import flatten
from fer.evaluation.report import reports_table
from fer.expressions import EXPRESSIONS
from fer.model_card.card import sets_table
from fer.models.backbones import ModelSpec
from fer.training.devices import full_fp32
from tests.comparison.made import SETS

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
    assert evaluation.select_test_split(KDEF, manifest, ["raf"]) == ("whole", manifest)
    assert evaluation.select_test_split(KDEF, manifest, ["raf", "kdef"]) == ("test", manifest.of("test"))
    assert evaluation.select_test_split(RAF, manifest, ["kdef"]) == ("test", manifest.of("test"))


def test_reports_reports_by_angle_are_those_of_their_images(manifest):
    generator = np.random.default_rng(0)
    scores = generator.dirichlet(np.ones(7), len(manifest.images))
    labels = np.array([EXPRESSIONS.index(row.expression) for row in manifest.images])
    groups = reports_by_angle(KDEF, manifest, scores)
    assert list(groups) == ["frontal", "half-profile", "full-profile"]
    for group, members in (("frontal", {"S"}), ("half-profile", {"HL", "HR"}), ("full-profile", {"FL", "FR"})):
        chosen = [n for n, row in enumerate(manifest.images) if row.angle in members]
        assert groups[group].count == len(chosen)
        right = sum(scores[n].argmax() == labels[n] for n in chosen)
        assert groups[group].accuracy == pytest.approx(right / len(chosen))
    assert reports_by_angle(RAF, manifest, scores) == {}


COUNTS = (1290, 281, 717, 4772, 1982, 705, 2524)
OLDER = ModelSpec("resnet18", 32)
KNOWN = replace(OLDER, training_counts=COUNTS, training_prior=tuple(n / sum(COUNTS) for n in COUNTS), temperature=2.5)


@pytest.fixture
def scores(manifest) -> np.ndarray:
    labels = np.array([EXPRESSIONS.index(row.expression) for row in manifest.images])
    drawn = np.random.default_rng(1).normal(size=(len(labels), 7)) * 4
    return (drawn + 4 * np.eye(7)[labels]).astype(np.float32)


def test_a_temperature_changes_belief_and_no_answer(manifest, scores):
    plain, calibrated = (evaluation.evaluate_logits(RAF, "test", manifest, scores, spec) for spec in (OLDER, KNOWN))
    assert (plain.report.confusion == calibrated.report.confusion).all()
    for key in ("nll", "brier", "ece"):
        assert getattr(calibrated.uncalibrated, key) == pytest.approx(getattr(plain.report, key))
        assert getattr(calibrated.report, key) != pytest.approx(getattr(plain.report, key))
    assert flatten(evaluation.report_json(calibrated))["uncalibrated/nll"] == pytest.approx(plain.report.nll)


def test_answers_corrected_to_a_uniform_prior_stand_beside_the_plain_ones(manifest, scores):
    found = evaluation.evaluate_logits(RAF, "test", manifest, scores, KNOWN)
    labels = np.array([EXPRESSIONS.index(row.expression) for row in manifest.images])
    answers = (scores / 2.5 - np.log(COUNTS)).argmax(axis=1)
    figures = flatten(evaluation.report_json(found))
    assert figures["uniform_prior/accuracy"] == pytest.approx((answers == labels).mean())
    assert figures["uniform_prior/accuracy"] != figures["accuracy"]
    for code, name in enumerate(EXPRESSIONS):
        share = (answers[labels == code] == code).mean()
        assert figures[f"uniform_prior/{name}"] == pytest.approx(share)
    assert list(evaluation.flat_reports({"raf": found})) == ["raf", "raf/uniform_prior"]
    stored = json.loads(json.dumps(evaluation.report_json(found), allow_nan=False))
    assert stored["uniform_prior"]["accuracy"] == pytest.approx((answers == labels).mean())
    assert stored["accuracy"] == found.report.accuracy


def test_an_older_model_says_nothing_of_prior_and_temperature(manifest, scores):
    found = evaluation.evaluate_logits(RAF, "test", manifest, scores, OLDER)
    assert list(evaluation.flat_reports({"raf": found})) == ["raf"]
    assert not {"uniform_prior", "uncalibrated"} & evaluation.report_json(found).keys()


def test_sets_of_persons_have_an_interval_over_persons(manifest, scores):
    people = [replace(row, person=f"F{number % 9:02}") for number, row in enumerate(manifest.images)]
    found = evaluation.evaluate_logits(KDEF, "test", Manifest("kdef", tuple(people)), scores, OLDER)
    right = scores.argmax(axis=1) == [EXPRESSIONS.index(row.expression) for row in people]
    low, high = found.report.accuracy_interval
    assert (low, high) == person_interval(right, [row.person for row in people])
    figures = flatten(evaluation.report_json(found), "kdef/")
    assert (figures["kdef/accuracy_low"], figures["kdef/accuracy_high"]) == (low, high)
    assert not [key for key in figures if "by_person" in key]
    shown = f"{100 * found.report.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    tables = reports_table({"run": {"kdef": found.report}}), sets_table({"kdef": found.report})
    compared = compare([run_figures("a", figures), run_figures("b", figures)], SETS, {})
    assert all(shown in form for form in (*tables, terminal(compared)))
    nobody = Manifest("raf", tuple(replace(row, person="") for row in people))
    plain = evaluation.evaluate_logits(RAF, "test", nobody, scores, OLDER).report
    assert plain.accuracy_interval == wilson_interval(int(right.sum()), len(right))
    assert low <= plain.accuracy_interval[0] < plain.accuracy_interval[1] <= high


def test_groups_reports_by_angle_have_their_intervals_over_persons_too(manifest, scores):
    people = [
        replace(row, person=f"F{number % 9:02}", angle="S" if number % 2 else "HL")
        for number, row in enumerate(manifest.images)
    ]
    found = evaluation.evaluate_logits(KDEF, "test", Manifest("kdef", tuple(people)), scores, OLDER)
    for angle, group in (("S", "frontal"), ("HL", "half-profile")):
        inside = np.array([row.angle == angle for row in people])
        right = scores.argmax(axis=1) == [EXPRESSIONS.index(row.expression) for row in people]
        who = np.array([row.person for row in people])
        assert found.groups[group].accuracy_interval == person_interval(right[inside], who[inside])


def run_figures(name, figures):
    """A run as `compare` reads it, of its metrics alone."""
    return RunFigures(name * 32, name, {"arch": name}, metrics=figures)


def test_the_answers_kept_for_comparison_are_the_calibrated_ones(manifest, scores):
    found = evaluation.evaluate_logits(RAF, "test", manifest, scores, KNOWN)
    rows = list(csv.DictReader(io.StringIO(predictions_csv(found.manifest, found.probabilities))))
    shares = np.array([[float(row[name]) for name in EXPRESSIONS] for row in rows])
    assert_allclose(shares, softmax(scores.astype(float) / 2.5, axis=1), atol=1e-6)
    assert [row["predicted"] for row in rows] == [EXPRESSIONS[code] for code in scores.argmax(axis=1)]


class Watching(nn.Module):
    """A network that notes in which precision it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.dtype, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((images.dtype, torch.backends.cudnn.allow_tf32))
        return images.mean((2, 3))


def packed(count: int) -> PackedImages:
    rows = tuple(
        ImageRow(f"{n}.png", EXPRESSIONS[n % 7], "test", "", "", "", "", 0, 8, 8, "", "") for n in range(count)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))


def test_networks_are_asked_in_full_fp32_in_the_order_of_the_images():
    network, images = Watching(), packed(7)
    indices = torch.tensor([5, 0, 3, 6, 1])
    found = outputs(network, images, indices, 8, batch_size=2)
    assert network.seen == [(torch.float32, False)] * 3
    for row, member in zip(found, indices.tolist(), strict=True):
        ((_, pixels),) = images.gather(torch.tensor([member]))
        torch.testing.assert_close(row, pixels[0].float().mean((1, 2)))


def test_what_training_may_round_is_as_before_afterwards():
    before = torch.backends.cudnn.allow_tf32
    try:
        with full_fp32():
            raise KeyError
    except KeyError:
        pass
    assert torch.backends.cudnn.allow_tf32 == before
