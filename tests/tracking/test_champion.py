"""Who is champion when several machines, processes or threads register at once."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from fer.errors import RegistrationError
from fer.tracking import asking, champion, registry, store
from fer.tracking.registry import Registration, register
from tests.paths import ROOT
from tests.tracking.servers import tracking_server

TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}
SCORES = (0.3, 0.8, 0.5, 0.7, 0.4, 0.6)


def together(calls: Sequence[Callable[[], Registration]]) -> list[Registration]:
    """Make calls at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], Registration]) -> Registration:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def registering(name: str, model_id: str, scores: Sequence[float]) -> list[Callable[[], Registration]]:
    return [lambda score=score: register(name, model_id, score, TAGS, promote=False) for score in scores]


def champion_score(name: str) -> float:
    return float(mlflow.MlflowClient().get_model_version_by_alias(name, "champion").tags["score"])


def test_of_many_registered_at_once_the_best_is_champion(logged):
    for number in range(3):
        name = f"fer-{number}"
        made = together(registering(name, logged[1], SCORES))
        assert sorted(int(one.version) for one in made) == [1, 2, 3, 4, 5, 6]
        assert champion_score(name) == 0.8, [one.message for one in made]


@pytest.fixture
def no_lock(monkeypatch):
    """Machines of their own: no lock file is seen by the other."""
    monkeypatch.setattr(store, "locked", lambda *words: contextlib.nullcontext())
    # Nor does one wait until the other has set how it asks.
    monkeypatch.setattr(asking, "sent_once", contextlib.nullcontext)


def test_a_worse_version_that_sets_the_alias_last_gives_way(logged, no_lock, monkeypatch):
    register("fer", logged[1], 0.1, TAGS, promote=False)
    both_decided, better_done = threading.Barrier(2), threading.Event()
    setting = mlflow.MlflowClient.set_registered_model_alias
    first = threading.local()

    def slow(client, name, alias, version):
        if not hasattr(first, "done"):
            first.done = True
            both_decided.wait(30)
            if client.get_model_version(name, version).tags["score"] == "0.500000":
                better_done.wait(30)
        setting(client, name, alias, version)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", slow)

    def better() -> Registration:
        made = register("fer", logged[1], 0.9, TAGS, promote=False)
        better_done.set()
        return made

    together([better, lambda: register("fer", logged[1], 0.5, TAGS, promote=False)])
    assert champion_score("fer") == 0.9


def test_a_champion_crowned_by_hand_stands_until_it_is_beaten(logged):
    client = mlflow.MlflowClient()
    for score in (0.9, 0.2):
        register("fer", logged[1], score, TAGS, promote=False)
    client.set_registered_model_alias("fer", "champion", "2")
    assert "stays" in register("fer", logged[1], 0.1, TAGS, promote=False).message
    assert champion_score("fer") == 0.2
    register("fer", logged[1], 0.3, TAGS, promote=False)
    assert champion_score("fer") == 0.3, "the best of all was passed over by hand"
    client.delete_registered_model_alias("fer", "champion")
    assert "first" in register("fer", logged[1], 0.1, TAGS, promote=False).message


def test_a_version_registered_by_hand_is_no_candidate_but_may_be_crowned_by_hand(logged):
    register("fer", logged[1], 0.5, TAGS, promote=False)
    mlflow.register_model(f"models:/{logged[1]}", "fer")
    register("fer", logged[1], 0.4, TAGS, promote=False)
    assert champion_score("fer") == 0.5
    mlflow.MlflowClient().set_registered_model_alias("fer", "champion", "2")
    assert "cannot be compared" in register("fer", logged[1], 0.9, TAGS, promote=False).message
    assert "promote" in register("fer", logged[1], 0.1, TAGS, promote=True).message


def test_a_number_beats_a_champion_without_one(logged):
    register("fer", logged[1], float("nan"), TAGS, promote=False)
    register("fer", logged[1], 0.1, TAGS, promote=False)
    assert champion_score("fer") == 0.1


def test_an_attempt_that_was_cut_off_is_completed_by_the_next(logged, monkeypatch):
    def failing(*words: object) -> None:
        raise MlflowException("the server went away")

    with monkeypatch.context() as patch, pytest.raises(RegistrationError, match="the server went away"):
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", failing)
        register("fer", logged[1], 0.5, TAGS, promote=False)
    made = register("fer", logged[1], 0.5, TAGS, promote=False)
    assert (made.version, made.message) == ("1", "version 1 is the champion: the first of fer")


def test_a_collision_in_the_database_is_tried_again(logged, monkeypatch):
    refusals = iter(["(sqlite3.IntegrityError) UNIQUE constraint failed", "database is locked"])
    setting = mlflow.MlflowClient.set_registered_model_alias

    def colliding(*words: object) -> None:
        if reason := next(refusals, ""):
            raise MlflowException(reason)
        setting(*words)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", colliding)
    monkeypatch.setattr(registry, "WAITS", (0, 0))
    assert "first" in register("fer", logged[1], 0.5, TAGS, promote=False).message


CLIENT = """
import json, sys, threading
import mlflow
from fer.tracking import store
from fer.tracking.registry import register
store.connect()
model_id, scores = sys.argv[1], json.loads(sys.argv[2])
tags = {"validation_digest": "v1", "protocol": "p"}
print("ready", flush=True)
sys.stdin.readline()
for name, score in scores:
    register(name, model_id, score, tags, False)
"""


