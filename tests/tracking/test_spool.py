"""What a run has recorded stays on the disk, whatever happens to its process."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fer.errors import DataError, FerError
from fer.tracking import spool as spools
from fer.tracking.journal import JOURNAL
from fer.tracking.spool import Spool
from tests.paths import ROOT


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "run" / "spool"


def reopened(spool: Spool) -> Spool:
    spool.close()
    return Spool(spool.folder)


def kinds(spool: Spool) -> list[str]:
    return [entry.kind for entry in spool.pending()]


def test_what_was_recorded_is_there_in_its_order_when_it_is_opened_again(folder):
    spool = Spool(folder)
    for number in range(5):
        assert spool.append("tags", tags={"n": f"ü {number}\n"}) == number
    spool.mark_delivered([0, 3])
    again = reopened(spool)
    assert [entry.number for entry in again.pending()] == [1, 2, 4]
    assert [entry.content["tags"]["n"] for entry in again.entries()] == [f"ü {number}\n" for number in range(5)]
    assert again.append("end") == 5


def test_figures_that_are_no_numbers_come_back_as_they_were(folder):
    spool = Spool(folder)
    spool.append("metrics", points=[["loss", math.nan, 1, 0], ["lr", math.inf, 1, 0], ["f", 1 / 3, 1, 0]])
    points = reopened(spool).entries()[0].content["points"]
    assert math.isnan(points[0][1])
    assert [point[1] for point in points[1:]] == [math.inf, 1 / 3]


def test_a_line_cut_short_counts_for_nothing_and_the_next_takes_its_place(folder):
    spool = Spool(folder)
    for kind in ("tags", "metrics", "end"):
        spool.append(kind)
    spool.close()
    journal = folder / JOURNAL
    whole = journal.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last):
        journal.write_bytes(whole[:-cut])
        again = Spool(folder)
        assert kinds(again) == ["tags", "metrics"], cut
        assert again.append("file") == 2
        assert kinds(reopened(again)) == ["tags", "metrics", "file"], cut
        again.close()


def test_a_line_that_its_writer_gave_up_is_replaced_by_the_next(folder):
    spool = Spool(folder)
    spool.append("tags")
    spool.close()
    with (folder / JOURNAL).open("a") as journal:
        for kind in ("given up", "metrics"):
            journal.write(json.dumps([1, kind, {}]) + "\n")
    assert kinds(Spool(folder)) == ["tags", "metrics"]


def test_a_damaged_line_is_named(folder):
    spool = Spool(folder)
    for _ in range(3):
        spool.append("tags")
    spool.close()
    lines = (folder / JOURNAL).read_text().splitlines(keepends=True)
    (folder / JOURNAL).write_text(lines[0] + lines[1][3:] + lines[2])
    with pytest.raises(DataError, match=r"line 2 of .*journal\.jsonl. is damaged"):
        Spool(folder)


def test_a_note_of_delivery_that_was_cut_short_is_delivered_again(folder):
    spool = Spool(folder)
    for _ in range(15):
        spool.append("tags")
    spool.mark_delivered([3, 14])
    spool.close()
    delivered = folder / "delivered"
    # What is left of 14 must not be read as 1.
    delivered.write_bytes(delivered.read_bytes()[:-2])
    assert [entry.number for entry in Spool(folder).pending()] == [*range(3), *range(4, 15)]


def test_many_threads_record_each_entry_once(folder):
    spool = Spool(folder)

    def record(thread: int) -> None:
        for number in range(20):
            spool.append("tags", thread=thread, number=number)

    threads = [threading.Thread(target=record, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = reopened(spool).entries()
    assert [entry.number for entry in entries] == list(range(80))
    for thread in range(4):
        own = [entry.content["number"] for entry in entries if entry.content["thread"] == thread]
        assert own == list(range(20))


HOLDER = """
import sys, time
from pathlib import Path
from fer.tracking.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.append("tags", tags={})
print("open", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_has_it_and_a_killed_one_leaves_it_to_the_next(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(FerError, match="is in use by a process that is still running"):
            Spool(folder)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=20)
    assert kinds(Spool(folder)) == ["tags"]


def test_a_second_one_in_the_same_process_is_refused_until_the_first_is_closed(folder):
    spool = Spool(folder)
    with pytest.raises(FerError, match="is in use"):
        Spool(folder)
    spool.close()
    Spool(folder).close()


def test_a_process_that_is_killed_while_files_are_dropped_leaves_no_entry_without_its_files(folder, monkeypatch):
    def killed(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    spool = Spool(folder)
    spool.append("file", kept=[spool.keep_content(b"a", "a.txt")], folder="")
    spool.append("file", kept=[spool.keep_content(b"b", "b.txt")], folder="")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        spool.mark_delivered([0])
    (left,) = reopened(spool).pending()
    assert left.number == 1
    assert (folder / left.content["kept"][0]).read_bytes() == b"b"


@pytest.mark.parametrize("linked", [False, True])
def test_a_kept_file_is_as_it_was_and_goes_when_it_is_delivered(folder, tmp_path, monkeypatch, linked):
    monkeypatch.setattr(spools, "LINKED_BYTES", 3 if linked else 1000)
    original = tmp_path / "a.txt"
    original.write_text("first")
    spool = Spool(folder)
    place = spool.keep(original)
    spool.append("file", kept=[place], folder="")
    # As everything here writes: beside it, and then in its place.
    (tmp_path / "partial").write_text("second")
    (tmp_path / "partial").replace(original)
    assert (folder / place).name == "a.txt"
    assert (folder / place).read_text() == "first"
    spool.mark_delivered([0])
    assert list((folder / "files").iterdir()) == []
    assert original.read_text() == "second"


def test_large_files_are_copied_where_the_disk_knows_no_links(folder, tmp_path, monkeypatch):
    def refuse(*paths: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(spools, "LINKED_BYTES", 0)
    (tmp_path / "model.bin").write_bytes(b"weights")
    spool = Spool(folder)
    assert (folder / spool.keep(tmp_path / "model.bin")).read_bytes() == b"weights"


def test_folders_and_contents_are_kept_under_their_names(folder, tmp_path):
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "a.py").write_text("code")
    spool = Spool(folder)
    kept = folder / spool.keep(tmp_path / "model")
    assert kept.name == "model"
    assert (kept / "code" / "a.py").read_text() == "code"
    assert (folder / spool.keep_content(b"\x89PNG", "confusion.png")).read_bytes() == b"\x89PNG"


def test_what_is_known_of_the_run_adds_up(folder):
    spool = Spool(folder)
    assert spool.head == {}
    spool.write_head(id="a", name="mine")
    spool.write_head(end={"status": "KILLED"})
    spool.write_head(name="ours")
    assert reopened(spool).head == {"id": "a", "name": "ours", "end": {"status": "KILLED"}}


def test_a_removed_one_leaves_nothing(folder):
    spool = Spool(folder)
    spool.append("tags")
    spool.remove()
    assert not folder.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to try")
def test_a_full_disk_is_one_sentence_and_what_it_did_not_take_can_still_be_sent(folder):
    folder.mkdir(parents=True)
    (folder / JOURNAL).symlink_to("/dev/full")
    spool = Spool(folder)
    with pytest.raises(DataError, match=r"no space left in .*spool") as fault:
        spool.append("tags")
    assert "\n" not in str(fault.value)
    assert kinds(spool) == ["tags"]
    spool.close()
    Spool(folder).close()


class Filling:
    """A file on a disk that becomes full in the middle of one line."""

    def __init__(self, inner):
        self.inner, self.full = inner, False

    def write(self, content):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.full = True
        return self.inner.write(content[: len(content) // 2])

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_a_line_of_which_the_disk_took_a_part_leaves_the_journal_whole(folder):
    spool = Spool(folder)
    spool.append("tags")
    journal = spool._journal
    spool._journal = Filling(journal)
    with pytest.raises(DataError, match="no space left"):
        spool.append("describe", text="x" * 20_000)
    # The disk has room again: this process sends all, and another one what the disk took.
    spool._journal = journal
    assert spool.append("metrics") == 2
    assert kinds(spool) == ["tags", "describe", "metrics"]
    again = reopened(spool)
    assert kinds(again) == ["tags", "metrics"]
    assert again.append("end") == 3
    again.mark_delivered([2])
    assert kinds(reopened(again)) == ["tags", "end"]


def test_threads_that_write_the_head_at_once_lose_nothing(folder):
    spool = Spool(folder)

    def write(name: str) -> None:
        for number in range(50):
            spool.write_head(**{f"{name}{number}": number})

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spool.head) == 100


def test_a_spool_whose_removal_is_cut_short_is_gone(folder, monkeypatch):
    spool = Spool(folder)
    spool.append("file", kept=[spool.keep_content(b"x", "a.txt")])
    with monkeypatch.context() as patch:
        patch.setattr(spools.shutil, "rmtree", lambda *words, **options: None)
        spool.remove()
    assert not folder.exists()
    again = Spool(folder)
    assert again.pending() == []
    again.remove()
    assert not list(folder.parent.iterdir())
