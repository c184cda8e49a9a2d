"""The figures that a training logs are those of the model it registers, whatever precision it trained in."""

import base64
import csv
import io

import mlflow
import numpy as np
import pandas as pd
import pytest

import fer
from fer.commands import finetune, prepare
from fer.config.data import PrepareConfig
from fer.config.training import FinetuneConfig
from fer.data.manifest import read_manifest
from fer.expressions import EXPRESSIONS
from fer.utils.paths import manifest_path
from tests import stores

SETS = ("drawn-raf", "drawn-kdef", "drawn-wikimedia")


@pytest.fixture(scope="module")
def trained(empty_store, tmp_path_factory):
    """(result of a training in bf16, its data root), at 112 pixels, to which RAF's faces of 100 are enlarged."""
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", stores.copy(empty_store, folder))
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        prepare.run(PrepareConfig(dataset="drawn", scale=0.06, data_root="data"))
        config = FinetuneConfig(
            dataset="drawn-raf", data_root="data", arch="squeezenet1_1", image_size=112, epochs=2, lr=1e-3,
            batch_size=16, precision="bf16", device="cpu", contamination="skip",
        )  # fmt: skip
        yield finetune.run(config), folder / "data"
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


def logged_rows(run_id: str, dataset: str) -> list[dict[str, str]]:
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/evaluation/{dataset}/predictions.csv")
    return list(csv.DictReader(io.StringIO(text)))


def shares(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[name]) for name in EXPRESSIONS] for row in rows])


def accuracy(probabilities: np.ndarray, rows: list[dict[str, str]]) -> float:
    truth = [EXPRESSIONS.index(row["true"]) for row in rows]
    return float((probabilities.argmax(1) == truth).mean())


@pytest.mark.parametrize("dataset", SETS)
def test_through_fer_load(trained, dataset):
    result, root = trained
    rows = logged_rows(result.run_id, dataset)
    model = fer.load("models:/fer-demo@champion", "cpu")
    answers = [model.faces(root / row["path"])[0].probabilities for row in rows]
    found = np.array([[answer[name] for name in EXPRESSIONS] for answer in answers])
    np.testing.assert_allclose(found, shares(rows), atol=2e-5)
    metrics = mlflow.get_run(result.run_id).data.metrics
    assert round(accuracy(found, rows), 4) == metrics[f"{dataset}/accuracy"]


@pytest.mark.parametrize("dataset", SETS)
def test_through_pyfunc(trained, dataset):
    result, root = trained
    rows = logged_rows(result.run_id, dataset)
    pictures = [base64.b64encode((root / row["path"]).read_bytes()).decode() for row in rows]
    model = mlflow.pyfunc.load_model("models:/fer-demo@champion")
    answered = model.predict(pd.DataFrame({"image": pictures}))
    found = answered[list(EXPRESSIONS)].to_numpy(dtype=np.float64)
    np.testing.assert_allclose(found, shares(rows), atol=2e-5)
    metrics = mlflow.get_run(result.run_id).data.metrics
    assert round(accuracy(found, rows), 4) == metrics[f"{dataset}/accuracy"]


def test_the_validation_score_that_chooses_the_champion_is_the_models_own(trained):
    result, root = trained
    manifest = read_manifest(manifest_path(root, "drawn-raf")).of("validation")
    model = fer.load(f"runs:/{result.run_id}", "cpu")
    right = [model.faces(root / row.path)[0].expression == row.expression for row in manifest.images]
    version = mlflow.MlflowClient().get_model_version_by_alias("fer-demo", "champion")
    assert float(version.tags["score"]) == pytest.approx(np.mean(right), abs=1e-6)


def test_faces_are_cut_out_as_small_as_the_training_faces(trained):
    result, root = trained
    model = fer.load(f"runs:/{result.run_id}", "cpu")
    assert (model.spec.crop_size, model.spec.image_size) == (100, 112)
    (face,) = model.faces(next((root / "test/drawn-wikimedia").rglob("*.*")))
    assert face.crop.shape == (100, 100, 3)
