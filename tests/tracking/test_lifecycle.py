import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from fer.data.manifest import ImageRow, Manifest
from fer.errors import ConfigError, DataError, FerError, Interrupted
from fer.tracking import keeper
from fer.tracking.endings import fail_launched_run
from fer.tracking.lifecycle import tagging_next, tracked
from fer.tracking.names import ATTEMPT
from fer.tracking.runs import TrackedRun
from fer.training.checkpoints import LAST


@dataclass(frozen=True)
class Config:
    dataset: str = "raf+kdef"
    lr: float = 0.001
    augment: bool = True
    class_weights: tuple[float, ...] = (1.0, 2.5)
    source: str = ""


def test_a_finished_run_holds_what_went_in_and_came_out(client):
    with tracked("finetune", Config(), "my run", {"lr": 0.3, "arch": "resnet18"}) as run:
        run.metrics({"wikimedia/accuracy": 0.5, "wikimedia/fear": 0.25}, 3)
        run.text("hello", "notes/a.txt")
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "my run"
    assert client.get_experiment(found.info.experiment_id).name == "Default"
    assert found.data.params == {
        "dataset": "raf+kdef", "lr": "0.3", "augment": "true", "class_weights": "1.0,2.5", "arch": "resnet18",
    }  # fmt: skip
    assert found.data.metrics == {"wikimedia/accuracy": 0.5, "wikimedia/fear": 0.25}
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
        run.metrics({"loss": 1.0})
        run.tags({"mlflow.note.content": "what it was"})
        raise error
    found = client.get_run(run.id)
    assert found.info.status == "FAILED"
    assert found.data.tags["fer.error"] == reason
    assert found.data.tags["mlflow.note.content"] == f"**Not finished:** {reason}\n\nwhat it was"


def recording(run: TrackedRun, what: str) -> None:
    """Record one thing of a run, of which everything else is still to come."""
    if what == "metric":
        run.metrics({"loss": 1.0})
    elif what == "artifact":
        run.text("hello", "notes.txt")
    elif what == "input":
        row = ImageRow("test/raf/1/a.jpg", "surprise", "test", "", "", "", "ab" * 32, 10, 4, 5, "1/a.jpg", "")
        run.dataset(Manifest("raf", (row,)), Path("data"), "training")
    elif what == "child":
        with tracked("prepare", Config(), "child"):
            pass
    else:
        # Metrics of the machine say nothing of the work; tags are set before it.
        run.metrics({"system/cpu_utilization_percentage": 50.0})
        run.tags({"weights.loaded": "none"})


@pytest.mark.parametrize("what", ["nothing", "metric", "artifact", "input", "child"])
def test_a_command_refused_before_anything_was_recorded_leaves_no_run(client, what):
    with pytest.raises(DataError, match="no pictures"), tracked("finetune", Config(), "mine") as run:
        recording(run, what)
        raise DataError("no pictures")
    found = client.get_run(run.id)
    assert found.info.lifecycle_stage == ("deleted" if what == "nothing" else "active")
    assert mlflow.active_run() is None


def test_a_stage_refused_at_once_takes_its_empty_parents_along(client):
    with pytest.raises(DataError), tracked("main", Config(), "parent"), tracked("prepare", Config(), "child"):
        raise DataError("no pictures")
    assert statuses(client) == []
    with pytest.raises(DataError), tracked("main", Config(), "parent") as parent:
        with tracked("prepare", Config(), "earlier"):
            pass
        with tracked("finetune", Config(), "child"):
            raise DataError("no pictures")
    assert sorted(statuses(client)) == ["FAILED", "FINISHED"]
    assert client.get_run(parent.id).data.tags["fer.error"] == "no pictures"


def test_a_fault_of_our_own_leaves_the_run_to_be_looked_at(client):
    with pytest.raises(KeyError), tracked("finetune", Config(), "mine"):
        raise KeyError("x")
    assert statuses(client) == ["FAILED"]


