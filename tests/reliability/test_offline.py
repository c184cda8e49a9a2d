"""Trainings that are recorded on their machine only, and delivered later."""

import signal

import pytest

from tests.reliability.chaos import FINETUNE
from tests.reliability.records import differing, read_record, runs_of

pytestmark = pytest.mark.project

OFFLINE = ("--offline", "true")
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""


def left(place):
    return sorted((place.folder / "outputs").rglob("*"))


def test_a_training_recorded_without_a_server_is_delivered_whole_and_once(place, expected):
    output = place.start([*FINETUNE, *OFFLINE], MLFLOW_TRACKING_URI=NOWHERE).wait()
    assert "`fer sync` delivers it" in output
    assert "Traceback" not in output
    assert not runs_of(place.client)
    assert "has finished" in place.run(["sync"])
    assert differing(place.record("finetune"), expected) == {}
    assert not left(place)
    assert "nothing waits" in place.run(["sync"])


def test_a_training_recorded_without_a_server_goes_on_after_kill_and_signal(make_place, expected):
    place = make_place()
    nowhere = {"MLFLOW_TRACKING_URI": NOWHERE}
    for number in (signal.SIGKILL, signal.SIGTERM):
        program = place.start([*FINETUNE, *OFFLINE, "--resume", "auto"], **nowhere)
        epoch = 1 if number == signal.SIGKILL else 2
        assert program.wait_for(lambda epoch=epoch, program=program: f"epoch {epoch}/" in program.output)
        program.signal(number)
        program.wait(code=-9 if number == signal.SIGKILL else 128 + number)
    (folder,) = (place.folder / "outputs").iterdir()
    place.start(["finetune", *OFFLINE, "--resume", folder.name], **nowhere).wait()
    place.run(["sync"])
    assert differing(place.record("finetune"), expected) == {}
    assert not left(place)


def test_a_run_and_the_preparation_in_it_are_delivered_as_parent_and_child(make_place, raw, expected):
    place = make_place()
    place.environment["FER_DATA"] = str(raw)
    place.start([*FINETUNE, *OFFLINE], MLFLOW_TRACKING_URI=NOWHERE).wait()
    assert len(list((place.folder / "outputs").iterdir())) == 2
    place.run(["sync"])
    client = place.client
    (training,), (preparation,) = runs_of(client, "finetune"), runs_of(client, "prepare")
    assert len(runs_of(client)) == 2
    assert preparation.data.tags["mlflow.parentRunId"] == training.info.run_id
    assert preparation.info.status == "FINISHED"
    assert differing(read_record(client, training, place.folder / "downloads"), expected) == {}
    assert not left(place)
