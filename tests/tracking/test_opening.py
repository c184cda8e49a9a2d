"""A run that is to be gone on with, and cannot be after all, loses nothing of what it has left on the machine."""

import json
from pathlib import Path

import mlflow
import pytest

from fer.errors import FerError, Interrupted
from fer.tracking import opening
from fer.tracking.heartbeat import beat
from fer.tracking.names import ATTEMPT, ERROR, HEARTBEAT
from fer.tracking.opening import continue_run, open_new
from fer.tracking.runs import TrackedRun
from fer.tracking.sync import sync_run
from tests.tracking.made import dead_process

OUTPUTS = Path("outputs")


@pytest.fixture
def dead(client) -> str:
    """The id of a run whose process died before it could send a figure."""
    opened = open_new(mlflow.get_tracking_uri(), "a training", "", OUTPUTS.resolve(), {})
    TrackedRun(opened.outbox).metrics({"loss": 0.5}, 1)
    opened.outbox.spool.close()
    run_id = opened.outbox.run_id
    client.set_tag(run_id, HEARTBEAT, json.dumps(json.loads(beat()) | dead_process()))
    return run_id


def go_on(run_id: str, root: Path = OUTPUTS) -> opening.Opened:
    return continue_run(mlflow.get_tracking_uri(), run_id, "", root.resolve())


@pytest.mark.parametrize("error", [Interrupted(15), FerError("the store has gone")], ids=str)
@pytest.mark.parametrize("step", ["clear_reason", "recorded_points", "drop_end"])
def test_what_it_left_is_still_delivered_and_it_is_not_running_for_ever(client, dead, monkeypatch, step, error):
    def fails(*words: object) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(opening, step, fails)
        go_on(dead)
    run = client.get_run(dead)
    assert (run.info.status, run.data.tags[ERROR]) == ("KILLED", str(error))
    assert sync_run(mlflow.get_tracking_uri(), OUTPUTS / dead).done
    assert [point.value for point in client.get_metric_history(dead, "loss")] == [0.5]


def test_a_process_that_is_killed_while_it_takes_it_over_loses_nothing(client, dead, monkeypatch):
    class Killed(BaseException):
        """As SIGKILL: nothing of the process runs after it."""

    def killed(*words: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(opening, "clear_reason", killed)
        patch.setattr(opening, "stop_run", lambda *words: None)
        go_on(dead)
    assert client.get_run(dead).data.tags[ATTEMPT].startswith("2:")
    assert sync_run(mlflow.get_tracking_uri(), OUTPUTS / dead).done
    assert [point.value for point in client.get_metric_history(dead, "loss")] == [0.5]


def test_what_a_run_left_that_was_continued_elsewhere_is_not_sent(client, dead):
    opened = go_on(dead, Path("elsewhere"))
    opened.outbox.spool.close()
    assert "was continued elsewhere since" in sync_run(mlflow.get_tracking_uri(), OUTPUTS / dead).message
    assert client.get_metric_history(dead, "loss") == []
    assert not OUTPUTS.exists()


def test_a_folder_that_cannot_be_written_leaves_no_run_running(client, monkeypatch):
    def refuses(*words: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(opening, "Spool", refuses)
    with pytest.raises(PermissionError):
        open_new(mlflow.get_tracking_uri(), "a training", "", OUTPUTS.resolve(), {})
    (run,) = client.search_runs(["0"])
    assert (run.info.status, run.data.tags[ERROR]) == ("KILLED", "not yours")
