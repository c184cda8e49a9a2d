"""What tells trainings apart that may come out differently, and lets equal ones be taken over."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import read_manifest
from fer.experiments.files import Experiment
from fer.pipeline import fingerprints, options
from fer.pipeline.fingerprints import configuration_name, set_digests, training_fingerprint, weights_digest
from fer.tracking import provenance
from fer.utils.paths import manifest_path


@pytest.fixture
def config(prepared) -> FinetuneConfig:
    return FinetuneConfig(
        dataset="raf", data_root=str(prepared[0]), init="scratch", arch="resnet18", device="cpu", precision="fp32"
    )


def test_the_digest_asked_for_is_that_of_the_prepared_set(prepared):
    root, _ = prepared
    assert set_digests([DATASETS["raf"]], root) == {"raf": read_manifest(manifest_path(root, "raf")).digest}


def test_a_configuration_is_told_by_what_is_trained_not_by_seed_or_place(tmp_path):
    def named(pretrain: dict[str, Any] | None = None, **given: Any) -> str:
        shared = {"dataset": "raf", "data_root": str(tmp_path / "data"), "device": "cpu"}
        finetune = FinetuneConfig(**{**shared, "init": "scratch", **given})
        before = PretrainConfig(**shared, **pretrain) if pretrain else None
        return configuration_name(Experiment("mine", pretrain=before, finetune=finetune), finetune)

    same = {named(), named(seed=7), named(output=str(tmp_path)), named(registered_name="none"), named(promote=True)}
    encoders = [named({"epochs": 1}, init="auto"), named({"epochs": 2}, init="auto"), named({"seed": 1}, init="auto")]
    others = {named(lr=0.1), named(epochs=2), named(freeze="backbone"), named(test_best=True), *encoders}
    assert len(same) == 1
    assert len(others) == 7
    assert not same & others


def test_trainings_that_come_out_equal_have_one_fingerprint(config, tmp_path):
    same = [
        config,
        replace(config, output=str(tmp_path), checkpoint_minutes=1.0, offline=True, tracking_patience=0.5),
        replace(config, checkpoint_upload_gb=0.0, resume="auto"),
        # What is tested in the end changes nothing of what is trained.
        replace(config, evaluate_on="raf"),
    ]
    assert len({training_fingerprint("finetune", each) for each in same}) == 1


def test_trainings_that_may_come_out_differently_have_fingerprints_of_their_own(config, monkeypatch):
    different = [
        config,
        replace(config, seed=1),
        replace(config, lr=0.1),
        replace(config, precision="bf16"),
        replace(config, dataset="raf+kdef"),
    ]
    marks = [training_fingerprint("finetune", each) for each in different]
    marks.append(training_fingerprint("pretrain", config))
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "code_digest", lambda: "another")
        marks.append(training_fingerprint("finetune", config))
    with monkeypatch.context() as patch:
        patch.setattr(options, "pick_device", lambda name: torch.device("cuda"))
        marks.append(training_fingerprint("finetune", config))
    assert len(set(marks)) == len(marks)


def test_a_set_that_was_prepared_anew_is_another_one(config, tmp_path):
    shutil.copytree(config.data_root, tmp_path / "other")
    before = set_digests([DATASETS["raf"]], Path(config.data_root))
    other = manifest_path(tmp_path / "other", "raf")
    lines = other.read_text().splitlines(keepends=True)
    other.write_text("".join(lines[:-1]))
    assert set_digests([DATASETS["raf"]], tmp_path / "other") != before


def test_weights_in_a_file_or_folder_are_told_by_their_content(tmp_path):
    for name in ("a.pth", "b.pth", "c.pth"):
        (tmp_path / name).write_text("same" if name < "c" else "other")
    digests = [weights_digest(str(tmp_path / name)) for name in ("a.pth", "b.pth", "c.pth")]
    assert digests[0] == digests[1] != digests[2]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "encoder.json").write_text(folder)
    assert weights_digest(str(tmp_path / "one")) != weights_digest(str(tmp_path / "two"))
    assert weights_digest("scratch") == {}


def test_code_is_told_by_its_files_whatever_the_commit_is(tmp_path, monkeypatch):
    def digest_of(**files: str) -> str:
        package = tmp_path / str(len(list(tmp_path.iterdir()))) / "fer" / "tracking"
        package.mkdir(parents=True)
        for name, content in files.items():
            (package / f"{name}.py").write_text(content)
        monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
        provenance.code_digest.cache_clear()
        return provenance.code_digest()

    try:
        first = digest_of(a="x = 1", b="y = 2")
        assert digest_of(a="x = 1", b="y = 2") == first, "wherever it lies"
        assert len({first, digest_of(a="x = 1", b="y = 3"), digest_of(a="x = 1", c="y = 2"), digest_of(a="x = 1")}) == 4
    finally:
        provenance.code_digest.cache_clear()
