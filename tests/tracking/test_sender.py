"""What a spool holds is sent in order, as soon as the store takes it, whatever else it refuses."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from fer.tracking import sender as senders
from fer.tracking.delivery import NotYet
from fer.tracking.journal import Entry
from fer.tracking.sender import Sender
from fer.tracking.spool import Spool

SOON = 20.0
"""Seconds in which everything here must have happened, on the slowest machine."""


class Store:
    """Takes entries unless their kind is away or refused, and remembers their names in order."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.away: set[str] = set()
        self.refused: set[str] = set()
        self.needs_model: set[str] = set()
        self.asked: list[str] = []

    def __call__(self, entry: Entry) -> Any:
        name = entry.content["name"]
        self.asked.append(name)
        if entry.kind in self.away:
            raise MlflowException("connection refused")
        if entry.kind in self.refused:
            raise MlflowException("not yours", error_code=PERMISSION_DENIED)
        if name in self.needs_model and "model" not in self.taken:
            raise NotYet("it waits for the model")
        self.taken.append(name)
        return f"result of {name}"


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def sender(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """A sender that tries again every few hundredths of a second."""
    monkeypatch.setattr(senders, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(senders, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(senders, "POLL", 0.01)
    sender = Sender(Spool(tmp_path / "spool"), "http://user:secret@server", store)
    yield sender
    sender.stop()
    sender.spool.close()


def put(sender: Sender, *names: str) -> None:
    """Record an entry for each name, whose first word is its kind."""
    for name in names:
        sender.spool.append(name.split()[0], name=name)
    sender.notify()


def await_that(what: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_all_is_sent_in_order_and_its_results_are_known(sender, store):
    names = ["begin", "tags a", "file a", "metrics a", "file b", "metrics b", "end"]
    put(sender, *names[:4])
    sender.start()
    put(sender, *names[4:])
    assert sender.wait(SOON)
    assert store.taken == names
    assert sender.results == {number: f"result of {name}" for number, name in enumerate(names)}
    assert (sender.spool.pending(), sender.refused, sender.fault) == ([], {}, None)


def test_a_store_that_goes_and_comes_back_has_each_entry_once_and_in_order(sender, store, capfd):
    sender.start()
    put(sender, "metrics 1")
    assert sender.wait(SOON)
    store.away = {"metrics", "tags", "file", "end"}
    put(sender, "metrics 2", "file 1", "tags 1")
    await_that(lambda: sender.fault is not None)
    put(sender, "metrics 3", "file 2", "end")
    time.sleep(0.2)
    assert store.taken == ["metrics 1"]
    # Where the server itself is away, nothing more is asked of it.
    assert "file 1" not in store.asked
    store.away = set()
    assert sender.wait(SOON)
    assert store.taken == ["metrics 1", "metrics 2", "file 1", "tags 1", "metrics 3", "file 2", "end"]
    gone, back = capfd.readouterr().err.splitlines()
    assert "connection refused" in gone and str(sender.spool.folder) in gone and "secret" not in gone
    assert "answers again" in back


def test_artifacts_that_are_not_taken_hold_up_no_figures_and_keep_their_order(sender, store):
    store.away = {"file"}
    put(sender, "file 1", "metrics 1", "file 2", "tags 1", "model")
    sender.start()
    await_that(lambda: store.taken == ["metrics 1", "tags 1"])
    put(sender, "metrics 2", "file 3")
    await_that(lambda: "metrics 2" in store.taken)
    assert "file 2" not in store.asked and "model" not in store.asked
    store.away = set()
    assert sender.wait(SOON)
    assert store.taken == ["metrics 1", "tags 1", "metrics 2", "file 1", "file 2", "model", "file 3"]


def test_what_is_refused_for_good_holds_up_nothing_and_stays(sender, store):
    store.refused = {"input", "model"}
    put(sender, "input", "metrics 1", "model", "file 1", "end")
    sender.start()
    assert sender.wait(SOON)
    assert store.taken == ["metrics 1", "file 1", "end"]
    assert [entry.content["name"] for entry in sender.spool.pending()] == ["input", "model"]
    assert all("not yours" in fault.sentence for fault in sender.refused.values())
    assert store.asked.count("input") == 1


@pytest.mark.parametrize("away", ["metrics", "file"])
def test_the_end_waits_for_all(sender, store, away):
    store.away = {away}
    put(sender, "metrics 1", "file 1", "end")
    sender.start()
    assert not sender.wait(0.3)
    assert "end" not in store.asked
    store.away = set()
    assert sender.wait(SOON)
    assert store.taken[-1] == "end"


def test_a_text_that_names_the_model_waits_for_it_and_holds_up_no_figures(sender, store):
    store.away, store.needs_model = {"model"}, {"describe"}
    put(sender, "model", "describe", "metrics 1", "end")
    sender.start()
    await_that(lambda: "metrics 1" in store.taken)
    assert not sender.wait(0.2)
    assert sender.refused == {}
    store.away = set()
    assert sender.wait(SOON)
    assert store.taken == ["metrics 1", "model", "describe", "end"]


def test_a_text_that_names_a_model_which_will_never_come_is_not_waited_for(sender, store):
    store.refused, store.needs_model = {"model"}, {"describe"}
    put(sender, "model", "describe", "end")
    sender.start()
    assert sender.wait(SOON)
    assert store.taken == ["end"]
    assert sorted(sender.refused) == [0, 1]


def test_the_end_of_a_run_whose_artifacts_are_not_taken_can_be_sent_without_them(sender, store):
    store.away, store.needs_model = {"file", "model"}, {"describe"}
    put(sender, "file 1", "model", "describe", "metrics 1", "end")
    sender.start()
    assert not sender.wait(0.2)
    sender.set_artifacts_aside()
    assert sender.wait(SOON)
    assert store.taken == ["metrics 1", "end"]
    assert [entry.content["name"] for entry in sender.spool.pending()] == ["file 1", "model", "describe"]
    assert all("secret" not in fault.sentence for fault in sender.refused.values())


def test_patience_is_with_a_store_that_takes_nothing_and_not_with_a_slow_one(sender, store):
    slow = store.__call__

    def slowly(entry: Entry) -> Any:
        time.sleep(0.1)
        return slow(entry)

    sender._deliver = slowly
    put(sender, *(f"metrics {number}" for number in range(12)))
    sender.start()
    assert sender.wait(0.6)
    store.away = {"metrics"}
    put(sender, "metrics more")
    began = time.monotonic()
    assert not sender.wait(0.3)
    assert time.monotonic() - began < SOON


def test_a_store_that_never_answers_cannot_hold_it_back(sender):
    answers = threading.Event()
    sender._deliver = lambda entry: answers.wait(SOON)
    put(sender, "metrics 1")
    sender.start()
    assert not sender.wait(0.1)
    began = time.monotonic()
    sender.stop()
    assert time.monotonic() - began < 5
    answers.set()
    sender.join(SOON)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to try")
def test_a_disk_that_takes_no_note_of_deliveries_ends_no_sending(tmp_path, store):
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "delivered").symlink_to("/dev/full")
    sender = Sender(Spool(folder), "http://server", store)
    put(sender, "metrics 1", "metrics 2")
    sender.start()
    assert sender.wait(SOON)
    assert store.taken == ["metrics 1", "metrics 2"]
    sender.stop()
    sender.spool.close()


def test_what_was_set_aside_while_it_was_on_its_way_and_arrives_is_not_refused(sender, store, monkeypatch):
    on_its_way, go_on = threading.Event(), threading.Event()

    def deliver(entry: Entry) -> Any:
        if entry.kind == "file":
            on_its_way.set()
            assert go_on.wait(SOON)
        return store(entry)

    monkeypatch.setattr(sender, "_deliver", deliver)
    put(sender, "file 1")
    sender.start()
    assert on_its_way.wait(SOON)
    assert not sender.wait(0.2)
    sender.set_artifacts_aside()
    assert list(sender.refused) == [0]
    go_on.set()
    await_that(lambda: not sender.spool.pending())
    assert sender.refused == {}


def test_a_file_on_its_way_has_the_time_that_a_slow_line_takes(sender, store, monkeypatch):
    monkeypatch.setattr(senders, "SLOWEST_UPLOAD", 1000.0)

    def deliver(entry: Entry) -> Any:
        time.sleep(1.0)
        return store(entry)

    monkeypatch.setattr(sender, "_deliver", deliver)
    sender.start()
    for uploads in (False, True):
        kept = sender.spool.keep_content(b"x" * 10_000, "a.bin")
        sender.spool.append("file", name="file", kept=[kept])
        sender.notify()
        assert sender.wait(0.3, uploads=uploads) is uploads
        assert sender.wait(SOON)
