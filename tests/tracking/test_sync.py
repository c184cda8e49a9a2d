"""What runs have left on a machine is delivered once, and each run ends as it ended."""

import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from fer.errors import DataError, FerError, Interrupted
from fer.tracking import store
from fer.tracking import sync as sync_module
from fer.tracking.journal import HEAD, JOURNAL, spool_folder
from fer.tracking.leftovers import close_dead_runs
from fer.tracking.lifecycle import tracked
from fer.tracking.names import ATTEMPT, ERROR, HEARTBEAT
from fer.tracking.spool import Spool
from fer.tracking.sync import spools_in, sync_run

OUTPUTS = Path("outputs")


@dataclass(frozen=True)
class Offline:
    """The options of a training that touch its record."""

    offline: bool = True
    output: str = "outputs"


def sync() -> list[str]:
    """Deliver all that waits, and return the sentences on what is left."""
    results = [sync_run(mlflow.get_tracking_uri(), folder) for folder in spools_in(OUTPUTS.resolve())]
    return [result.message for result in results if not result.done]


def record(loss: float = 0.5, error: BaseException | None = None) -> str:
    """Record a training without a store, and return what it is called here."""
    with tracked("finetune", Offline(), "a training") as run:
        run.tags({"a": "1"})
        run.metrics({"loss": loss}, 1)
        run.text("x", "notes/x.txt")
        if error is not None:
            raise error
    return run.id


def runs() -> list[mlflow.entities.Run]:
    return store.search_runs("")


def test_a_run_recorded_offline_is_made_in_the_store_as_it_was(client):
    before = int(time.time() * 1000)
    record()
    assert runs() == []
    ended = int(time.time() * 1000)
    time.sleep(0.1)
    assert sync() == []
    (run,) = runs()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a training")
    assert before <= run.info.start_time <= run.info.end_time <= ended
    assert run.data.tags["a"] == "1"
    assert HEARTBEAT not in run.data.tags
    (point,) = client.get_metric_history(run.info.run_id, "loss")
    assert (point.value, point.step) == (0.5, 1)
    assert point.timestamp <= ended
    assert Path(client.download_artifacts(run.info.run_id, "notes/x.txt")).read_text() == "x"
    assert not OUTPUTS.exists() or not list(OUTPUTS.iterdir())
    assert sync() == []
    assert len(runs()) == 1


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(DataError("no pictures"), "FAILED", "no pictures"), (Interrupted(15), "KILLED", "stopped by signal 15")],
)
def test_a_run_that_did_not_finish_offline_says_why(client, error, status, reason):
    with pytest.raises(type(error)):
        record(error=error)
    assert sync() == []
    (run,) = runs()
    assert run.info.status == status
    assert reason in run.data.tags[ERROR]


def test_a_run_whose_process_died_offline_is_killed(client):
    name = record()
    folder = OUTPUTS / name
    spool = Spool(spool_folder(folder))
    spool.write_head(end=None)
    spool.mark_delivered([entry.number for entry in spool.pending() if entry.kind == "end"])
    spool.close()
    assert sync() == []
    (run,) = runs()
    assert (run.info.status, run.data.tags[ERROR]) == (
        "KILLED",
        "its process died: it was killed, or its machine was lost",
    )


def test_the_making_of_the_run_whose_answer_was_lost_makes_one(client, monkeypatch):
    record()
    real = mlflow.MlflowClient.create_run
    calls: list[int] = []

    def lossy(*words, **options):
        made = real(*words, **options)
        calls.append(1)
        if len(calls) == 1:
            raise MlflowException("the answer was lost")
        return made

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", lossy)
    assert sync() == []
    assert len(runs()) == 1


def test_what_was_broken_off_is_gone_on_with(client, monkeypatch):
    record()
    real = mlflow.MlflowClient.set_terminated
    with monkeypatch.context() as patch:

        def gone(*words, **options):
            raise MlflowException("connection refused")

        patch.setattr(mlflow.MlflowClient, "set_terminated", gone)
        (left,) = sync()
    assert "is not delivered whole" in left
    assert mlflow.MlflowClient.set_terminated is real
    assert sync() == []
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 1


