import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fer.data.datasets.drawn import write_raf
from fer.data.datasets.registry import DATASETS
from fer.data.prepare import prepare
from fer.expressions import EXPRESSIONS
from tests.conftest import SharedFolder
from tests.reliability.chaos import Place, Undisturbed
from tests.reliability.programs import Server

BASIC = Path("raf_basic", "basic")
"""Where RAF-DB is looked for under a data root."""
COUNTS = {"train": dict.fromkeys(EXPRESSIONS, 16), "test": dict.fromkeys(EXPRESSIONS, 4)}


@pytest.fixture(scope="session")
def data(shared_by_workers: SharedFolder) -> Path:
    """A data root with drawn faces as RAF-DB; nobody writes there but the cache of packed images."""

    def fill(folder: Path) -> None:
        write_raf(folder / BASIC, COUNTS, seed=1)
        prepare(DATASETS["raf"], folder / BASIC, folder)

    return shared_by_workers("reliability-data", fill)


@pytest.fixture
def raw(data: Path, tmp_path: Path) -> Path:
    """A data root of the test's own, on which the same faces lie as they were downloaded."""
    shutil.copytree(data / BASIC, tmp_path / "raw" / BASIC)
    return tmp_path / "raw"


@pytest.fixture
def make_place(data: Path, empty_store: Path, tmp_path: Path) -> Callable[..., Place]:
    """Make a place of a name, with an empty store or none yet."""

    def make(name: str = "place", server: Server | None = None, store: bool = True) -> Place:
        return Place(tmp_path / name, data, empty_store if store else None, server)

    return make


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A tracking server, which is to be started when its store is there."""
    made = Server(tmp_path / "server")
    yield made
    made.kill()


@pytest.fixture
def place(make_place: Callable[..., Place], server: Server) -> Place:
    """A place whose commands record at that server."""
    made = make_place("server", server)
    server.start()
    return made


@pytest.fixture(scope="session")
def undisturbed(data: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The records of trainings to which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(lambda name: Place(folder / name, data, empty_store))


@pytest.fixture
def expected(undisturbed: Undisturbed) -> dict[str, Any]:
    """The record of the fine-tuning."""
    return undisturbed.record("finetune")
