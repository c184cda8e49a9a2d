"""What `mlflow run` says last of a run that a signal stopped is set right, unless the run goes on."""

import mlflow
import pytest

from fer.tracking import endings
from fer.tracking.names import ATTEMPT

ORPHANS = 1
"""The parent of a process whose launcher has gone."""


@pytest.fixture
def run_id(client, monkeypatch) -> str:
    """A run of which the launcher's last word was FAILED."""
    monkeypatch.setattr(endings, "WATCH_SECONDS", 1.0)
    run = client.create_run("0", tags={ATTEMPT: "1:aa"})
    client.set_terminated(run.info.run_id, "FAILED")
    return str(run.info.run_id)


def test_a_run_whose_launcher_called_it_failed_is_killed_at_once_when_that_has_gone(client, run_id):
    endings._set_killed_after(ORPHANS, run_id, mlflow.get_tracking_uri(), attempt="1:aa")
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_run_that_was_resumed_meanwhile_is_left_alone(client, run_id):
    client.set_tag(run_id, ATTEMPT, "2:bb")
    client.set_terminated(run_id, "FINISHED")
    endings._set_killed_after(ORPHANS, run_id, mlflow.get_tracking_uri(), attempt="1:aa")
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_launchers_run_that_names_another_one_is_killed_too(client, monkeypatch):
    monkeypatch.setattr(endings, "WATCH_SECONDS", 1.0)
    launched = client.create_run("0").info.run_id
    endings._set_killed_after(ORPHANS, launched, mlflow.get_tracking_uri(), attempt="")
    assert client.get_run(launched).info.status == "KILLED"