def test_one_damaged_spool_is_named_and_the_others_are_delivered(client):
    names = [record(0.1), record(0.2), record(0.3)]
    head, journal = (spool_folder(OUTPUTS / name) for name in names[:2])
    (head / HEAD).write_text("{")
    lines = (journal / JOURNAL).read_text().splitlines(keepends=True)
    (journal / JOURNAL).write_text("no JSON\n" + "".join(lines[1:]))
    left = sync()
    assert sorted("run.json" in sentence for sentence in left) == [False, True]
    assert any("line 1 of" in sentence for sentence in left)
    (run,) = runs()
    assert run.data.metrics == {"loss": 0.3}
    assert sorted(folder.name for folder in spools_in(OUTPUTS)) == sorted(names[:2])


def test_a_run_that_was_deleted_in_the_store_is_named(client):
    name = record()
    spool = Spool(spool_folder(OUTPUTS / name))
    spool.write_head(run_id="0" * 32)
    spool.close()
    (left,) = sync()
    assert "0" * 32 in left
    assert spools_in(OUTPUTS)


def test_a_run_that_goes_on_is_left_alone(client):
    with tracked("finetune", Offline(), "a training"):
        (left,) = sync()
    assert "in use by a process that is still running" in left
    assert sync() == []


def test_a_run_continued_offline_is_one_run_with_each_figure_once(client):
    with pytest.raises(Interrupted):
        record(error=Interrupted(15))
    (folder,) = spools_in(OUTPUTS)
    with tracked("finetune", Offline(), "a training", continues=folder.name) as run:
        # From its last checkpoint it comes to the first step anew.
        run.metrics({"loss": 0.5}, 1)
        run.metrics({"loss": 0.4}, 2)
    assert sync() == []
    (delivered,) = runs()
    assert delivered.info.status == "FINISHED"
    assert ERROR not in delivered.data.tags
    history = client.get_metric_history(delivered.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.4)]


def test_a_run_continued_elsewhere_while_it_was_delivered_is_not_ended(client, monkeypatch):
    name = record()
    monkeypatch.setattr(sync_module, "end_run", lambda *words: pytest.fail("it was ended"))
    delivered = sync_module.clear_reason

    def taken_over(store_client, run_id):
        delivered(store_client, run_id)
        store_client.set_tag(run_id, ATTEMPT, "7:elsewhere")

    monkeypatch.setattr(sync_module, "clear_reason", taken_over)
    (result,) = [sync_run(mlflow.get_tracking_uri(), folder) for folder in spools_in(OUTPUTS.resolve())]
    assert result.done
    assert "was continued elsewhere since" in result.message
    assert not spool_folder(OUTPUTS / name).exists()


def test_a_run_of_which_the_store_refuses_part_is_failed_until_it_takes_that(client, monkeypatch):
    record()

    def refuses(*words):
        raise MlflowException("not yours", error_code=PERMISSION_DENIED)

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "log_artifact", refuses)
        (left,) = sync()
    (run,) = runs()
    assert run.info.status == "FAILED"
    assert "entries still wait in" in run.data.tags[ERROR]
    assert run.data.tags[ERROR] in left
    assert sync() == []
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert ERROR not in run.data.tags


def test_a_run_that_did_not_finish_keeps_its_reason_where_the_store_refuses_part_of_it(client, monkeypatch):
    with pytest.raises(DataError):
        record(error=DataError("no pictures"))
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "deliver", lambda delivery, entry: refuse(entry))
        assert "entries still wait in" in sync()[0]
    # It says why, and is there to be delivered later, though nothing is recorded of it yet.
    (run,) = runs()
    assert (run.info.status, run.data.tags[ERROR]) == ("FAILED", "no pictures")
    assert sync() == []
    (run,) = runs()
    assert (run.info.status, run.data.tags[ERROR], run.data.metrics) == ("FAILED", "no pictures", {"loss": 0.5})


