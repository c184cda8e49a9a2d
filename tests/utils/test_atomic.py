import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from filelock import FileLock

from fer.utils.atomic import atomic_path, cached, move_into_place, staging_folder


def test_a_file_is_replaced_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    with atomic_path(path) as partial:
        partial.write_text("old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_staged_replaces_what_stood_there(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / "old").touch()
    with staging_folder(output) as folder:
        (folder / "new").mkdir()
        move_into_place(folder / "new", output)
    assert list(tmp_path.iterdir()) == [output]
    assert not list(output.iterdir())


def read(path: Path) -> str | None:
    return path.read_text() if path.is_file() and path.read_text() != "damaged" else None


def test_what_is_absent_or_of_no_use_is_made_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    for before in (None, "damaged"):
        if before:
            path.write_text(before)
        assert cached(path, read, lambda: "made", Path.write_text, nullcontext()) == "made"
        assert path.read_text() == "made"
    assert cached(path, read, lambda: "other", Path.write_text, nullcontext()) == "made"


def test_of_several_at_once_one_makes_it(tmp_path: Path) -> None:
    path, made, results = tmp_path / "file", [], []

    def make() -> str:
        made.append(threading.get_ident())
        time.sleep(0.2)
        return "made"

    def ask() -> None:
        # A lock object of its own, as another process would have.
        results.append(cached(path, read, make, Path.write_text, FileLock(tmp_path / "lock", is_singleton=False)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["made"] * 4
    assert len(made) == 1
