import os
import signal
from dataclasses import dataclass

import mlflow
import pytest

from fer.data.manifest import ImageRow, Manifest
from fer.errors import DataError, Interrupted
from fer.tracking.runs import fail_launched_run, tagging_next, tracked


@dataclass(frozen=True)
class Config:
    dataset: str = "raf+kdef"
    lr: float = 0.001
    augment: bool = True
    class_weights: tuple[float, ...] = (1.0, 2.5)
    source: str = ""


def test_a_finished_run_holds_what_went_in_and_came_out(client):
    with tracked("finetune", Config(), "my run", {"init_used": "scratch"}) as run:
        run.metrics({"wikimedia/accuracy": 0.5, "wikimedia/accuracy/fear": 0.25}, 3)
        run.text("hello", "notes/a.txt")
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "my run"
    assert client.get_experiment(found.info.experiment_id).name == "fer"
    assert found.data.params == {
        "dataset": "raf+kdef", "lr": "0.001", "augment": "true", "class_weights": "1.0,2.5", "source": "",
        "init_used": "scratch",
    }  # fmt: skip
    assert found.data.metrics == {"wikimedia/accuracy": 0.5, "wikimedia/accuracy/fear": 0.25}
    assert client.get_metric_history(run.id, "wikimedia/accuracy")[0].step == 3
    assert {"git.commit", "version.torch", "version.python", "hardware.cpu", "hardware.cores"} <= found.data.tags.keys()
    assert found.data.tags["fer.command"] == "finetune"
    assert {item.path for item in client.list_artifacts(run.id)} == {"config.json", "notes"}
    assert "fer.error" not in found.data.tags


@pytest.mark.parametrize(
    ("error", "reason"), [(DataError("no pictures"), "no pictures"), (KeyError("x"), "KeyError: 'x'")], ids=str
)
def test_a_failed_run_says_why(client, error, reason):
    with pytest.raises(type(error)), tracked("prepare", Config(), "broken") as run:
        raise error
    found = client.get_run(run.id)
    assert found.info.status == "FAILED"
    assert found.data.tags["fer.error"] == reason
    assert mlflow.active_run() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_run_killed(client, number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stop, tracked("prepare", Config(), "stopped") as run:
        os.kill(os.getpid(), number)
    assert stop.value.signum == number
    assert client.get_run(run.id).info.status == "KILLED"
    assert signal.getsignal(number) is before


def test_stages_nest_and_the_parent_stays_open_for_them(client):
    with tracked("main", Config(), "parent") as parent:
        with tracked("prepare", Config(), "child") as child:
            assert child.id != parent.id
        assert client.get_run(parent.id).info.status == "RUNNING"
    assert client.get_run(child.id).data.tags["mlflow.parentRunId"] == parent.id
    assert child.experiment_id == parent.experiment_id


def test_tags_for_the_next_run_are_that_runs_alone(client):
    with tracked("main", Config(), "parent") as parent:
        with tagging_next({"fer.experiment": "mine"}), tracked("finetune", Config(), "stage") as stage:
            assert client.get_run(stage.id).data.tags["fer.experiment"] == "mine", "a stopped run has them too"
            with tracked("prepare", Config(), "within") as within:
                pass
        with tracked("evaluate", Config(), "after") as after:
            pass
    assert all("fer.experiment" not in client.get_run(run.id).data.tags for run in (parent, within, after))


def launch(client, monkeypatch, **params: str) -> str:
    """Make a run as `mlflow run` does before it starts a program: parameters as shell-quoted text."""
    run = client.create_run("0")
    for key, value in params.items():
        client.log_param(run.info.run_id, key, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    return str(run.info.run_id)


def test_the_launchers_run_is_adopted_with_its_quoted_parameters(client, monkeypatch):
    run_id = launch(client, monkeypatch, dataset="'raf+kdef'", lr="1e-3", augment="True", source="''")
    with tracked("finetune", Config(), "mine") as run:
        assert run.id == run_id
        with tracked("prepare", Config(), "stage") as stage:
            assert stage.id != run_id
    found = client.get_run(run_id)
    assert (found.info.status, found.info.experiment_id) == ("FINISHED", "0")
    assert found.data.params["dataset"] == "'raf+kdef'"
    assert found.data.params["class_weights"] == "1.0,2.5"
    assert not [key for key in found.data.tags if key.startswith("param.")]


def test_a_parameter_that_means_something_else_becomes_a_tag(client, monkeypatch):
    run_id = launch(client, monkeypatch, lr="0.5")
    with tracked("finetune", Config(), "mine"):
        pass
    assert client.get_run(run_id).data.tags["param.lr"] == "0.001"


def test_a_launched_run_that_never_began_fails_with_the_sentence(client, monkeypatch):
    run_id = launch(client, monkeypatch)
    fail_launched_run("unknown option 'epoch'")
    found = client.get_run(run_id)
    assert (found.info.status, found.data.tags["fer.error"]) == ("FAILED", "unknown option 'epoch'")
    assert "MLFLOW_RUN_ID" not in os.environ


def test_a_data_set_is_an_input_with_its_digest(client, tmp_path):
    row = ImageRow("test/wikimedia/1/a.jpg", "surprise", "test", "", "", "", "ab" * 32, 10, 4, 5, "1/a.jpg", "")
    manifest = Manifest("wikimedia", (row,))
    with tracked("evaluate", Config(), "tested") as run:
        run.dataset(manifest, tmp_path, "test")
    (entry,) = client.get_run(run.id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("wikimedia", manifest.digest)
    assert {tag.value for tag in entry.tags} == {"test"}


def test_many_figures_fit_one_call(client):
    with tracked("evaluate", Config(), "many") as run:
        run.metrics({f"m/{n}": n for n in range(1500)})
    assert len(client.get_run(run.id).data.metrics) == 1500
