import mlflow
import pytest
from mlflow.exceptions import MlflowException

from fer.errors import RegistrationError
from fer.prediction.demo import model_choices
from fer.tracking.models import fetch_model
from fer.tracking.registry import register, registered_models

TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}


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


def test_every_version_is_listed_by_an_address_that_loads_it(client, logged, tmp_path):
    for name, versions in (("fer", 3), ("fer-demo", 1)):
        for _ in range(versions):
            mlflow.register_model(f"models:/{logged[1]}", name)
    client.set_registered_model_alias("fer", "old", "1")
    client.set_registered_model_alias("fer", "champion", "1")
    client.set_registered_model_alias("fer", "beta", "3")
    client.create_registered_model("empty")
    found = registered_models()
    assert found == {
        "models:/fer/1": "fer, champion and old (version 1)",
        "models:/fer/3": "fer, beta (version 3)",
        "models:/fer/2": "fer, version 2",
        "models:/fer-demo/1": "fer-demo, version 1",
    }
    assert next(iter(found)) == "models:/fer/1"
    for number, address in enumerate(found):
        (tmp_path / str(number)).mkdir()
        assert fetch_model(address, tmp_path / str(number)).model_id == logged[1]


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
    assert registered_models().keys() == {
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
    assert registered_models() == {}
