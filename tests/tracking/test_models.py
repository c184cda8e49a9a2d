import mlflow
import pytest

import fer
from fer.commands import download, export
from fer.config.models import DownloadConfig, ExportConfig
from fer.errors import ModelError
from fer.models.files import load_classifier
from fer.tracking.models import fetch_model, fetch_network
from fer.tracking.naming import resolve_alias
from fer.tracking.registry import register
from tests.tracking.made import TAGS, log_version


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
    found, fetched = fetch_network(f"models:/{logged[1]}", tmp_path / "model", load_classifier)
    assert found.spec == classifier.spec and not found.training
    assert fetched.path.is_relative_to(tmp_path / "model")


@pytest.fixture
def versions(client, downloaded) -> list[str]:
    """The ids of two logged models, registered as versions 1 and 2 of fer-demo; the first, the champion, has a card."""
    card = {"README.md": "# fer-demo\nüber", "LICENSE.md": "free"}
    return [log_version(downloaded, lambda _: card), log_version(downloaded, lambda _: {})]


def test_a_card_comes_along_with_the_version_it_belongs_to_and_with_no_other(versions, tmp_path):
    for number, address in enumerate(("models:/fer-demo@champion", "models:/fer-demo/1", f"models:/{versions[0]}")):
        folder = tmp_path / str(number)
        mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
        assert (folder / "README.md").read_text(encoding="utf-8") == "# fer-demo\nüber", address
        assert {"LICENSE.md", "MLmodel"} <= {path.name for path in folder.iterdir()}
    mlflow.artifacts.download_artifacts("models:/fer-demo/2", dst_path=str(tmp_path / "other"))
    assert not (tmp_path / "other" / "README.md").exists()


def test_a_model_with_a_card_still_loads(versions):
    assert mlflow.pyfunc.load_model("models:/fer-demo/1").metadata is not None


def test_an_alias_becomes_its_version_and_any_other_address_stays(client, versions):
    assert resolve_alias("models:/fer-demo@champion") == "models:/fer-demo/1"
    client.set_registered_model_alias("fer-demo", "champion", "2")
    assert resolve_alias("models:/fer-demo@champion") == "models:/fer-demo/2"
    for address in ("models:/fer-demo/1", "runs:/0", "a@b"):
        assert resolve_alias(address) == address
    for address in ("models:/nobody@champion", "models:/fer-demo@nobody"):
        with pytest.raises(ModelError, match=f"there is no model at {address}"):
            resolve_alias(address)


def test_a_model_is_found_by_run_version_alias_and_id(logged, classifier, tmp_path):
    run_id, model_id = logged
    register("fer-demo", model_id, 0.5, TAGS, promote=False)
    for number, address in enumerate(
        (f"runs:/{run_id}", "models:/fer-demo/1", "models:/fer-demo@champion", f"models:/{model_id}")
    ):
        fetched = fetch_model(address, tmp_path / str(number))
        assert (fetched.model_id, fetched.run_id) == (model_id, run_id), address
        assert load_classifier(fetched.path).spec == classifier.spec


@pytest.mark.parametrize("address", ["models:/nobody@champion", "runs:/" + "0" * 32, "models:/m-" + "0" * 32])
def test_a_model_that_is_not_there_is_one_sentence(client, tmp_path, address):
    with pytest.raises(ModelError, match="there is no model at") as error:
        fetch_model(address, tmp_path)
    assert "\n" not in str(error.value)
