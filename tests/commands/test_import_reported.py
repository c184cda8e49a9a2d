import mlflow
import pytest

from fer.cli import main
from fer.commands import import_reported
from fer.config.commands import ImportReportedConfig
from fer.experiments import files
from fer.experiments.files import read_reported
from fer.expressions import EXPRESSIONS
from fer.tracking import store
from tests import stores


@pytest.fixture
def client(empty_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stores.copy(empty_store, tmp_path))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    store.connect()
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def found(client):
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(places, "tags.reported = 'true'")


def test_every_row_becomes_a_finished_run_with_our_names_and_units(client):
    import_reported.run(ImportReportedConfig())
    runs = {run.info.run_name: run for run in found(client)}
    assert runs.keys() == read_reported().keys()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    run = runs["raf-swav-imagenet-balanced"]
    assert run.data.metrics["raf/accuracy"] == 0.855
    assert run.data.metrics["kdef/surprise"] == 0.4613
    shares = [run.data.metrics[f"wikimedia/{name}"] for name in EXPRESSIONS]
    assert run.data.metrics["wikimedia/class_mean"] == pytest.approx(sum(shares) / 7, abs=1e-4)
    assert (run.data.metrics["minutes_to_best"], run.data.metrics["minutes"]) == (112, 216)
    params = {"dataset": "raf", "init": "swav-imagenet", "lr": "0.001", "augment": "false", "batch_size": "32"}
    assert params.items() <= run.data.params.items()
    assert run.data.params["class_weights"].startswith("0.00046577,")
    assert run.data.tags["protocol"] == "best epoch on test"
    assert "kdef/accuracy" not in runs["raf-kdef-scratch"].data.metrics, "trained on KDEF, so not tested on it then"


def test_importing_twice_makes_no_doubles(client, capsys):
    import_reported.run(ImportReportedConfig())
    before = {run.info.run_id for run in found(client)}
    again = import_reported.run(ImportReportedConfig())
    assert {run.info.run_id for run in found(client)} == before
    assert (again.made, len(again.present)) == ((), 9)
    assert "nothing new; 9 stood there already" in capsys.readouterr().out


def test_a_corrected_row_replaces_what_stood_there(client, tmp_path, monkeypatch, capsys):
    import_reported.run(ImportReportedConfig())
    text = (files.FOLDER / "reported.yaml").read_text()
    (tmp_path / "reported.yaml").write_text(text.replace("accuracy: 0.3862", "accuracy: 0.3863"))
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    assert import_reported.run(ImportReportedConfig()).made == ("raf-scratch",)
    values = [run.data.metrics["raf/accuracy"] for run in found(client) if run.info.run_name == "raf-scratch"]
    assert values == [0.3863]
    assert "recorded 1 reported runs; 8 stood there already" in capsys.readouterr().out


def test_what_was_added_to_a_row_is_no_reason_to_replace_it(client):
    import_reported.run(ImportReportedConfig())
    run_id = found(client)[0].info.run_id
    client.log_metric(run_id, "raf/of_a_reader", 0.5)
    assert import_reported.run(ImportReportedConfig()).made == ()
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_the_runs_stand_where_trainings_do(client, monkeypatch):
    import_reported.run(ImportReportedConfig())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "chosen")
    # Rows of another experiment are no reason to leave them out of this one.
    assert len(import_reported.run(ImportReportedConfig()).made) == 9
    assert import_reported.run(ImportReportedConfig()).made == ()
    names = [client.get_experiment(run.info.experiment_id).name for run in found(client)]
    assert sorted(names) == ["Default"] * 9 + ["chosen"] * 9


def test_it_is_a_command_of_that_name(client, capsys):
    main(["import-reported"])
    assert "recorded 9 reported runs; 0 stood there already" in capsys.readouterr().out