@pytest.mark.project
def test_two_machines_and_one_server_agree_on_the_best(stored, tmp_path):
    folder, _, model_id = stored
    shutil.copy(folder / "mlflow.db", tmp_path)
    with tracking_server(tmp_path) as address:
        machines = []
        for number, offset in enumerate((0.0, 0.05)):
            (tmp_path / str(number)).mkdir()
            # Lock files lie in the folder of temporary files, and each machine has its own.
            own = {"MLFLOW_TRACKING_URI": address, "TMPDIR": str(tmp_path / str(number)), "PYTHONPATH": str(ROOT)}
            scores = [("fer", score + offset) for score in (0.3, 0.8, 0.5)]
            machines.append(
                subprocess.Popen(
                    [sys.executable, "-c", CLIENT, model_id, json.dumps(scores)],
                    env={**os.environ, **own},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for machine in machines:
            assert machine.stdout is not None
            assert machine.stdout.readline() == "ready\n"
        for machine in machines:
            assert machine.stdin is not None
            machine.stdin.write("go\n")
            machine.stdin.flush()
        assert [machine.wait(timeout=120) for machine in machines] == [0, 0]
        client = mlflow.MlflowClient(address, registry_uri=address)
        assert len(client.search_model_versions("name='fer'")) == 6
        assert client.get_model_version_by_alias("fer", "champion").tags["score"] == "0.850000"


@dataclass
class Schedule:
    """Lets one of several threads go on at a time, in an order drawn at random."""

    seed: int
    own: threading.local = field(default_factory=threading.local)
    waiting: dict[int, threading.Event] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def step(self) -> None:
        go_on = threading.Event()
        with self.changed:
            self.waiting[self.own.number] = go_on
            self.changed.notify()
        assert go_on.wait(30)

    def run(self, calls: Sequence[Callable[[], object]]) -> None:
        chance, alive, failures = random.Random(self.seed), set(range(len(calls))), []
        pace = [chance.expovariate(1) for _ in calls]

        def one(number: int) -> None:
            self.own.number = number
            try:
                self.step()
                calls[number]()
            except BaseException as error:
                failures.append(error)
            with self.changed:
                alive.discard(number)
                self.changed.notify()

        threads = [threading.Thread(target=one, args=(number,)) for number in alive]
        for thread in threads:
            thread.start()
        while True:
            with self.changed:
                assert self.changed.wait_for(lambda: set(self.waiting) == alive, 30)
                if not alive:
                    break
                if chance.random() < 0.2:  # a machine may stand still for a while
                    pace = [chance.expovariate(1) ** 3 for _ in calls]
                ready = sorted(alive)
                chosen = chance.choices(ready, [pace[number] + 1e-9 for number in ready])[0]
                self.waiting.pop(chosen).set()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class Registry:
    """A model registry in memory whose every call is one step of a schedule."""

    def __init__(self) -> None:
        self.versions: list[SimpleNamespace] = []
        self.alias = 0
        self.schedule: Schedule | None = None

    def step(self) -> None:
        if self.schedule:
            self.schedule.step()

    def register_model(self, source: str, name: str, tags: Mapping[str, str]) -> SimpleNamespace:
        self.step()
        made = len(self.versions) + 1
        self.versions.append(
            SimpleNamespace(name=name, version=str(made), source=source, tags=dict(tags), creation_timestamp=made)
        )
        return self.versions[-1]

    def search_model_versions(self, filter_string: str) -> list[SimpleNamespace]:
        self.step()
        return [SimpleNamespace(**{**vars(version), "tags": dict(version.tags)}) for version in self.versions]

    def get_model_version(self, name: str, version: str) -> SimpleNamespace:
        self.step()
        return self.versions[int(version) - 1]

    def get_model_version_by_alias(self, name: str, alias: str) -> SimpleNamespace:
        self.step()
        if not self.alias:
            raise MlflowException("there is none", error_code=1000)
        return self.versions[self.alias - 1]

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.step()
        self.alias = int(version)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.step()
        self.versions[int(version) - 1].tags[key] = value


@pytest.fixture
def memory(monkeypatch, no_lock) -> Iterator[Registry]:
    made = Registry()
    fake = SimpleNamespace(
        MlflowClient=lambda: made, register_model=made.register_model, search_model_versions=made.search_model_versions,
        get_tracking_uri=lambda: "memory",
    )  # fmt: skip
    monkeypatch.setattr(registry, "mlflow", fake)
    monkeypatch.setattr(champion, "mlflow", fake)
    return made


@pytest.mark.parametrize("block", range(4))
def test_machines_in_any_order_end_with_the_champion_of_one_after_the_other(memory, block):
    """The order that counts is that of the versions' numbers."""
    for seed in range(100 * block, 100 * block + 100):
        memory.versions, memory.alias, memory.schedule = [], 0, None
        for score in (0.9, 0.2):
            register("fer", f"m-{score}", score, TAGS, promote=False)
        memory.alias = 2  # by hand
        memory.schedule, chance = Schedule(seed), random.Random(seed)

        calls = [
            partial(
                register,
                name="fer",
                model_id=f"m-{number}",
                score=chance.random(),
                tags={**TAGS, "validation_digest": chance.choice(("v1", "v1", "v1", "v2"))},
                promote=chance.random() < 0.1,
            )
            for number in range(4)
        ]
        memory.schedule.run(calls)
        expected = memory.versions[1]
        for version in memory.versions[2:]:
            alike = version.tags["validation_digest"] == expected.tags["validation_digest"]
            if "promoted" in version.tags or (alike and version.tags["score"] > expected.tags["score"]):
                expected = version
        assert memory.alias == int(expected.version), f"seed {seed}"
