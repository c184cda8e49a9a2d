"""Which runs count as dead, and which process of several carries on with one."""

import json
import os
import platform
import threading
import time

import mlflow
import psutil
import pytest
from mlflow.exceptions import MlflowException

from fer.errors import FerError, ModelError
from fer.tracking import heartbeat, liveness
from fer.tracking.endings import write_end
from fer.tracking.heartbeat import Heartbeat, beat
from fer.tracking.leftovers import close_dead_runs
from fer.tracking.liveness import attempt_number, claim, end_with, is_dead, is_going_on, new_attempt
from fer.tracking.names import ATTEMPT, ERROR, HEARTBEAT
from tests.tracking.made import dead_process

LONG_AGO = 2 * 86_400.0


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


def test_a_run_that_could_not_beat_while_the_server_was_away_is_not_dead(client):
    assert not is_dead(client.get_run(started(client, host="other", time=time.time() - 3600)))


def test_only_a_run_with_a_heartbeat_goes_on_whatever_its_status_says(client):
    called_dead, ended = started(client), started(client)
    client.set_terminated(called_dead, "KILLED")
    client.delete_tag(ended, HEARTBEAT)
    assert is_going_on(client, client.get_run(called_dead))
    assert not is_going_on(client, client.get_run(ended))


@pytest.mark.parametrize(
    "value", ["", "now", "[]", '{"host": "a"}', '{"host": 1, "boot": "x", "process": [], "started": null, "time": "x"}']
)
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


def test_the_run_around_a_dead_one_is_ended_with_it_if_one_process_carried_both(client):
    gone = dead_process()
    stage = client.get_run(started(client, host="other", **gone))
    around, alone = started(client, host="other", **gone), started(client, host="other")
    finished = started(client, host="other", **gone)
    client.set_terminated(finished, "FINISHED")
    for run_id in (around, alone, finished):
        end_with(client, client.get_run(run_id), dead=stage)
    assert [client.get_run(run_id).info.status for run_id in (around, alone, finished)] == [
        "KILLED", "RUNNING", "FINISHED",
    ]  # fmt: skip


def test_a_process_of_a_container_counts_as_another_machines(client):
    # Its numbers are others, so that nothing here says whether it lives.
    inside = started(client, namespace="pid:[1]", **dead_process())
    assert not is_dead(client.get_run(inside))


@pytest.mark.parametrize(("here", "dead"), [("pid:[2]", False), ("", True)])
def test_a_heartbeat_without_a_numbering_of_processes_is_of_a_system_that_has_one_only(client, monkeypatch, here, dead):
    value = json.loads(beat()) | dead_process()
    del value["namespace"]
    run = client.create_run("0", tags={HEARTBEAT: json.dumps(value)})
    monkeypatch.setattr(liveness, "namespace", lambda: here)
    assert is_dead(client.get_run(run.info.run_id)) == dead


def test_a_process_of_which_nothing_may_be_seen_is_alive(client, monkeypatch):
    run_id = started(client)

    def hidden(number: int) -> None:
        raise psutil.AccessDenied(number)

    monkeypatch.setattr(liveness.psutil, "Process", hidden)
    assert not is_dead(client.get_run(run_id))


@pytest.mark.skipif(os.name != "posix", reason="other systems hide no processes")
@pytest.mark.parametrize(("answer", "dead"), [(PermissionError, False), (ProcessLookupError, True)])
def test_a_process_that_is_hidden_from_this_user_is_alive(client, monkeypatch, answer, dead):
    run = client.get_run(started(client))

    def unseen(number: int) -> None:
        raise psutil.NoSuchProcess(number)

    def signalled(number: int, signum: int) -> None:
        assert signum == 0
        raise answer

    monkeypatch.setattr(liveness.psutil, "Process", unseen)
    monkeypatch.setattr(liveness.os, "kill", signalled)
    assert is_dead(run) == dead


def test_runs_of_other_machines_are_watched_together_before_they_are_closed(client, monkeypatch, capsys):
    monkeypatch.setattr(liveness, "WATCHED_SECONDS", 3.0)
    silent, beating = started(client, host="other"), started(client, host="other")
    going_on = threading.Event()

    def keep_beating() -> None:
        while not going_on.wait(0.3):
            value = json.loads(beat()) | {"host": "other", "time": time.time()}
            client.set_tag(beating, HEARTBEAT, json.dumps(value))

    thread = threading.Thread(target=keep_beating)
    thread.start()
    began = time.monotonic()
    try:
        assert close_dead_runs(mlflow.get_tracking_uri(), print) == 1
    finally:
        going_on.set()
        thread.join()
    assert time.monotonic() - began < 5
    assert [client.get_run(run_id).info.status for run_id in (silent, beating)] == ["KILLED", "RUNNING"]
    assert capsys.readouterr().out.count("watching for 3 s") == 1


