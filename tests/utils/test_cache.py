import threading
import time
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock

from fer.utils.cache import cached


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
