from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from fer.config.training import FinetuneConfig
from fer.errors import ModelError
from fer.pipeline.resume import find_stopped
from fer.training.checkpoints import CHECKPOINT_FORMAT


def test_a_checkpoint_that_chose_by_a_score_of_another_name_is_not_continued(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    for selection in ("class_mean", "mean_class_accuracy"):
        stored = asdict(FinetuneConfig(selection=selection))
        torch.save({"format": CHECKPOINT_FORMAT, "optimizer": {}, "config": stored}, checkpoint)
        if selection == "class_mean":
            stopped = find_stopped("finetune", FinetuneConfig(resume=str(checkpoint)))
            assert (stopped.config.selection, stopped.checkpoint) == (selection, checkpoint)
    with pytest.raises(ModelError, match=r"earlier version .* selection=mean_class_accuracy: start a new run$"):
        find_stopped("finetune", FinetuneConfig(resume=str(checkpoint)))


@pytest.mark.parametrize(
    ("stored", "given", "tested"),
    [("prepared", "prepared", "prepared"), ("raf", "prepared", "raf"), ("raf", "raf+kdef", "raf+kdef"),
     ("prepared", "kdef", "kdef")],
)  # fmt: skip
def test_a_continued_run_tests_what_the_stopped_one_would_have_unless_it_is_told(
    tmp_path: Path, stored: str, given: str, tested: str
) -> None:
    checkpoint = tmp_path / "last.ckpt"
    options = asdict(FinetuneConfig(evaluate_on=stored, checkpoint_minutes=3.0, epochs=7, output="there"))
    torch.save({"format": CHECKPOINT_FORMAT, "optimizer": {}, "config": options}, checkpoint)
    now = FinetuneConfig(resume=str(checkpoint), evaluate_on=given, output="here", checkpoint_minutes=5.0)
    config = find_stopped("finetune", now).config
    assert config.evaluate_on == tested
    assert (config.output, config.checkpoint_minutes, config.epochs) == ("here", 5.0, 7)
