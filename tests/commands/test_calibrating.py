from dataclasses import replace

import numpy as np
import pytest
import torch

from fer.commands.calibrating import calibrate
from fer.data.batches import ImagePool
from fer.data.manifest import ImageRow, Manifest
from fer.expressions import EXPRESSIONS
from fer.inference import outputs, probabilities
from fer.metrics import negative_log_likelihood
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier, save_classifier


class Recorded:
    """Stands in for a run."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.pictures: list[str] = []

    def metrics(self, values) -> None:
        self.figures |= values

    def figure(self, figure, path) -> None:
        self.pictures.append(path)


@pytest.fixture(scope="module")
def pool() -> ImagePool:
    names = [EXPRESSIONS[n % 7] for n in range(35)]
    rows = tuple(
        ImageRow(f"{n}.png", name, "validation", "", "", "", "", 0, 32, 32, "", "") for n, name in enumerate(names)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3), dtype=np.uint8)
    return ImagePool([(Manifest("noise", rows), pixels)], torch.device("cpu"))


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    made = Classifier(ModelSpec("squeezenet1_1", 32)).eval()
    for part in made.trunk.classifier.parameters():  # sure of itself, and mostly wrong
        part.data *= 20
    return made


def test_the_temperature_fitted_on_validation_is_stored_with_the_model_and_used(pool, classifier, tmp_path):
    members, run = pool.indices("validation"), Recorded()
    labels = pool.labels.numpy()
    before = probabilities(classifier, pool, members, 32, 16)
    classifier.spec = replace(classifier.spec, training_prior=(1 / 7,) * 7)
    calibrate(run, classifier, pool, members, 16)
    temperature = classifier.spec.temperature
    assert temperature > 1.5
    save_classifier(classifier, tmp_path)
    read = load_classifier(tmp_path)
    assert read.spec.temperature == temperature
    after = probabilities(read, pool, members, 32, 16)
    scores = outputs(read, pool, members, 32, 16).double()
    np.testing.assert_allclose(after, (scores / temperature).softmax(1).numpy())
    assert (after.argmax(1) == before.argmax(1)).all()
    np.testing.assert_allclose(read.spec.training_prior, after.mean(0), atol=1e-9)  # five images of each expression
    assert run.figures["calibration/temperature"] == temperature
    assert run.figures["validation/nll"] == pytest.approx(negative_log_likelihood(labels, after))
    assert run.figures["validation/uncalibrated/nll"] == pytest.approx(negative_log_likelihood(labels, before))
    assert run.figures["validation/nll"] < run.figures["validation/uncalibrated/nll"]
    assert {"validation/brier", "validation/ece", "validation/uncalibrated/brier"} <= run.figures.keys()
    assert run.pictures == ["calibration/reliability.png"]


def test_one_validation_image_is_enough_to_go_on(pool, classifier):
    calibrate(Recorded(), classifier, pool, pool.indices("validation")[:1], 16)
    assert 0.05 <= classifier.spec.temperature <= 20


def test_networks_that_are_no_classifier_have_no_temperature(pool, classifier):
    warm = Classifier(replace(classifier.spec, temperature=5.0)).eval()
    warm.load_state_dict(classifier.state_dict())
    members = pool.indices("validation")
    plain = probabilities(torch.nn.Sequential(warm), pool, members, 32, 16)
    np.testing.assert_allclose(plain, probabilities(classifier, pool, members, 32, 16))
