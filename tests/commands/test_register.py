import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from fer.cli import main
from fer.config.build import build
from fer.config.models import ExportConfig, RegisterConfig
from fer.errors import ConfigError, ModelError, RegistrationError
from fer.pipeline.finalize import register_at_end
from fer.tracking.lifecycle import tracked
from fer.tracking.names import REGISTERED, UNREGISTERED
from fer.tracking.registry import register_run
from fer.tracking.runs import TrackedRun
from tests import stores
from tests.tracking.servers import refusing, tracking_server

TAGS = {"validation_digest": "v1", "protocol": "p", "trained_on": "raf", "terms": "research only"}


@pytest.fixture(scope="module")
def refused(prepared, empty_store, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A short training whose registry refused its model, and what was printed."""
    root, _ = prepared
    folder = tmp_path_factory.mktemp("refused")
    options = {
        "dataset": "raf", "data_root": root, "arch": "squeezenet1_1", "init": "scratch", "image_size": 32, "epochs": 1,
        "batch_size": 16, "evaluate_on": "raf", "output": folder / "outputs", "registered_name": "fer-test",
        "promote": "true",
    }  # fmt: skip
    address = stores.copy(empty_store, folder)
    printed: list[str] = []

    def refuse(client: mlflow.MlflowClient, **words: object) -> None:
        raise MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", address)
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        with patch.context() as refusal:
            refusal.setattr(mlflow.MlflowClient, "_create_model_version", refuse)
            refusal.setattr("builtins.print", lambda *words, **options: printed.append(" ".join(map(str, words))))
            main(["finetune", *(str(word) for key, value in options.items() for word in (f"--{key}", value))])
        client = mlflow.MlflowClient(address, registry_uri=address)
        places = [place.experiment_id for place in client.search_experiments()]
        (run,) = client.search_runs(places, "tags.`fer.command` = 'finetune'")
        yield SimpleNamespace(client=client, run=run, printed=printed)
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


def test_a_refused_registration_loses_nothing_and_the_named_command_makes_up_for_it(refused, capsys):
    run_id = refused.run.info.run_id
    assert refused.run.info.status == "FINISHED"
    assert REGISTERED not in refused.run.data.tags
    assert "fer.error" not in refused.run.data.tags
    sentence = refused.run.data.tags[UNREGISTERED]
    assert "Permission denied" in sentence
    assert refused.printed.count(sentence) == 1
    assert not refused.client.search_model_versions("name='fer-test'")
    named = re.search(r"fer (register .*)$", sentence)
    assert named is not None

    main(shlex.split(named[1]))
    said = capsys.readouterr().out
    assert "registered fer-test 1: version 1 is the champion" in said
    version = refused.client.get_model_version_by_alias("fer-test", "champion")
    (logged,) = refused.run.outputs.model_outputs
    model = refused.client.get_logged_model(logged.model_id)
    assert (version.source, version.run_id) == (f"models:/{logged.model_id}", run_id)
    for key in ("validation_digest", "protocol", "trained_on", "terms", "score"):
        assert version.tags[key] == model.tags[key]
    assert not [key for key in version.tags if key.startswith(("fer.", "mlflow."))]
    tags = refused.client.get_run(run_id).data.tags
    assert tags[REGISTERED].startswith("fer-test/1: version 1 is the champion")
    assert UNREGISTERED not in tags

    main(shlex.split(named[1]))
    printed = capsys.readouterr().out
    assert "registered fer-test 1" in printed
    assert printed.rstrip().endswith("/#/models/fer-test/versions/1?workflowType=machine_learning")
    assert len(refused.client.search_model_versions("name='fer-test'")) == 1, "once is enough"


def test_auto_means_the_model_that_the_run_was_meant_for(refused):
    assert register_run(refused.run.info.run_id, "auto", promote=False).name == "fer-test"


@pytest.mark.parametrize("quote", ["", "'"], ids=["python -m fer", "mlflow run"])
def test_auto_is_never_a_name_also_in_a_run_of_an_earlier_version(refused, quote):
    with tracked("finetune", ExportConfig(), "earlier") as run:
        _log_a_model(run)
    refused.client.log_param(run.id, "registered_name", f"{quote}auto{quote}")
    with pytest.raises(ConfigError, match="registered_name=<name>"):
        register_run(run.id, "auto", promote=False)
    refused.client.log_param(run.id, "registered_name_used", f"fer-earlier-{len(quote)}")
    assert register_run(run.id, "auto", promote=False).name == f"fer-earlier-{len(quote)}"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ConfigError, "model must be runs:/<id>"),
        ({"model": "models:/fer@champion"}, ConfigError, "model must be runs:/<id>"),
        ({"model": "runs:/" + "0" * 32}, ModelError, "cannot be read"),
    ],
    ids=["nothing", "no run", "unknown"],
)
def test_a_mistake_is_one_sentence(refused, options, error, words):
    from fer.commands import register

    with pytest.raises(error, match=words) as raised:
        register.run(build(RegisterConfig, options))
    assert "\n" not in str(raised.value)


def test_a_run_without_a_scored_model_or_a_name_is_one_sentence(refused):
    with tracked("export", ExportConfig(), "no model") as run:
        pass
    with pytest.raises(ModelError, match="no classifier that was scored on validation"):
        register_run(run.id, "fer", promote=False)
    with tracked("finetune", ExportConfig(), "nameless") as run:
        _log_a_model(run)
    with pytest.raises(ConfigError, match="registered_name=<name>"):
        register_run(run.id, "auto", promote=False)


def _log_a_model(run: TrackedRun) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "MLmodel").write_text("artifact_path: model\n")
        run.model(Path(folder), "a model", {**TAGS, "score": "0.500000"})


@pytest.mark.project
def test_a_server_that_forbids_registering_takes_the_run_all_the_same(refused, tmp_path, capsys):
    database = Path(refused.client.tracking_uri.removeprefix("sqlite:///"))
    shutil.copy(database, tmp_path / "mlflow.db")
    before = refused.client.tracking_uri
    with tracking_server(tmp_path) as server, refusing(server, "model-versions") as (address, allowed):
        mlflow.set_tracking_uri(address)
        try:
            with tracked("finetune", ExportConfig(), "forbidden") as run:
                _log_a_model(run)
                assert register_at_end(run, "fer-forbidden", promote=False) is None
            client = mlflow.MlflowClient()
            found = client.get_run(run.id)
            assert found.info.status == "FINISHED"
            assert "Permission denied" in found.data.tags[UNREGISTERED]
            command = re.search(r"fer (register .*)$", capsys.readouterr().out, re.MULTILINE)
            assert command is not None
            with pytest.raises(RegistrationError, match="Permission denied"):
                register_run(run.id, "fer-forbidden", promote=False)
            allowed.set()
            main(shlex.split(command[1]))
            assert client.get_model_version_by_alias("fer-forbidden", "champion").run_id == run.id
        finally:
            mlflow.set_tracking_uri(before)
            mlflow.set_registry_uri(before)
