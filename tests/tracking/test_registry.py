import mlflow
import pytest
from mlflow.exceptions import MlflowException

from fer.errors import ModelError, RegistrationError
from fer.models.files import load_classifier
from fer.tracking.models import fetch_model
from fer.tracking.registry import register

TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}


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


def test_a_misspelt_model_is_answered_with_the_nearest_name(logged, tmp_path):
    register("fer-demo", logged[1], 0.5, TAGS, promote=False)
    with pytest.raises(ModelError, match="did you mean 'fer-demo'"):
        fetch_model("models:/fer-dmeo@champion", tmp_path)


def test_a_store_that_fails_while_a_hint_is_sought_is_one_sentence(logged, tmp_path, monkeypatch):
    def failing(*args, **options):
        raise MlflowException("the database is locked")

    monkeypatch.setattr(mlflow.MlflowClient, "search_registered_models", failing)
    for address in ("models:/fer-dmeo@champion", "runs:/" + "0" * 32):
        with pytest.raises(ModelError, match=f"there is no model at {address}"):
            fetch_model(address, tmp_path)


def test_the_champion_moves_only_on_a_better_score_measured_alike(logged):
    client = mlflow.MlflowClient()

    def champion() -> str:
        return str(client.get_model_version_by_alias("fer-demo", "champion").version)

    def again(score: float, promote: bool = False, **changes: str) -> str:
        return register("fer-demo", logged[1], score, {**TAGS, **changes}, promote).message

    assert "first" in again(0.5)
    assert champion() == "1"
    assert "stays" in again(0.4)
    assert "stays" in again(0.5)
    assert "cannot be compared" in again(0.9, validation_digest="v2")
    assert "cannot be compared" in again(0.9, protocol="other")
    assert champion() == "1"
    again(0.6)
    assert champion() == "6"
    assert "promote" in again(0.1, promote=True)
    assert champion() == "7"
    again(1 / 3)
    assert "stays" in again(1 / 3), "the score as it is kept is rounded down"
    assert "stays" in again(float("nan"))
    assert champion() == "8"


def test_a_server_that_fails_is_not_taken_for_an_empty_registry(logged, monkeypatch):
    def failing(client, name, alias):
        raise MlflowException("the database is locked")

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", failing)
    with pytest.raises(RegistrationError, match="locked"):
        register("fer-demo", logged[1], 0.5, TAGS, promote=False)
