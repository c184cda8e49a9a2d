import mlflow
import pytest

from fer.tracking import store


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """An empty store; creating one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("store")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.MlflowClient().search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def client(template, tmp_path, monkeypatch):
    """A client of a store of its own; the current folder is empty."""
    (tmp_path / "mlflow.db").write_bytes(template.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    store.connect()
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