def test_an_empty_run_that_cannot_be_deleted_says_why(client, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(DataError), tracked("finetune", Config(), "mine") as run:
        breaking(patch, "delete_run", MlflowException("the server says no"), 0)
        raise DataError("no pictures")
    assert client.get_run(run.id).data.tags["fer.error"] == "no pictures"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
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


def prepare_within() -> TrackedRun:
    with tracked("prepare", Config(), "within") as run:
        return run


def test_tags_for_the_next_run_are_that_runs_alone(client):
    with tracked("main", Config(), "parent") as parent:
        with tagging_next({"fer.experiment": "mine"}), tracked("finetune", Config(), "stage") as stage:
            within = prepare_within()
        with tracked("evaluate", Config(), "after") as after:
            pass
    assert client.get_run(stage.id).data.tags["fer.experiment"] == "mine"
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
    assert found.data.tags["mlflow.note.content"] == "**Not finished:** unknown option 'epoch'"
    assert "MLFLOW_RUN_ID" not in os.environ


def test_a_launched_run_stays_though_nothing_was_recorded(client, monkeypatch):
    run_id = launch(client, monkeypatch)
    with pytest.raises(DataError), tracked("finetune", Config(), "mine"):
        raise DataError("no *pictures*")
    found = client.get_run(run_id)
    assert (found.info.status, found.info.lifecycle_stage) == ("FAILED", "active")
    assert found.data.tags["fer.error"] == "no *pictures*"
    assert found.data.tags["mlflow.note.content"] == r"**Not finished:** no \*pictures\*"


def statuses(client) -> list[str]:
    return [
        run.info.status for place in client.search_experiments() for run in client.search_runs([place.experiment_id])
    ]


def breaking(monkeypatch, call: str, error: Exception, number: int) -> None:
    """Make one call of MLflow's client fail, the first or a later one."""
    ours, seen = getattr(mlflow.MlflowClient, call), iter(range(1000))

    def failing(*words, **options):
        if next(seen) == number:
            raise error
        return ours(*words, **options)

    monkeypatch.setattr(mlflow.MlflowClient, call, failing)


@pytest.mark.parametrize("launching", [False, True], ids=["own", "launched"])
@pytest.mark.parametrize("error", [MlflowException("the server says no"), OSError("no route")], ids=["mlflow", "os"])
@pytest.mark.parametrize(("call", "number"), [("log_batch", 0), ("log_batch", 1), ("get_run", 2), ("log_inputs", 0)])
def test_a_fault_that_passes_costs_nothing(client, monkeypatch, capsys, call, number, error, launching):
    if launching:
        launch(client, monkeypatch)
    with monkeypatch.context() as patch:
        breaking(patch, call, error, number)
        with tracked("finetune", Config(), "mine") as run:
            run.dataset(Manifest("raf", ()), Path("data"), "training")
            run.metrics({"loss": 1.0}, 3)
            run.text("hello", "notes/a.txt")
    found = client.get_run(run.id)
    assert (found.info.status, found.data.params["dataset"]) == ("FINISHED", "raf+kdef")
    assert [(point.value, point.step) for point in client.get_metric_history(run.id, "loss")] == [(1.0, 3)]
    assert {item.path for item in client.list_artifacts(run.id)} == {"config.json", "notes"}
    assert len(found.inputs.dataset_inputs) == 1
    assert "fer.heartbeat" not in found.data.tags
    assert not Path("outputs").exists()


@pytest.fixture
def impatient(monkeypatch) -> None:
    """The end of a run waits for a store for a second."""
    monkeypatch.setattr(keeper, "PATIENCE_MINUTES", 1 / 60)


def gone(*words, **options):
    raise MlflowException("connection refused")


@pytest.mark.parametrize("error", [DataError("no pictures"), KeyError("x"), Interrupted(15)], ids=repr)
def test_what_ended_a_run_is_seen_though_the_store_has_gone(client, impatient, monkeypatch, capfd, error):
    with monkeypatch.context() as patch, pytest.raises(type(error)) as raised, tracked("prepare", Config(), "broken"):
        patch.setattr(mlflow.MlflowClient, "set_terminated", gone)
        patch.setattr(mlflow.MlflowClient, "log_batch", gone)
        raise error
    assert raised.value is error
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"has ended, but .*connection refused; \d+ of its entries wait in .*: `fer sync` delivers", last)


