"""Several processes that want the same run, the same store or the same data at the same moment."""

import contextlib
import signal
import sqlite3

import pytest

from tests.reliability.chaos import FINETUNE
from tests.reliability.records import differing, runs_of

pytestmark = pytest.mark.project


@pytest.mark.parametrize("nodes", [("", ""), ("one", "other")], ids=["one machine", "two machines"])
def test_of_two_that_resume_a_run_at_once_one_wins_and_one_is_refused(make_place, expected, nodes):
    place = make_place()
    program = place.start(FINETUNE, node=nodes[0])
    assert program.wait_for(lambda: "epoch 1/" in program.output)
    program.kill()
    (run,) = runs_of(place.client)
    both = []
    for number, node in enumerate(nodes):
        words = ["finetune", "--resume", run.info.run_id]
        # Two machines share no folder.
        words += ["--output", str(place.folder / node / "outputs")] if node else []
        both.append(place.start(words, node=node, log=f"resumed-{number}.log"))
    outputs = [program.wait(code=None) for program in both]
    codes = [program.code for program in both]
    assert sorted(codes) == [0, 2], outputs
    (sentence,) = outputs[codes.index(2)].strip().splitlines()[-1:]
    assert sentence.startswith("fer: "), sentence
    assert any(words in sentence for words in ("still going on", "being resumed", "still running")), sentence
    assert "Traceback" not in "".join(outputs)
    assert differing(place.record("finetune"), expected) == {}
    for folder in place.folder.glob("**/outputs"):
        place.run(["sync", "--output", str(folder)])
        assert not list(folder.rglob("*"))


def all_succeed(make_place, raw_copy, commands):
    place = make_place(store=False)
    place.environment["FER_DATA"] = str(raw_copy)
    programs = []
    for number in range(commands):
        words = [*FINETUNE, "--seed", str(number), "--output", f"outputs-{number}"]
        programs.append(place.start(words, log=f"{number}.log"))
    for program in programs:
        program.wait()
    client = place.client
    runs = runs_of(client)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs_of(client, "finetune")) == commands
    seeds = {run.data.params["seed"] for run in runs_of(client, "finetune")}
    assert seeds == {str(number) for number in range(commands)}
    digests = {run.data.tags["raf.digest"] for run in runs}
    assert len(digests) == 1
    # Whoever came later found the set prepared, and none prepared it anew.
    counted = [run for run in runs_of(client, "prepare") if "raf/images" in run.data.metrics]
    assert {run.data.metrics["raf/images"] for run in counted} == {140.0}
    versions = client.search_model_versions("name = 'fer-chaos'")
    assert len(versions) == commands
    with contextlib.closing(sqlite3.connect(place.folder / "mlflow.db")) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert database.execute("select count(*) from experiments").fetchone() == (1,)
    assert not list(place.folder.glob("outputs*/*"))


def test_commands_that_begin_at_once_on_a_fresh_store_and_unprepared_data_all_succeed(make_place, raw):
    all_succeed(make_place, raw, commands=4)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_eight_commands_that_begin_at_once_on_a_fresh_store_all_succeed(make_place, raw, number):
    all_succeed(make_place, raw, commands=8)


@pytest.mark.slow
def test_a_process_that_stood_still_while_another_took_its_run_writes_nothing_more(make_place, expected):
    place = make_place()
    program = place.start(FINETUNE, node="one")
    # Not while it is sending: what was on its way would arrive.
    assert program.wait_for(lambda: any("train/loss" in run.data.metrics for run in runs_of(place.client)))
    program.signal(signal.SIGSTOP)
    (run,) = runs_of(place.client)
    place.start(["finetune", "--resume", run.info.run_id, "--output", "elsewhere"], node="other", log="other").wait()
    program.signal(signal.SIGCONT)
    output = program.wait(code=2)
    assert f"run {run.info.run_id} was resumed by another process, so this one has stopped" in output
    assert "Traceback" not in output
    assert differing(place.record("finetune"), expected) == {}
    for folder in ("outputs", "elsewhere"):
        place.run(["sync", "--output", folder])
    assert differing(place.record("finetune"), expected) == {}
