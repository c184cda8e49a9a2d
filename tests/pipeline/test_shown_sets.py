"""What the page of a run shows of a tested set, and which pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from fer.attribution.credits import API, Credit, credits_path, save_credits
from fer.data.datasets.registry import DATASETS
from fer.data.images import inspect
from fer.data.manifest import Manifest
from fer.evaluation.datasets import evaluate_logits
from fer.model_card.run_report import RunReport, run_page
from fer.models.backbones import ModelSpec
from fer.pipeline.contamination import Contamination
from fer.pipeline.shown_sets import MISTAKES, SIDE, shown_sets

CLEAN = Contamination("none of 14 images was seen in training")
SEEN_FIGURES = {"contaminated/images": 1.0, "uncontaminated/images": 13.0, "uncontaminated/accuracy": 0.5}
SEEN = Contamination("1 of 14 images seen in training", SEEN_FIGURES | {"uncontaminated/class_mean": 0.4}, "test,...\n")


class Drawn:
    """Stands in for a run that has logged a figure."""

    def __init__(self) -> None:
        self.figures = {"evaluation/raf/confusion.png": b"matrix"}


@pytest.fixture
def root(prepared, tmp_path):
    """The folder of the prepared sets, in which the test may change the record of credits."""
    for path in prepared[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "manifests").unlink()
    (tmp_path / "manifests").mkdir()
    save_credits(credits_path(tmp_path), {})
    return tmp_path


def shown_set(name, prepared, root, as_name="", contamination=CLEAN):
    """Return what is shown of a prepared set's test images, all of which are mistaken, under its name or another."""
    tested = prepared[1][name].manifest.of("test")
    labels = np.array([row.expression == "fear" for row in tested.images])
    scores = np.zeros((len(labels), 7), np.float32)
    # What is fear is taken for surprise, all else for fear, with more and more certainty.
    scores[np.arange(len(labels)), np.where(labels, 0, 1)] = 1 + np.arange(len(labels)) / 10
    dataset = DATASETS[as_name or name]
    manifest = Manifest(dataset.name, tested.images)
    evaluation = evaluate_logits(dataset, "test", manifest, scores, ModelSpec("resnet18", 32))
    (shown,) = shown_sets(Drawn(), {dataset.name: evaluation}, {dataset.name: contamination}, root)
    return shown, tested


def record(prepared, root, unresolved=()):
    """Write a credit of each Wikimedia picture, those of some numbers without its author."""
    known = {}
    for number, row in enumerate(prepared[1]["wikimedia"].manifest.images):
        file = row.path.removeprefix("test/wikimedia/")
        known[file] = Credit(
            file, inspect(root / row.path).pixels, f"File:Face {number}.jpg",
            f"https://commons.wikimedia.org/wiki/File:Face_{number}.jpg", "" if number in unresolved else f"P{number}",
            "CC BY 4.0", looked_up="2026-11-24", source=API,
        )  # fmt: skip
    save_credits(credits_path(root), known)


def test_the_surest_mistakes_on_drawn_faces_are_shown_small(prepared, root):
    shown, tested = shown_set("kdef", prepared, root, "drawn-kdef")
    assert not shown.hidden
    assert len(shown.mistakes) == MISTAKES
    last = tested.images[-1]
    assert (shown.mistakes[0].path, shown.mistakes[0].true) == (last.path, last.expression)
    for mistake in shown.mistakes:
        with Image.open(io.BytesIO(mistake.jpeg)) as picture:
            assert max(picture.size) <= SIDE


@pytest.mark.parametrize("name", ["raf", "kdef"])
def test_no_picture_of_a_set_that_may_not_be_shown_is_in_the_page(name, prepared, root):
    shown, tested = shown_set(name, prepared, root)
    assert "may not be" in shown.hidden
    assert not any(mistake.jpeg or mistake.credit for mistake in shown.mistakes)
    page = run_page(RunReport("a run", "", {}, sets=[shown]))
    assert "data:image/jpeg" not in page
    assert tested.images[-1].path in page


def test_wikimedias_pictures_are_shown_with_their_credits_once_all_shown_are_resolved(prepared, root):
    record(prepared, root)
    shown, _ = shown_set("wikimedia", prepared, root)
    assert not shown.hidden
    assert all(mistake.jpeg and mistake.credit and mistake.credit.resolved for mistake in shown.mistakes)
    page = run_page(RunReport("a run", "", {}, sets=[shown]))
    assert page.count("data:image/jpeg") == page.count("cropped and resized") == MISTAKES


def test_one_unresolved_credit_hides_them_all(prepared, root):
    record(prepared, root, unresolved={13})
    shown, _ = shown_set("wikimedia", prepared, root)
    assert "the authors of 1 of them are unresolved" in shown.hidden
    assert not any(mistake.jpeg or mistake.credit for mistake in shown.mistakes)


def test_a_picture_that_can_no_longer_be_read_costs_the_pictures_only(prepared, tmp_path):
    shown, _ = shown_set("kdef", prepared, tmp_path, "drawn-kdef")
    assert shown.hidden == "one of them can no longer be read"
    assert len(shown.mistakes) == MISTAKES


def test_seen_images_are_those_that_were_found(prepared, root):
    clean, _ = shown_set("raf", prepared, root)
    assert (clean.seen, clean.unseen) == (False, {})
    seen, _ = shown_set("raf", prepared, root, contamination=SEEN)
    assert seen.seen
    assert seen.unseen == {"images": 13.0, "accuracy": 0.5, "class_mean": 0.4}
    all_seen, _ = shown_set("raf", prepared, root, contamination=Contamination("14 of 14", {}, "test,...\n"))
    assert (all_seen.seen, all_seen.unseen) == (True, {})


def test_figures_that_the_run_has_logged_are_shown_and_none_is_missed(prepared, root):
    shown, _ = shown_set("raf", prepared, root)
    assert [plot.png for plot in shown.plots] == [b"matrix"]
