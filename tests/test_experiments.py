from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from fer.commands import finetune_plan
from fer.config import FinetuneConfig
from fer.options import build, default_of

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))


def test_there_are_experiments():
    assert {"drawn-plain", "drawn-augmented"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_short_valid_and_says_only_what_differs(path, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune_plan, "unprepared", lambda sets, root: [])  # the real sets are not at hand
    assert len(path.read_text().splitlines()) <= 25
    config = build(FinetuneConfig, {"data_root": str(tmp_path)}, file=str(path))
    plan = finetune_plan.make_plan(config)
    assert plan.sets
    defaults = {item.name: default_of(item) for item in fields(FinetuneConfig)}
    written = yaml.safe_load(path.read_text())
    # The data set is always named; all else only where it differs.
    same = [key for key in written if getattr(config, key) == defaults[key] and key != "dataset"]
    assert not same
