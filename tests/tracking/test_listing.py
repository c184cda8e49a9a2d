import mlflow

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
        "models:/fer@champion": "fer, champion and old (version 1)",
        "models:/fer@beta": "fer, beta (version 3)",
        "models:/fer/2": "fer, version 2",
        "models:/fer-demo/1": "fer-demo, version 1",
    }
    assert found[0].address == "models:/fer@champion"
    for number, model in enumerate(found):
        (tmp_path / str(number)).mkdir()
        assert fetch_model(model.address, tmp_path / str(number)).model_id == logged[1]


def test_an_empty_registry_lists_nothing(client):
    assert registered_models() == []
