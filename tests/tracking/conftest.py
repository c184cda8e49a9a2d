import shutil
import sys
from pathlib import Path

import mlflow
import pytest
import torch

from fer.config.models import ExportConfig
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.tracking import store
from fer.tracking.lifecycle import tracked
from fer.tracking.models import log_model
from tests import stores

VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI")


@pytest.fixture
def client(empty_store, tmp_path, monkeypatch):
    """A client of a store of its own; the current folder is empty."""
    stores.copy(empty_store, tmp_path)
    yield from _connected(tmp_path, monkeypatch)


def _connected(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    store.connect()
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """A small untrained classifier of framed faces."""
    torch.manual_seed(0)
    spec = ModelSpec("squeezenet1_1", 32, trained_on=("raf",), terms=("research only",), temperature=2.0)
    return Classifier(spec).eval()


@pytest.fixture(scope="session")
def stored(empty_store, classifier, tmp_path_factory):
    """(folder of a store, run id, model id) where that classifier is logged; tests only read it."""
    folder = tmp_path_factory.mktemp("logged")
    stores.copy(empty_store, folder)
    save_classifier(classifier, folder / "classifier")
    tags = {"validation_digest": "v1", "protocol": "p", "terms": "research only", "score": "0.500000"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", False)  # as it is for most people
        for _ in _connected(folder, patch):
            name = "squeezenet1_1 · raf · seed 0"
            with tracked("finetune", ExportConfig(), name) as run:
                log_model(run, folder / "classifier", tags, name)
            model_id = stores.model_of(run.id)
    return folder, run.id, model_id


@pytest.fixture
def logged(stored, tmp_path, monkeypatch):
    """(run id, model id) in a copy of that store, which is connected."""
    folder, run_id, model_id = stored
    shutil.copy(folder / "mlflow.db", tmp_path)
    for _ in _connected(tmp_path, monkeypatch):
        yield run_id, model_id


@pytest.fixture(scope="session")
def downloaded(stored, tmp_path_factory) -> Path:
    """The folder of that model, as `mlflow artifacts download` brings it; tests only read it."""
    folder, _, model_id = stored
    with pytest.MonkeyPatch.context() as patch:
        for _ in _connected(folder, patch):
            target = tmp_path_factory.mktemp("downloaded") / "model"
            return Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(target)))
    raise AssertionError
