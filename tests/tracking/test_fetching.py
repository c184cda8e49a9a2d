import mlflow
import pytest

import fer
from fer.commands import download, export
from fer.config import DownloadConfig, ExportConfig
from fer.errors import ModelError
from fer.tracking.fetching import fetch_classifier


def exported(address: str) -> None:
    export.run(ExportConfig(model=address, format="torch"))


def downloaded(address: str) -> None:
    download.run(DownloadConfig(model=address))


@pytest.mark.parametrize("use", [fer.load, exported, downloaded])
@pytest.mark.parametrize("weights", [False, True])
def test_what_is_no_classifier_is_refused_by_its_address_alone(client, use, weights):
    with mlflow.start_run() as run:
        mlflow.log_text("{", "encoder/model.json")
        if weights:
            mlflow.log_text("no weights", "encoder/model.safetensors")
    address = f"runs:/{run.info.run_id}/encoder"
    with pytest.raises(ModelError) as fault:
        use(address)
    said = str(fault.value)
    assert address in said and "\n" not in said
    assert not [word for word in said.split() if word.startswith("/")], "a temporary folder helps nobody"


def test_a_classifier_comes_with_its_place(logged, classifier, tmp_path):
    found, fetched = fetch_classifier(f"models:/{logged[1]}", tmp_path / "model")
    assert found.spec == classifier.spec and not found.training
    assert fetched.path.is_relative_to(tmp_path / "model")
