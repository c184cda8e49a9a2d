import mlflow
from mlflow.exceptions import MlflowException

from fer.config.models import ExportConfig
from fer.tracking.descriptions import (
    MAX_REGISTERED,
    describe_experiment,
    describe_version,
)
from fer.tracking.lifecycle import tracked
from fer.tracking.registry import register_run
from tests import stores
from tests.tracking.made import TAGS

NOTE = "mlflow.note.content"


def test_a_run_is_described_unless_somebody_has_done_so(client):
    with tracked("export", ExportConfig(), "ours") as run:
        run.describe("\nof *two*\nlines\n")
    assert client.get_run(run.id).data.tags[NOTE] == "of *two* lines"
    with tracked("export", ExportConfig(), "theirs") as run:
        client.set_tag(run.id, NOTE, "a person's")
        run.describe("ours")
    assert client.get_run(run.id).data.tags[NOTE] == "a person's"


def test_every_command_leaves_an_experiment_that_says_how_to_read_it(client):
    with tracked("export", ExportConfig(), "first") as run:
        pass
    text = client.get_experiment(run.experiment_id).tags[NOTE]
    for words in (
        "*Accuracy by expression*",
        "*Training curves*",
        "*Pre-training*",
        "`<set>/class_mean`",
        "report.html",
    ):
        assert words in text
    client.set_experiment_tag(run.experiment_id, NOTE, "a person's")
    with tracked("export", ExportConfig(), "second"):
        pass
    assert client.get_experiment(run.experiment_id).tags[NOTE] == "a person's"


def test_an_experiment_that_may_not_be_described_stops_nothing(client, monkeypatch):
    def refuse(*words: object) -> None:
        raise MlflowException("Permission denied", error_code=7)

    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", refuse)
    describe_experiment("0")


def test_a_version_takes_its_models_text_over_and_the_name_is_explained_once(client, downloaded):
    with tracked("finetune", ExportConfig(), "mine") as run:
        run.model(downloaded, "mine", TAGS | {"score": "0.5"})
        run.describe_model("\nwhat\nit is\n")
    assert client.get_logged_model(stores.model_of(run.id)).tags[NOTE] == "what it is"
    registered = register_run(run.id, "fer", promote=False)
    assert client.get_model_version("fer", registered.version).description == "what it is"
    text = client.get_registered_model("fer").description
    assert "`models:/fer@champion`" in text
    assert "`validation_digest`" in text
    client.update_registered_model("fer", "a person's")
    client.update_model_version("fer", registered.version, "a person's too")
    register_run(run.id, "fer", promote=False)
    assert client.get_registered_model("fer").description == "a person's"
    assert client.get_model_version("fer", registered.version).description == "a person's too"


def test_a_long_description_is_cut_to_what_the_registry_takes(logged):
    version = mlflow.register_model(f"models:/{logged[1]}", "fer")
    describe_version("fer", str(version.version), "x" * 9000)
    description = mlflow.MlflowClient().get_model_version("fer", str(version.version)).description
    assert description == "x" * MAX_REGISTERED