def test_a_run_whose_store_has_gone_is_no_success_and_names_what_waits(client, impatient, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(FerError, match=r"has finished, but .* refused; .* `fer sync`"):  # noqa: SIM117
        with tracked("prepare", Config(), "whole") as run:
            patch.setattr(mlflow.MlflowClient, "set_terminated", gone)
    assert client.get_run(run.id).info.status == "RUNNING"
    assert (run.folder / "spool" / "journal.jsonl").is_file()


def test_what_the_store_refuses_for_good_is_said_at_the_run(client, impatient, monkeypatch):
    def refuse(*words, **options):
        raise MlflowException("not your experiment", error_code=PERMISSION_DENIED)

    with monkeypatch.context() as patch, pytest.raises(FerError, match=r"not your experiment.*`fer sync` delivers"):  # noqa: SIM117
        with tracked("prepare", Config(), "whole") as run:
            patch.setattr(mlflow.MlflowClient, "log_inputs", refuse)
            run.dataset(Manifest("raf", ()), Path("data"), "training")
            run.metrics({"loss": 1.0})
    found = client.get_run(run.id)
    assert found.info.status == "FAILED"
    assert "`fer sync` delivers it" in found.data.tags["fer.error"]
    assert found.data.metrics == {"loss": 1.0}


@pytest.mark.parametrize("call", ["create_run", "set_terminated"])
def test_a_signal_while_a_run_begins_or_ends_leaves_it_ended(client, monkeypatch, call):
    ours = getattr(mlflow.MlflowClient, call)

    def signalled(*words, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return ours(*words, **options)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(mlflow.MlflowClient, call, signalled)
        with tracked("prepare", Config(), "stopped"):
            assert call == "set_terminated"
    assert statuses(client) == ["FINISHED" if call == "set_terminated" else "KILLED"]
    assert not Path("outputs").exists()


def test_a_launchers_run_that_cannot_be_told_is_no_second_fault(client, monkeypatch):
    launch(client, monkeypatch)
    breaking(monkeypatch, "set_tag", MlflowException("the server says no"), 0)
    fail_launched_run("unknown option 'epoch'")
    assert statuses(client) == ["FAILED"]


@dataclass(frozen=True)
class Kept(Config):
    output: str = "outputs"


def test_a_folder_that_cannot_be_is_said_before_a_run_is_made(client, tmp_path):
    (tmp_path / "file").write_text("x")
    refusal = r"file/runs. cannot be written: .*file. is no folder; give another folder"
    config = Kept(output="file/runs")
    with pytest.raises(ConfigError, match=refusal), tracked("finetune", config, "a training"):
        raise AssertionError
    assert client.search_runs(["0"]) == []


def test_a_process_that_has_lost_its_run_records_nothing_more(client, monkeypatch):
    monkeypatch.setattr(keeper.os, "kill", lambda *words: None)
    made = []

    def opened(kept, config):
        made.append(keeper.Keeper(kept, config))
        return made[0]

    monkeypatch.setattr("fer.tracking.lifecycle.Keeper", opened)
    lost = "was resumed by another process, so this one has stopped"
    with pytest.raises(FerError, match=lost), tracked("finetune", Kept(), "a training") as run:
        run.metrics({"loss": 1.0}, 1)
        run.outbox.result(run.outbox.put("tags", tags={"a": "1"}))
        client.set_tag(run.id, ATTEMPT, "2:another")
        made[0]._note_loss()
        # A validation may take minutes before the signal is heard.
        run.metrics({"loss": 2.0}, 2)
        (run.folder / LAST).write_bytes(b"x")
        run.checkpoint(run.folder, 2, 0)
        raise Interrupted(15)
    time.sleep(0.5)
    found = client.get_run(run.id)
    assert found.info.status == "RUNNING"
    assert found.data.metrics["loss"] == 1.0
    assert "fer.checkpoint" not in found.data.tags
