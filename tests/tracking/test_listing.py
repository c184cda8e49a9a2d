import mlflow
import pytest

from fer.commands.answering import choices
from fer.tracking.listing import registered_models
from fer.tracking.registry import fetch_model


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
        offered = choices(address)
        assert list(offered.items()) == [
            ("fer, champion and old (version 1)", "models:/fer/1"), ("fer, version 2", "models:/fer/2"),
        ]  # fmt: skip


def test_an_empty_registry_lists_nothing(client):
    assert registered_models() == []
