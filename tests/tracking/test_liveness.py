"""Which runs count as dead, and which process of several carries on with one."""

import json
import platform
import threading
import time

import mlflow
import psutil
import pytest

from fer.errors import FerError
from fer.tracking import liveness
from fer.tracking.liveness import Heartbeat, attempt_number, beat, claim, end_if_dead, is_dead, is_going_on, new_attempt
from fer.tracking.names import ATTEMPT, ERROR, HEARTBEAT
from fer.tracking.sync import close_dead_runs
from tests.tracking.made import dead_process

LONG_AGO = 3600.0


def started(client: mlflow.MlflowClient, **changes: object) -> str:
    """Make a RUNNING run whose heartbeat is this process's, but for some changes, and return its id."""
    value = json.dumps(json.loads(beat()) | changes)
    run = client.create_run("0", tags={HEARTBEAT: value, ATTEMPT: new_attempt(1)})
    return str(run.info.run_id)


def test_a_run_of_a_process_of_this_machine_lives_as_long_as_that(client):
    alive, dead = started(client), started(client, **dead_process())
    # Another process has the number of the one that beat.
    reused = started(client, started=psutil.Process().create_time() - LONG_AGO)
    assert [is_dead(client.get_run(run_id)) for run_id in (alive, dead, reused)] == [False, True, True]
    assert is_going_on(client, client.get_run(alive))
    assert not is_going_on(client, client.get_run(dead))


def test_a_run_of_another_machine_is_dead_when_it_has_long_been_silent(client):
    silent = started(client, host="other", time=time.time() - LONG_AGO)
    lately = started(client, host="other")
    restarted = started(client, boot=1, time=time.time() - LONG_AGO)
    assert [is_dead(client.get_run(run_id)) for run_id in (silent, lately, restarted)] == [True, False, True]


@pytest.mark.parametrize("value", ["", "now", "[]", '{"host": "a"}'])
def test_a_heartbeat_that_is_none_is_no_sign_of_life(client, value):
    run = client.create_run("0", tags={HEARTBEAT: value})
    assert is_dead(client.get_run(run.info.run_id))


def test_another_machines_heartbeat_is_watched_for(client, monkeypatch, capsys):
    monkeypatch.setattr(liveness, "WATCHED_SECONDS", 3.0)
    still, beating = started(client, host="other"), started(client, host="other")
    read = {run_id: client.get_run(run_id) for run_id in (still, beating)}
    client.set_tag(beating, HEARTBEAT, json.dumps({**json.loads(beat()), "host": "other", "time": 1}))
    assert not is_going_on(client, read[still])
    assert is_going_on(client, read[beating])
    assert f"watching for 3 s whether run {still} still goes on elsewhere" in capsys.readouterr().out


def test_dead_runs_are_closed_with_the_reason_and_live_ones_left(client):
    alive, dead = started(client), started(client, **dead_process())
    elsewhere = started(client, host="other", time=time.time() - LONG_AGO)
    unknown = str(client.create_run("0").info.run_id)
    said: list[str] = []
    assert close_dead_runs(mlflow.get_tracking_uri(), said.append) == 2
    statuses = [client.get_run(run_id).info.status for run_id in (alive, dead, elsewhere, unknown)]
    assert statuses == ["RUNNING", "KILLED", "KILLED", "RUNNING"]
    assert sorted(sentence.split()[1] for sentence in said) == sorted([dead, elsewhere])
    tags = client.get_run(dead).data.tags
    assert tags[ERROR] == liveness.DIED
    assert HEARTBEAT not in tags
    assert close_dead_runs(mlflow.get_tracking_uri(), said.append) == 0


def test_runs_of_other_machines_can_be_left_alone(client):
    dead = started(client, **dead_process())
    elsewhere = started(client, host="other", time=time.time() - LONG_AGO)
    assert close_dead_runs(mlflow.get_tracking_uri(), print, here=True) == 1
    assert [client.get_run(run_id).info.status for run_id in (dead, elsewhere)] == ["KILLED", "RUNNING"]


def test_a_run_that_has_ended_is_not_ended_again(client):
    run_id = started(client, **dead_process())
    client.set_terminated(run_id, "FINISHED")
    assert not end_if_dead(client, client.get_run(run_id))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_dead_run_is_taken_over(client):
    run_id = started(client, **dead_process())
    attempt = new_attempt(2)
    claim(client, client.get_run(run_id), attempt)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags[ATTEMPT]) == ("RUNNING", attempt)
    assert attempt_number(run.data.tags) == 2
    assert json.loads(run.data.tags[HEARTBEAT])["host"] == platform.node()
    assert not is_dead(run)


def test_a_run_that_goes_on_is_not_taken_over(client):
    run_id = started(client)
    before = client.get_run(run_id).data.tags
    with pytest.raises(FerError, match=f"run {run_id} is still going on"):
        claim(client, client.get_run(run_id), new_attempt(2))
    assert client.get_run(run_id).data.tags == before


def test_a_run_that_another_has_taken_over_meanwhile_is_left_to_that_one(client):
    run_id = started(client, **dead_process())
    read = client.get_run(run_id)
    claim(client, read, new_attempt(2))
    with pytest.raises(FerError, match="being resumed by another process"):
        claim(client, read, new_attempt(2))


def test_of_two_that_claim_a_run_at_once_one_has_it(client):
    run_id = started(client, **dead_process())
    read, barrier = client.get_run(run_id), threading.Barrier(2)
    outcomes: list[str] = []

    def attempt() -> None:
        barrier.wait()
        try:
            own = new_attempt(2)
            claim(client, read, own)
            outcomes.append(own)
        except FerError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (lost,) = [outcome for outcome in outcomes if "being resumed by another process" in outcome]
    (won,) = [outcome for outcome in outcomes if outcome != lost]
    assert client.get_run(run_id).data.tags[ATTEMPT] == won


def test_a_heartbeat_notices_that_another_process_has_the_run(client, monkeypatch):
    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.05)
    lost = threading.Event()
    run_id = started(client, time=0)
    own = client.get_run(run_id).data.tags[ATTEMPT]
    heartbeat = Heartbeat(mlflow.get_tracking_uri(), run_id, own, lost.set)
    heartbeat.start()
    until = time.monotonic() + 30
    while json.loads(client.get_run(run_id).data.tags[HEARTBEAT])["time"] == 0 and time.monotonic() < until:
        time.sleep(0.02)
    assert json.loads(client.get_run(run_id).data.tags[HEARTBEAT])["time"] > 0
    assert not lost.is_set()
    client.set_tag(run_id, ATTEMPT, new_attempt(2))
    assert lost.wait(30)
    heartbeat.join(30)
    assert not heartbeat.is_alive()