def test_a_slip_of_which_the_store_refuses_all_is_not_deleted_before_it_is_delivered(client, monkeypatch):
    name = record()
    spool = Spool(spool_folder(OUTPUTS / name))
    spool.write_head(end={**spool.head["end"], "status": "FAILED", "reason": "a slip", "unless_begun": True})
    spool.close()
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "deliver", lambda delivery, entry: refuse(entry))
        assert sync()
    assert len(runs()) == 1
    assert sync() == []
    assert runs()[0].data.metrics == {"loss": 0.5}


def test_a_description_is_delivered_in_place_of_why_it_had_not_finished(client, monkeypatch):
    with tracked("finetune", Offline(), "a training") as run:
        run.text("x", "notes/x.txt")
        run.describe("What it is.")
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "deliver", lambda delivery, entry: refuse(entry))
        assert sync()
    assert "mlflow.note.content" in runs()[0].data.tags
    assert sync() == []
    assert runs()[0].data.tags["mlflow.note.content"] == "What it is."


def refuse(entry):
    raise MlflowException("not yours", error_code=PERMISSION_DENIED)


def test_a_store_that_goes_away_is_one_sentence(client, monkeypatch):
    def gone(*words, **options):
        raise MlflowException("connection refused")

    monkeypatch.setattr(mlflow, "search_runs", gone)
    with pytest.raises(FerError, match=r"the MLflow store .* does not take the run: connection refused"):
        close_dead_runs(mlflow.get_tracking_uri(), print)


def test_a_folder_that_cannot_be_written_is_named_and_the_others_are_delivered(client, monkeypatch):
    closed, _ = record(0.1), record(0.2)
    real = Spool.__init__

    def refused(self: Spool, folder: Path) -> None:
        if folder.parent.name == closed:
            raise PermissionError(13, "Permission denied")
        real(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "__init__", refused)
        (left,) = sync()
    assert f"{closed}' cannot be opened (Permission denied): make it writable" in left
    assert [run.data.metrics for run in runs()] == [{"loss": 0.2}]


def test_a_folder_that_this_user_may_not_look_into_is_passed_over(client, monkeypatch):
    closed, _ = record(0.1), record(0.2)
    real = Path.is_dir

    def looks(self: Path, **options: bool) -> bool:
        if self.parent.name == closed:
            raise PermissionError(13, "Permission denied")
        return real(self, **options)

    monkeypatch.setattr(Path, "is_dir", looks)
    assert sync() == []
    assert [run.data.metrics for run in runs()] == [{"loss": 0.2}]


def test_a_store_that_has_no_place_for_a_run_is_one_sentence_and_the_run_can_be_delivered_later(client, monkeypatch):
    record()

    def unusable(address: str) -> str:
        raise FerError(f"the MLflow store {address} does not answer: start it")

    with monkeypatch.context() as patch:
        patch.setattr(store, "experiment_id", unusable)
        (left,) = sync()
    assert left.endswith("does not answer: start it")
    assert sync() == []


def test_checkpoints_stay_where_they_are_if_the_run_has_others_of_its_own(client):
    with pytest.raises(Interrupted):
        record(error=Interrupted(15))
    (folder,) = spools_in(OUTPUTS)
    (folder / "last").mkdir()
    spool = Spool(spool_folder(folder))
    run_id = client.create_run("0").info.run_id
    spool.write_head(run_id=run_id)
    spool.close()
    (OUTPUTS / run_id / "last").mkdir(parents=True)
    assert sync() == []
    assert sorted(path.name for path in OUTPUTS.iterdir()) == sorted([folder.name, run_id])
    assert [path.name for path in folder.iterdir()] == ["last"]


def test_what_is_no_spool_is_passed_over(client, tmp_path):
    (OUTPUTS / "other").mkdir(parents=True)
    (OUTPUTS / "file").write_text("x")
    (OUTPUTS / "empty" / "spool").mkdir(parents=True)
    assert sync() == []
    assert sorted(path.name for path in OUTPUTS.iterdir()) == ["file", "other"]
    assert runs() == []
