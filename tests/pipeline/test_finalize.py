import base64
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
import yaml

from fer.cli import main
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.evaluation.calibration import softmax_with_temperature
from fer.evaluation.datasets import outputs
from fer.evaluation.metrics import negative_log_likelihood
from fer.evaluation.names import METRICS, flatten
from fer.expressions import EXPRESSIONS
from fer.model_card.card import headline
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier, save_classifier
from fer.pipeline.evaluate import calibrate
from fer.tracking.provenance import CodeVersion
from fer.tracking.reading import logged_figures
from tests import stores
from tests.pages import Page


class Recorded:
    """Stands in for a run."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.pictures: list[str] = []
        self.stored: dict[str, dict] = {}

    def metrics(self, values) -> None:
        self.figures |= values

    def figure(self, figure, path) -> None:
        self.pictures.append(path)

    def json(self, content, path) -> None:
        self.stored[path] = content


@pytest.fixture(scope="module")
def images() -> PackedImages:
    names = [EXPRESSIONS[n % 7] for n in range(35)]
    rows = tuple(
        ImageRow(f"{n}.png", name, "validation", "", "", "", "", 0, 32, 32, "", "") for n, name in enumerate(names)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3), dtype=np.uint8)
    return PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    made = Classifier(ModelSpec("squeezenet1_1", 32)).eval()
    for part in made.backbone.classifier.parameters():  # sure of itself, and mostly wrong
        part.data *= 20
    return made


def test_the_temperature_fitted_on_validation_is_stored_with_the_model_and_used(images, classifier, tmp_path):
    indices, run = images.indices("validation"), Recorded()
    labels = images.labels.numpy()
    before = softmax_with_temperature(outputs(classifier, images, indices, 32, 16).numpy())
    classifier.spec = replace(classifier.spec, training_prior=(1 / 7,) * 7)
    calibrate(run, classifier, images, indices)
    temperature = classifier.spec.temperature
    assert temperature > 1.5
    save_classifier(classifier, tmp_path)
    read = load_classifier(tmp_path)
    assert read.spec.temperature == temperature
    scores = outputs(read, images, indices, 32, 16).double()
    after = (scores / temperature).softmax(1).numpy()
    assert (after.argmax(1) == before.argmax(1)).all()
    np.testing.assert_allclose(read.spec.training_prior, after.mean(0), atol=1e-9)  # five images of each expression
    assert run.figures == {"calibration/temperature": temperature}
    stored = flatten(run.stored["calibration/report.json"])
    assert stored["nll"] == pytest.approx(negative_log_likelihood(labels, after))
    assert stored["uncalibrated/nll"] == pytest.approx(negative_log_likelihood(labels, before))
    assert stored["nll"] < stored["uncalibrated/nll"]
    assert {"temperature", "brier", "ece", "uncalibrated/brier"} <= stored.keys()
    assert run.pictures == ["calibration/reliability.png"]


def test_one_validation_image_is_enough_to_go_on(images, classifier):
    calibrate(Recorded(), classifier, images, images.indices("validation")[:1])
    assert 0.05 <= classifier.spec.temperature <= 20


@pytest.fixture(scope="module")
def trained(prepared, empty_store, tmp_path_factory) -> SimpleNamespace:
    """A short training on drawn faces that stand for RAF-DB, its run, and the champion as MLflow downloads it."""
    root, _ = prepared
    folder = tmp_path_factory.mktemp("trained")
    options = {
        "dataset": "raf", "data_root": root, "arch": "squeezenet1_1", "init": "scratch", "image_size": 32, "epochs": 1,
        "batch_size": 16, "output": folder / "outputs", "registered_name": "fer-test",
    }  # fmt: skip
    address = stores.copy(empty_store, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", address)
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        main(["finetune", *(str(word) for key, value in options.items() for word in (f"--{key}", value))])
        mlflow.set_registry_uri(address)
        model = Path(mlflow.artifacts.download_artifacts("models:/fer-test@champion", dst_path=str(folder / "model")))
        client = mlflow.MlflowClient(address, registry_uri=address)
        run = client.get_run(client.get_model_version("fer-test", "1").run_id)
        figures = logged_figures(run)
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    return SimpleNamespace(
        model=model, run=run, figures=figures, card=(model / "README.md").read_text(encoding="utf-8")
    )


def test_a_training_tested_on_three_sets_logs_few_metrics_and_each_as_a_column_shows_it(trained):
    metrics = trained.run.data.metrics
    assert len(metrics) <= 60
    for dataset in ("raf", "kdef", "wikimedia"):
        shown = {key: value for key, value in metrics.items() if key.startswith(f"{dataset}/")}
        assert shown.keys() == {f"{dataset}/{name}" for name in METRICS}
        assert all(value == round(value, 4) for value in shown.values())
        for key, value in shown.items():
            assert value == pytest.approx(trained.figures[key], abs=5e-5)
    assert metrics["best_epoch"] == 1 and metrics["best/validation/accuracy"] == metrics["validation/accuracy"]


def test_the_registered_model_brings_a_card_with_the_runs_figures(trained):
    figures = trained.figures
    rows = [line.strip("| ").split("|") for line in headline(trained.card).splitlines()[2:]]
    table = {row[0].strip(): row[2].strip() for row in rows}
    assert {"raf", "kdef", "wikimedia", "kdef/frontal", "raf/uniform_prior"} <= table.keys()
    for name, shown in table.items():
        accuracy, low, high = (100 * figures[f"{name}/accuracy{end}"] for end in ("", "_low", "_high"))
        assert shown == f"{accuracy:.1f} [{low:.1f}, {high:.1f}]"
    head = yaml.safe_load(trained.card.split("---\n")[1])
    assert head["datasets"] == ["raf"]
    assert {result["dataset"]["name"] for result in head["model-index"][0]["results"]} == {"raf", "kdef", "wikimedia"}


def test_the_card_tells_run_code_start_and_terms(trained):
    run = trained.run
    for known in (run.info.run_id, run.data.tags["git.commit"], "`scratch`", "squeezenet1_1", "epoch 1 of 1"):
        assert known in trained.card
    assert run.data.tags["terms"] in trained.card
    assert run.data.tags["terms"] in (trained.model / "LICENSE.md").read_text(encoding="utf-8")
    (logged,) = run.outputs.model_outputs
    assert trained.card.count(f'models:/{logged.model_id}"') == 3
    assert "@champion" not in trained.card


def test_the_pictures_it_was_tested_on_are_credited(trained):
    text = (trained.model / "attribution.html").read_text(encoding="utf-8")
    assert "(attribution.html)" in trained.card
    assert text.count("<bdi>1/") == 2, "two drawn stand-ins of each expression"


def test_the_runs_page_shows_figures_plots_and_mistakes_but_no_picture_that_may_not_be_shown(trained):
    run, folder = trained.run, Path(trained.run.info.artifact_uri)
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for known in (
        run.info.run_id,
        run.data.tags["git.commit"],
        "epoch 1 of 1",
        run.data.tags["terms"],
        "squeezenet1_1",
    ):
        assert known in page.text
    for name in ("raf", "kdef", "wikimedia", "kdef/frontal"):
        accuracy, low, high = (100 * trained.figures[f"{name}/accuracy{end}"] for end in ("", "_low", "_high"))
        assert {f"{accuracy:.1f}", f"[{low:.1f}, {high:.1f}]"} <= set(page.texts)
    # What MLflow shows beside other runs stands in a folder of its own.
    logged = [path.read_bytes() for path in folder.rglob("*.png") if path.parent.name != "images"]
    assert {f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in logged} == set(page.links)
    assert text.count("Their pictures are not shown") == 3
    assert len(text) < 1_500_000


def test_a_card_admits_uncommitted_changes():
    assert "not committed" in CodeVersion("abc", True).description
    assert CodeVersion("abc", False).description == "commit abc"
