"""Experiments of several stages that are killed, and called again."""

import json
from pathlib import Path

import pytest

from tests.reliability.chaos import Place
from tests.reliability.programs import Program
from tests.reliability.records import runs_of

pytestmark = pytest.mark.project

FILE = """\
pretrain: {dataset: raf, arch: resnet18, image_size: 32, epochs: 3, batch_size: 16, warmup_epochs: 1,
           proj_hidden_dim: 16, checkpoint_minutes: 0.003}
finetune: {dataset: raf, arch: resnet18, image_size: 32, epochs: 3, batch_size: 8, evaluate_on: raf,
           contamination: skip, registered_name: fer-chaos, checkpoint_minutes: 0.003}
evaluate: {dataset: raf, contamination: skip}
"""


def kill_when(program: Program, place: Place, condition) -> None:
    assert program.wait_for(condition), program.output
    program.kill()


def statuses(place: Place, command: str) -> list[str]:
    return [run.info.status for run in runs_of(place.client, command)]


def test_an_experiment_killed_in_every_stage_goes_on_where_it_was(make_place):
    place = make_place()
    file = place.folder / "tiny.yaml"
    file.write_text(FILE)
    words = ("experiment", "--name", str(file))
    program = place.start(words)
    kill_when(program, place, lambda: "epoch 2/3" in program.output)
    (pretraining,) = runs_of(place.client, "pretrain")
    again = place.start(words)
    kill_when(
        again,
        place,
        lambda: "fine-tune it with" in again.output and "epoch 2/3" in again.output.partition("fine-tune it")[2],
    )
    assert f"continuing run {pretraining.info.run_id}" in again.output
    (finetuning,) = runs_of(place.client, "finetune")
    third = place.start(words)
    kill_when(third, place, lambda: statuses(place, "evaluate"))
    assert f"continuing run {finetuning.info.run_id}" in third.output
    last = place.run(words)
    assert f"reused run {pretraining.info.run_id}" in last
    client = place.client
    assert [run.info.run_id for run in runs_of(client, "pretrain")] == [pretraining.info.run_id]
    assert [run.info.run_id for run in runs_of(client, "finetune")] == [finetuning.info.run_id]
    latest, *killed = runs_of(client, "experiment")
    assert latest.info.status == "FINISHED"
    assert [run.info.status for run in killed] == ["KILLED"] * 3
    assert {run.info.status for run in runs_of(client)} == {"FINISHED", "KILLED"}
    assert not any("fer.heartbeat" in run.data.tags for run in runs_of(client))
    stages = json.loads(Path(client.download_artifacts(latest.info.run_id, "stages.json")).read_text())
    assert [(stage["command"], stage["how"]) for stage in stages] == [
        ("pretrain", "reused"), ("finetune", "reused"), ("evaluate", "run"),
    ]  # fmt: skip
    steps = [point.step for point in client.get_metric_history(finetuning.info.run_id, "train/loss")]
    assert steps == [1, 2, 3]
    place.run(["sync"])
    assert not list((place.folder / "outputs").rglob("*"))
