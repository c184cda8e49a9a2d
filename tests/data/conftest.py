from collections.abc import Callable
from pathlib import Path

import pytest

from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.prepare import prepare
from fer.data.prepared import Prepared


@pytest.fixture
def shrunk(own_copy: Callable[[str], Path], tmp_path: Path) -> tuple[Path, Path, Prepared]:
    """(download, data root, result) of a prepared Wikimedia set of the test's own."""
    source, root = own_copy("wikimedia"), tmp_path / "data"
    return source, root, prepare(WIKIMEDIA, source, root)
