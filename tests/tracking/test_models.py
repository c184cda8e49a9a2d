import shutil

import mlflow
import pytest

import fer
from fer.commands import download, export
from fer.config.commands import DownloadConfig, ExportConfig
from fer.errors import ModelError
from fer.prediction.demo import model_choices
from fer.tracking.logged_model import log_card
from fer.tracking.models import fetch_classifier, fetch_model, registered_models, resolve_alias
from fer.tracking.registry import register


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


def test_every_version_is_listed_by_an_address_that_loads_it(client, logged, tmp_path):
    for name, versions in (("fer", 3), ("fer-demo", 1)):
        for _ in range(versions):
            mlflow.register_model(f"models:/{logged[1]}", name)
    client.set_registered_model_alias("fer", "old", "1")
    client.set_registered_model_alias("fer", "champion", "1")
    client.set_registered_model_alias("fer", "beta", "3")
    client.create_registered_model("empty")
    found = registered_models()
    assert {model.address: model.label for model in found} == {
        "models:/fer/1": "fer, champion and old (version 1)",
        "models:/fer/3": "fer, beta (version 3)",
        "models:/fer/2": "fer, version 2",
        "models:/fer-demo/1": "fer-demo, version 1",
    }
    assert found[0].address == "models:/fer/1"
    for number, model in enumerate(found):
        (tmp_path / str(number)).mkdir()
        assert fetch_model(model.address, tmp_path / str(number)).model_id == logged[1]


@pytest.mark.parametrize("name", ["fer", "anna's"])
def test_versions_beyond_the_first_page_are_listed(client, name, monkeypatch):
    logged = client.create_logged_model("0")
    for other in (name, "last"):
        client.create_registered_model(other)
        for _ in range(3):
            client.create_model_version(other, f"models:/{logged.model_id}")
    for search in ("search_registered_models", "search_model_versions"):
        whole = getattr(mlflow.MlflowClient, search)

        def by_ones(self, whole=whole, **options):
            return whole(self, **{**options, "max_results": 1})

        monkeypatch.setattr(mlflow.MlflowClient, search, by_ones)
    assert {model.address for model in registered_models()} == {
        f"models:/{other}/{number}" for other in (name, "last") for number in (1, 2, 3)
    }


def test_a_label_goes_on_naming_what_is_loaded_and_no_version_is_offered_twice(client, logged):
    for _ in range(2):
        mlflow.register_model(f"models:/{logged[1]}", "fer")
    client.set_registered_model_alias("fer", "champion", "1")
    client.set_registered_model_alias("fer", "old", "1")
    for address in ("models:/fer@champion", "models:/fer@old", "models:/fer/1"):
        offered = model_choices(address)
        assert list(offered.items()) == [
            ("fer, champion and old (version 1)", "models:/fer/1"), ("fer, version 2", "models:/fer/2"),
        ]  # fmt: skip


def test_an_empty_registry_lists_nothing(client):
    assert registered_models() == []


TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}


@pytest.fixture
def versions(client, downloaded, tmp_path) -> list[str]:
    """The ids of two logged models, registered as versions 1 and 2 of fer-demo; the first is the champion."""
    shutil.copytree(downloaded, tmp_path / "files")
    ids = []
    for _ in range(2):
        logged = client.create_logged_model("0")
        client.log_model_artifacts(logged.model_id, str(tmp_path / "files"))
        client.finalize_logged_model(logged.model_id, "READY")
        register("fer-demo", logged.model_id, 0.5, TAGS, promote=False)
        ids.append(logged.model_id)
    return ids


def test_a_card_comes_along_with_the_version_it_belongs_to_and_with_no_other(versions, tmp_path):
    log_card(versions[0], {"README.md": "# fer-demo\nüber", "LICENSE.md": "free"})
    for number, address in enumerate(("models:/fer-demo@champion", "models:/fer-demo/1", f"models:/{versions[0]}")):
        folder = tmp_path / str(number)
        mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
        assert (folder / "README.md").read_text(encoding="utf-8") == "# fer-demo\nüber", address
        assert {"LICENSE.md", "MLmodel"} <= {path.name for path in folder.iterdir()}
    mlflow.artifacts.download_artifacts("models:/fer-demo/2", dst_path=str(tmp_path / "other"))
    assert not (tmp_path / "other" / "README.md").exists()


def test_a_model_with_a_card_still_loads(versions):
    log_card(versions[1], {"README.md": "# fer-demo"})
    assert mlflow.pyfunc.load_model("models:/fer-demo/2").metadata is not None


def test_an_alias_becomes_its_version_and_any_other_address_stays(client, versions):
    assert resolve_alias("models:/fer-demo@champion") == "models:/fer-demo/1"
    client.set_registered_model_alias("fer-demo", "champion", "2")
    assert resolve_alias("models:/fer-demo@champion") == "models:/fer-demo/2"
    for address in ("models:/fer-demo/1", "runs:/0", "a@b"):
        assert resolve_alias(address) == address
    for address in ("models:/nobody@champion", "models:/fer-demo@nobody"):
        with pytest.raises(ModelError, match=f"there is no model at {address}"):
            resolve_alias(address)
