from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest

from fer.config.training import FinetuneConfig
from fer.models.backbones import Classifier, ModelSpec
from fer.pipeline import context as contexts
from fer.pipeline.context import training_run
from fer.pipeline.finalize import origin_of
from fer.tracking import store
from tests import stores


@pytest.fixture
def client(empty_store, tmp_path, monkeypatch):
    """A client of a store of its own, in which `models:/fer@champion` is version 1 of two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stores.copy(empty_store, tmp_path))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    store.connect()
    client = mlflow.MlflowClient()
    client.create_registered_model("fer")
    for _ in range(2):
        client.create_model_version("fer", "runs:/0123/model")
    client.set_registered_model_alias("fer", "champion", "1")
    yield client
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def test_a_training_started_from_what_the_alias_stood_for_then(client, tmp_path, monkeypatch):
    for name in ("check_training", "ensure_prepared"):
        monkeypatch.setattr(contexts, name, lambda *rest: None)
    monkeypatch.setattr(contexts, "training_fingerprint", lambda *rest: "mark")
    config = FinetuneConfig(init="models:/fer@champion", device="cpu", output=str(tmp_path / "out"))
    progress = SimpleNamespace(best_epoch=1, history=[{"validation/accuracy": 0.5}])
    with training_run("finetune", config, ()) as context:
        client.set_registered_model_alias("fer", "champion", "2")
        model = Classifier(ModelSpec("squeezenet1_1", 32))
        assert origin_of(context, model, progress).init == "models:/fer/1"
    run = client.get_run(context.run.id)
    assert run.data.params["init"] == "models:/fer/1"
    assert "fer/1" in run.info.run_name
    assert not Path(context.folder).exists()
