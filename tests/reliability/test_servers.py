"""Trainings whose tracking server goes away, refuses or loses what passes between them."""

import random
import re
import signal
import time

import pytest

from tests.reliability.chaos import FINETUNE, Place
from tests.reliability.programs import Program
from tests.reliability.records import differing, runs_of
from tests.tracking.servers import DROP, LOSE, PASS, proxy, refusing

pytestmark = pytest.mark.project

SOON = ("--tracking_patience", "0.05")
"""Three seconds, for servers that do not come back."""
AT_ONCE = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
"""Where every second request is lost, MLflow's pauses of many seconds between attempts would take minutes."""
SIGNAL_SECONDS = 5.0
"""After so long a signal has ended a command, whatever its server does; saving a checkpoint comes on top."""


def has_trained(program: Program, epoch: int) -> bool:
    """Wait until so many epochs are done, and return whether it still runs."""
    return program.wait_for(lambda: re.search(rf"epoch {epoch}/", program.output))


def nothing_is_left(place: Place) -> bool:
    return not list((place.folder / "outputs").rglob("*"))


def test_a_server_killed_in_mid_epoch_and_started_again_has_the_whole_record(place, server, expected):
    program = place.start(FINETUNE)
    assert has_trained(program, 1)
    server.kill()
    assert has_trained(program, 2)
    server.start()
    program.wait()
    assert differing(place.record("finetune"), expected) == {}
    assert nothing_is_left(place)


def test_what_a_server_that_is_gone_for_good_has_missed_is_delivered_by_sync_exactly_once(place, server, expected):
    program = place.start([*FINETUNE, *SOON])
    assert has_trained(program, 1)
    server.kill()
    assert has_trained(program, 3)
    began = time.monotonic()
    output = program.wait(code=2)
    spool = re.search(r"wait in (\S+): `fer sync` delivers them", output.splitlines()[-1])
    assert spool is not None, output
    assert output.splitlines()[-1].startswith("fer: run ")
    assert "Traceback" not in output
    print(f"ended {time.monotonic() - began:.1f} s after the last epoch")
    server.start()
    place.run(["sync"])
    assert differing(place.record("finetune"), expected) == {}
    assert nothing_is_left(place)
    assert "nothing waits" in place.run(["sync"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "refusing"])
def test_a_signal_ends_a_training_whose_server_is_away(place, server, number, frozen):
    program = place.start(FINETUNE)
    assert has_trained(program, 1)
    if frozen:
        server.freeze()
    else:
        server.kill()
    assert has_trained(program, 2)
    program.signal(number)
    began = time.monotonic()
    output = program.wait(code=128 + number)
    seconds = time.monotonic() - began
    print(f"signal {number}, {'frozen' if frozen else 'refusing'}: {seconds:.1f} s")
    assert seconds < SIGNAL_SECONDS, output
    assert "Traceback" not in output
    (checkpoint,) = place.folder.glob("outputs/*/last.ckpt")
    if frozen:
        server.thaw()
    else:
        server.start()
    place.run(["sync"])
    (run,) = runs_of(place.client)
    assert run.info.status == "KILLED"
    assert run.data.tags["fer.error"] == f"stopped by signal {number:d}"
    assert checkpoint.is_file()


@pytest.mark.parametrize("status", [403, 500])
def test_artifacts_that_are_refused_for_a_while_arrive(place, server, expected, status):
    with refusing(server.address, "/mlflow-artifacts/artifacts/", status) as (address, allowed):
        program = place.start(FINETUNE, MLFLOW_TRACKING_URI=address)
        if status == 403:
            output = program.wait(code=2)
            assert "ask its owner for the right to" in output.splitlines()[-1]
            assert not runs_of(place.client)
            assert nothing_is_left(place)
            return
        assert has_trained(program, 2)
        allowed.set()
        program.wait()
    assert differing(place.record("finetune"), expected) == {}
    assert nothing_is_left(place)


@pytest.mark.parametrize("status", [403, 500])
def test_artifacts_that_are_refused_at_the_end_are_delivered_by_sync(place, server, expected, status):
    with refusing(server.address, "/mlflow-artifacts/artifacts/", status) as (address, allowed):
        allowed.set()
        program = place.start([*FINETUNE, *SOON], MLFLOW_TRACKING_URI=address)
        assert has_trained(program, 1)
        allowed.clear()
        output = program.wait(code=2)
        assert "`fer sync` delivers" in output.splitlines()[-1]
    place.run(["sync"])
    assert differing(place.record("finetune"), expected) == {}
    assert nothing_is_left(place)


def test_requests_and_answers_that_are_lost_leave_nothing_out_and_nothing_twice(place, server, expected):
    rng = random.Random(3)
    counts = {PASS: 0, DROP: 0, LOSE: 0}

    def treat(method: str, path: str) -> int:
        chosen = rng.choices((PASS, DROP, LOSE), (0.55, 0.30, 0.15))[0]
        counts[chosen] += 1
        return chosen

    with proxy(server.address, treat) as address:
        place.start(FINETUNE, MLFLOW_TRACKING_URI=address, **AT_ONCE).wait()
    print(counts)
    assert differing(place.record("finetune"), expected) == {}
    assert nothing_is_left(place)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "refusing"])
def test_a_server_absent_at_the_start_is_one_sentence_at_once(place, server, frozen):
    if frozen:
        server.freeze()
    else:
        server.kill()
    began = time.monotonic()
    output = place.start(FINETUNE).wait(code=2)
    seconds = time.monotonic() - began
    (sentence,) = output.strip().splitlines()
    assert sentence.startswith(f"fer: the MLflow store {server.address} does not answer ("), output
    assert seconds < 15
    assert not list(place.folder.glob("outputs*"))
