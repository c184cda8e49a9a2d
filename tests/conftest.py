import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Workers take all cores: with several threads each they would wait for each other at every operation.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from filelock import FileLock

from fer.data.datasets.drawn import write_kdef, write_raf, write_wikimedia
from fer.data.datasets.registry import DATASETS
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.expressions import EXPRESSIONS
from fer.utils.processes import STOPPING
from tests import stores

RAF_COUNTS = {"train": dict.fromkeys(EXPRESSIONS, 3) | {"happiness": 20}, "test": dict.fromkeys(EXPRESSIONS, 2)}
KDEF_PEOPLE = ("F01", "F06", "M31", "F31")
"""One of each split, and the two with misnamed files."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one worker more than there are cores: many tests wait for processes that they started."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first what takes longest, so that no worker is left with it at the end."""
    slow = {item.path for item in items if item.get_closest_marker("project")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def signals_heard() -> Iterator[None]:
    """Fail a test that leaves signals ignored: processes that later tests start would inherit that."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


SharedFolder = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def shared_by_workers(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> SharedFolder:
    """Return a folder of a name, which the first worker that asks for it fills for all."""
    base = tmp_path_factory.getbasetemp()
    # Workers' folders lie side by side in the folder of the whole run.
    place = base if worker_id == "master" else base.parent

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        path, filled = place / name, place / f"{name}.filled"
        with FileLock(place / f"{name}.lock"):
            if not filled.exists():
                path.mkdir(exist_ok=True)
                fill(path)
                filled.touch()
        return path

    return folder


@pytest.fixture(scope="session")
def empty_store(shared_by_workers: SharedFolder) -> Path:
    """The file of an empty MLflow store; `tests.stores.copy` gives each test its own."""
    return shared_by_workers("empty-store", stores.create) / "mlflow.db"


@pytest.fixture(scope="session")
def raw_trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small drawn downloads `raf`, `kdef` and `wikimedia`; tests only read them."""
    folder = tmp_path_factory.mktemp("raw")
    write_raf(folder / "raf", RAF_COUNTS, seed=1)
    write_kdef(folder / "kdef", KDEF_PEOPLE, seed=1, size=(28, 38))
    write_wikimedia(folder / "wikimedia", per_class=2, seed=1)
    return folder


@pytest.fixture(scope="session")
def prepared(raw_trees: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Prepared]]:
    """The three drawn downloads prepared as the real sets, under one data root; tests only read it."""
    root = tmp_path_factory.mktemp("data")
    return root, {name: prepare(DATASETS[name], raw_trees / name, root) for name in ("raf", "kdef", "wikimedia")}


@pytest.fixture
def own_copy(raw_trees: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A download of the test's own, to damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(raw_trees / name, tmp_path / "downloads" / name))

    return copy


@pytest.fixture(scope="session")
def two_ranks(shared_by_workers: SharedFolder) -> list[dict[str, Any]]:
    """What two processes computed together, by rank; tests only read it."""
    import torch.multiprocessing

    from tests.objectives.ranks import TRAININGS, make, work

    def compute(folder: Path) -> None:
        torch.save({name: make(name) for name in TRAININGS}, folder / "objectives.pt")
        torch.multiprocessing.spawn(work, args=(str(folder),), nprocs=2)

    folder = shared_by_workers("ranks", compute)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
