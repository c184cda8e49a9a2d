"""The code on the pages of `docs/` does what they say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from fer.data.datasets import registry
from fer.data.manifest import read_manifest
from fer.data.prepare import prepare
from fer.errors import ConfigError
from fer.utils.paths import manifest_path
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def code_of(heading: str) -> str:
    """Return the Python code of a section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def run(heading: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": f"page_{heading.replace(' ', '_')}"}
    exec(compile(code_of(heading), "docs/extending.md", "exec"), names)
    return names


def test_a_data_set_is_one_file_and_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = run("A data set")["SMILES"]
    source = tmp_path / "download"
    colours = np.random.default_rng(0).integers(0, 256, size=(2, 20, 32, 32, 3), dtype=np.uint8)
    for folder, pictures in zip(("smiling", "serious"), colours, strict=True):
        (source / folder).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(source / folder / f"{folder}{number}.jpg")
    monkeypatch.setitem(registry.DATASETS, dataset.name, dataset)
    assert registry.resolve_datasets("raf+smiles", Path("nowhere"))[1] is dataset
    prepare(dataset, source, tmp_path / "data", None)
    manifest = read_manifest(manifest_path(tmp_path / "data", "smiles"))
    counts = manifest.counts()
    assert sum(counts["train"].values()) + sum(counts["validation"].values()) == 32
    assert counts["test"]["happiness"] == counts["test"]["neutral"] == 4


def test_a_method_is_the_one_that_the_tests_of_objectives_train() -> None:
    code = (ROOT / "tests" / "objectives" / "byol.py").read_text(encoding="utf-8")
    assert code_of("A self-supervised method") == code


def test_a_metric_is_one_function() -> None:
    labels, predicted = np.random.default_rng(0).integers(0, 7, size=(2, 200))
    predicted[:120] = labels[:120]
    confusion = np.zeros((7, 7))
    np.add.at(confusion, (labels, predicted), 1)
    assert run("A metric")["cohen_kappa"](confusion) == pytest.approx(cohen_kappa_score(labels, predicted))


def test_an_option_is_one_field() -> None:
    names = run("An option")
    assert names["config"].freeze_epochs == 3
    with pytest.raises(ConfigError, match="freeze_epochs"):
        names["build"](names["FinetuneConfig"], {"freeze_epochs": "-1"})
