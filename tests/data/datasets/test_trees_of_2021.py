"""Trees that the 2021 project prepared are accepted as sources."""

import shutil
from pathlib import Path

import pytest

from fer.data.datasets.registry import DATASETS
from fer.data.prepare import prepare
from fer.errors import DataError

OLD = {"raf": "raf_basic", "kdef": "kdef", "wikimedia": "wikimedia_commons_emotions"}


def old_tree(root: Path, name: str, folder: Path) -> Path:
    """Lay a prepared set out as in 2021; KDEF stood under `train` as a whole."""
    for part in ("train", "test"):
        for path in (root / part / name).glob("*/*"):
            place = folder / ("train" if name == "kdef" else part) / OLD[name] / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return folder


@pytest.mark.parametrize("name", OLD)
def test_an_old_tree_gives_the_same_images_labels_and_splits(prepared, tmp_path, name):
    root, sets = prepared
    source = old_tree(root, name, tmp_path / "old")
    (next(source.glob("*/*/*")) / "backup.jpg~").write_bytes(b"x")
    done = prepare(DATASETS[name], source, tmp_path / "data")
    assert done.manifest.digest == sets[name].manifest.digest


def test_raf_without_its_labels_is_recognised(raw_trees, tmp_path):
    shutil.copytree(raw_trees / "raf" / "Image", tmp_path / "basic" / "Image")
    with pytest.raises(DataError, match="looks like RAF's 'basic' without 'EmoLabel'"):
        prepare(DATASETS["raf"], tmp_path / "basic", tmp_path / "data")
