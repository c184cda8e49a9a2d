from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from fer.commands import finetune_plan, pretrain_plan
from fer.config import FinetuneConfig, PretrainConfig
from fer.options import build, default_of

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))


def test_there_are_experiments():
    assert {"drawn-plain", "drawn-augmented"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_short_valid_and_says_only_what_differs(path, tmp_path, monkeypatch):
    # By its name: `pretrain-...` is one of the command `pretrain`, any other of `finetune`.
    cls, module = (
        (PretrainConfig, pretrain_plan) if path.stem.startswith("pretrain-") else (FinetuneConfig, finetune_plan)
    )
    monkeypatch.setattr(module, "unprepared", lambda sets, root: [])  # the real sets are not at hand
    assert len(path.read_text().splitlines()) <= 25
    config = build(cls, {"data_root": str(tmp_path)}, file=str(path))
    plan = module.make_plan(config)
    assert plan.sets
    defaults = {item.name: default_of(item) for item in fields(cls)}
    written = yaml.safe_load(path.read_text())
    # Method and data set are always named; all else only where it differs.
    same = [key for key in written if getattr(config, key) == defaults[key] and key not in ("method", "dataset")]
    assert not same