def finish_soon(client: mlflow.MlflowClient, run_id: str) -> threading.Timer:
    """Have a run finish a moment from now."""
    end = {"status": "FINISHED", "reason": "", "time": None, "unless_begun": False}
    timer = threading.Timer(1.0, lambda: write_end(client, run_id, end))
    timer.start()
    return timer


def test_a_run_that_ends_while_it_is_watched_is_not_closed(client, monkeypatch):
    monkeypatch.setattr(liveness, "WATCHED_SECONDS", 3.0)
    run_id = started(client, host="other")
    ending = finish_soon(client, run_id)
    assert close_dead_runs(mlflow.get_tracking_uri(), print) == 0
    ending.join()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert ERROR not in run.data.tags


def test_a_run_that_finishes_while_it_is_watched_is_not_taken_over(client, monkeypatch):
    monkeypatch.setattr(liveness, "WATCHED_SECONDS", 3.0)
    run_id = started(client, host="other")
    read, ending = client.get_run(run_id), finish_soon(client, run_id)
    with pytest.raises(ModelError, match=f"run {run_id} has finished: there is nothing to continue"):
        claim(client, read, new_attempt(2))
    ending.join()
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_store_that_goes_away_while_runs_are_watched_is_one_sentence(client, monkeypatch):
    started(client, host="other")

    def gone(*words: object) -> None:
        raise MlflowException("connection refused")

    monkeypatch.setattr(mlflow.MlflowClient, "get_run", gone)
    with pytest.raises(FerError, match=r"the MLflow store .* does not take the run: connection refused"):
        close_dead_runs(mlflow.get_tracking_uri(), print)


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


def test_the_heartbeat_of_who_has_won_stands_after_a_claim(client, monkeypatch):
    loser = dead_process()
    run_id = started(client, **loser)
    update = client.update_run

    def late(run_id: str, status: str) -> None:
        update(run_id, status=status)
        client.set_tag(run_id, HEARTBEAT, json.dumps(json.loads(beat()) | loser))

    monkeypatch.setattr(client, "update_run", late)
    monkeypatch.setattr(liveness, "SETTLE_SECONDS", 0.0)
    claim(client, client.get_run(run_id), new_attempt(2))
    assert not is_dead(client.get_run(run_id))


def test_an_odd_fault_does_not_end_a_heartbeat(client, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    run_id = started(client, time=0)
    own = client.get_run(run_id).data.tags[ATTEMPT]
    beating = Heartbeat(mlflow.get_tracking_uri(), run_id, own, lambda: None)
    read, faults = beating._read, [ValueError("odd"), KeyError("odd")]

    def faulty() -> object:
        if faults:
            raise faults.pop()
        return read()

    monkeypatch.setattr(beating, "_read", faulty)
    beating.start()
    until = time.monotonic() + 30
    while json.loads(client.get_run(run_id).data.tags[HEARTBEAT])["time"] == 0 and time.monotonic() < until:
        time.sleep(0.02)
    beating.stop()
    beating.join()
    assert json.loads(client.get_run(run_id).data.tags[HEARTBEAT])["time"] > 0


def test_a_heartbeat_notices_that_another_process_has_the_run(client, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    lost = threading.Event()
    run_id = started(client, time=0)
    own = client.get_run(run_id).data.tags[ATTEMPT]
    beating = Heartbeat(mlflow.get_tracking_uri(), run_id, own, lost.set)
    beating.start()
    until = time.monotonic() + 30
    while json.loads(client.get_run(run_id).data.tags[HEARTBEAT])["time"] == 0 and time.monotonic() < until:
        time.sleep(0.02)
    assert json.loads(client.get_run(run_id).data.tags[HEARTBEAT])["time"] > 0
    assert not lost.is_set()
    client.set_tag(run_id, ATTEMPT, new_attempt(2))
    assert lost.wait(30)
    beating.join(30)
    assert not beating.is_alive()


def test_a_run_that_was_taken_for_dead_and_is_not_is_running_again(client, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    run_id = started(client)
    client.set_terminated(run_id, "KILLED")
    own = client.get_run(run_id).data.tags[ATTEMPT]
    beating = Heartbeat(mlflow.get_tracking_uri(), run_id, own, lambda: None)
    beating.start()
    until = time.monotonic() + 30
    while client.get_run(run_id).info.status != "RUNNING" and time.monotonic() < until:
        time.sleep(0.02)
    beating.stop()
    beating.join()
    assert client.get_run(run_id).info.status == "RUNNING"


def test_after_a_pause_the_store_is_asked_whose_the_run_is(client, monkeypatch):
    lost = threading.Event()
    run_id = started(client)
    own = client.get_run(run_id).data.tags[ATTEMPT]
    beating = Heartbeat(mlflow.get_tracking_uri(), run_id, own, lost.set)
    client.set_tag(run_id, ATTEMPT, new_attempt(2))
    assert beating.is_ours(), "a moment ago it was"
    monkeypatch.setattr(beating, "_seen", time.time() - 60)
    assert not beating.is_ours()
    assert lost.is_set()
