"""Checkpoints within epochs: when they are written, what they hold, and that a killed training goes on from them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fer.data.batches import TrainingBatches
from fer.errors import Interrupted, ModelError
from fer.training import saving
from fer.training.checkpoints import BEST, LAST
from fer.training.loop import train
from tests.paths import ROOT
from tests.training import killed
from tests.training.small import (
    EXTRA,
    Recorded,
    SignalledBatches,
    finite,
    noise,
    objective,
    settings,
    training_batches,
    validate,
)

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def batches() -> TrainingBatches:
    return training_batches(noise())


def progress(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)["progress"]


class Clock:
    """A clock that goes on by so many minutes with every batch."""

    def __init__(self, inner: TrainingBatches, minutes: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inner, self.minutes, self.seconds = inner, minutes, 0.0
        monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=self.now, perf_counter=self.now))

    def now(self) -> float:
        self.seconds += 1e-6
        return self.seconds

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        for batch in self.inner.epoch(epoch, start):
            self.seconds += 60 * self.minutes
            yield batch


class Watching(Recorded):
    """Looks into the folder whenever it is told of checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        last = progress(folder / LAST)
        self.seen.append((last["epoch"], last["step"]))
        if last["best_epoch"]:
            assert progress(folder / BEST)["best_epoch"] == last["best_epoch"]


@pytest.mark.parametrize("at", [(0, 1), (1, 3), (2, 4)], ids=str)
@pytest.mark.parametrize("name", killed.TRAININGS)
def test_a_training_killed_within_an_epoch_goes_on_to_the_same_bits(name, at, tmp_path):
    undisturbed = killed.whole(name, tmp_path / "whole")
    killed.killed(name, tmp_path / "killed", at)
    assert (progress(tmp_path / "killed" / LAST)["epoch"], progress(tmp_path / "killed" / LAST)["step"]) == at
    recorded = killed.continued(name, tmp_path / "killed")
    assert killed.differences(undisturbed.points, recorded.points) == []
    assert killed.compared(tmp_path / "whole", tmp_path / "killed") == []


def test_a_training_killed_again_and_again_goes_on_to_the_same_bits(tmp_path):
    undisturbed = killed.whole("finetune", tmp_path / "whole")
    killed.killed("finetune", tmp_path / "often", at=(0, 2))
    for at in ((0, 3), (0, 4), (1, 1), (2, 0), (2, 2)):
        model, batches, own = killed.made("finetune", seed=9)
        often = settings(**own, checkpoint_minutes=killed.EVERY_STEP)
        with pytest.raises(killed.Killed):
            train(
                model, killed.KilledBatches(batches, *at), validate, often, Recorded(), tmp_path / "often", EXTRA,
                tmp_path / "often" / LAST,
            )  # fmt: skip
    recorded = killed.continued("finetune", tmp_path / "often")
    assert killed.differences(undisturbed.points, recorded.points) == []
    assert killed.compared(tmp_path / "whole", tmp_path / "often") == []


@pytest.mark.project
def test_two_processes_killed_within_an_epoch_go_on_to_the_same_bits_by_the_firsts_clock(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
    words = [*TORCHRUN, "-m", "tests.training.killed", str(tmp_path)]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in killed.TRAININGS:
        first, second = (torch.load(tmp_path / f"{name}-{rank}.found", weights_only=True) for rank in range(2))
        # The second process is not told, and its clock, by which every step was due, counts for nothing.
        assert (first["checkpoints"], second["checkpoints"]) == (3, 0)
        assert (first["epoch"], first["step"]) == (1, 3)
        assert killed.differences(first["points"], second["points"]) == []
        assert killed.compared(tmp_path / name / "whole", tmp_path / name / "killed") == []


@pytest.mark.parametrize(
    ("minutes", "written"),
    [
        (2.0, [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4), (2, 0)]),
        (2.5, [(0, 3), (1, 0), (1, 3), (2, 0)]),
        (7.0, [(1, 0), (2, 0)]),
        (0.0, [(1, 0), (2, 0)]),
    ],
    ids=str,
)
def test_a_checkpoint_is_written_when_so_many_minutes_have_passed_and_after_every_epoch(
    batches, tmp_path, monkeypatch, minutes, written
):
    watching = Watching()
    clock = Clock(batches, 1.0, monkeypatch)
    train(
        objective(), clock, validate, settings(epochs=2, checkpoint_minutes=minutes), watching, tmp_path, EXTRA
    )  # fmt: skip
    assert watching.seen == written


def test_a_signal_writes_once_and_says_so(batches, tmp_path):
    watching = Watching()
    stopped = SignalledBatches(batches, 1, 2, signal.SIGTERM)
    with pytest.raises(Interrupted):
        train(objective(), stopped, validate, settings(), watching, tmp_path, EXTRA)
    assert watching.seen == [(1, 0), (1, 3)]


def test_a_state_that_is_not_finite_never_replaces_a_good_one(batches, tmp_path):
    spoilt = objective()
    steps = iter(range(100))

    def spoil(module: torch.nn.Module, inputs: object, output: object) -> None:
        # The loss of that step was computed before, and is finite: only the weights tell.
        if next(steps) == 2:
            module.network.head[1].bias.register_hook(lambda gradient: gradient * torch.nan)

    spoilt.register_forward_hook(spoil)
    watching = Watching()
    often = settings(checkpoint_minutes=killed.EVERY_STEP)
    with pytest.raises(ModelError, match="not finite at step 3 of epoch 1"):
        train(spoilt, batches, validate, often, watching, tmp_path, EXTRA)
    assert watching.seen == [(0, 1), (0, 2)]
    assert finite(tmp_path / LAST)


def test_a_checkpoint_without_sums_by_process_is_continued_from_their_mean(tmp_path):
    # As they were written before checkpoints within epochs.
    undisturbed = killed.whole("finetune", tmp_path / "whole")
    killed.killed("finetune", tmp_path / "killed", at=(1, 2))
    content = torch.load(tmp_path / "killed" / LAST, weights_only=True)
    del content["sums"]
    torch.save(content, tmp_path / "killed" / LAST)
    recorded = killed.continued("finetune", tmp_path / "killed")
    assert killed.differences(undisturbed.points, recorded.points) == []
