import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from fer.data.augment import Augmentation
from fer.data.batches import Batch, TrainingBatches
from fer.data.packing import PackedImages
from fer.errors import ConfigError, Interrupted, ModelError
from fer.training.checkpoints import BEST, CHECKPOINT_FORMAT, LAST
from fer.training.devices import pick_device
from fer.training.loop import train
from fer.training.optimization import rate_factor
from fer.training.progress import Progress
from fer.utils.distributed import Peers
from tests.training.small import (
    EXTRA,
    Recorded,
    SignalledBatches,
    equal,
    finite,
    noise,
    objective,
    settings,
    training_batches,
    validate,
    weights,
)


@pytest.fixture(scope="module")
def images() -> PackedImages:
    return noise()


@pytest.fixture
def batches(images: PackedImages) -> TrainingBatches:
    return training_batches(images, augmentation=Augmentation(flip=0.5, crop_min=0.6))


def test_equal_seeds_give_equal_weights_and_other_seeds_do_not(batches, tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(objective(seed), batches, validate, settings(), Recorded(), tmp_path / folder, EXTRA)
    assert equal(weights(tmp_path / "a" / LAST), weights(tmp_path / "b" / LAST))
    assert not equal(weights(tmp_path / "a" / LAST), weights(tmp_path / "c" / LAST))


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"optimizer": "sgd", "ema": 0.5}], ids=str)
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (1, 4), (2, 4)], ids=str)
def test_a_stopped_run_continues_to_the_same_weights_and_figures(batches, tmp_path, changes, at):
    whole = Recorded()
    train(objective(), batches, validate, settings(**changes), whole, tmp_path / "whole", EXTRA)
    with pytest.raises(Interrupted) as stop:
        train(
            objective(),
            SignalledBatches(batches, *at),
            validate,
            settings(**changes),
            Recorded(),
            tmp_path,
            EXTRA,
        )
    assert stop.value.signum == signal.SIGTERM
    continued = Recorded()
    # Other initial weights: everything must come from the checkpoint.
    train(objective(9), batches, validate, settings(**changes), continued, tmp_path / "more", EXTRA, tmp_path / LAST)
    assert equal(weights(tmp_path / "whole" / LAST), weights(tmp_path / "more" / LAST))
    assert [step for step, _ in continued.points] == [1, 2, 3]
    for (_, one), (_, other) in zip(whole.points, continued.points, strict=True):
        timing = {"train/images_per_second"}
        assert {k: v for k, v in one.items() if k not in timing} == pytest.approx(
            {k: v for k, v in other.items() if k not in timing}, rel=1e-12
        )


def test_the_best_checkpoint_is_the_epoch_with_the_best_validation_score(batches, tmp_path):
    scores, kept = {1: 0.2, 2: 0.9, 3: 0.9, 4: 0.1}, {}

    def scripted(network: nn.Module, epoch: int) -> dict[str, float]:
        kept[epoch] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        return {"validation/accuracy": scores[epoch]}

    progress = train(objective(), batches, scripted, settings(epochs=4), Recorded(), tmp_path, EXTRA)
    assert (progress.best_epoch, progress.best_score) == (2, 0.9)
    assert equal(weights(tmp_path / BEST), kept[2])
    assert equal(weights(tmp_path / LAST), kept[4])
    assert not list(tmp_path.glob("*.partial"))


def test_of_the_loss_the_lowest_wins(batches, tmp_path):
    losses = {1: 2.0, 2: 1.0, 3: 3.0}
    progress = train(
        objective(),
        batches,
        lambda network, epoch: {"validation/loss": losses[epoch]},
        settings(selection="loss"),
        Recorded(),
        tmp_path,
        EXTRA,
    )
    assert progress.best_epoch == 2


def test_patience_ends_a_run_that_no_longer_improves(batches, tmp_path):
    progress = train(
        objective(),
        batches,
        lambda network, epoch: {"validation/accuracy": 1.0 / epoch},
        settings(epochs=10, patience=2),
        Recorded(),
        tmp_path,
        EXTRA,
    )
    assert (progress.epoch, progress.best_epoch) == (3, 1)


def test_every_epoch_records_losses_accuracies_rate_and_speed(batches, tmp_path):
    recorder = Recorded()
    train(objective(), batches, validate, settings(), recorder, tmp_path, EXTRA)
    assert [step for step, _ in recorder.points] == [1, 2, 3]
    for _, figures in recorder.points:
        assert {"train/loss", "train/accuracy", "validation/accuracy", "validation/loss", "lr"} <= figures.keys()
        assert figures["train/images_per_second"] > 0
        assert 0 <= figures["train/accuracy"] <= 1


def test_training_lowers_the_loss_on_images_it_can_memorise(images, tmp_path):
    batches = training_batches(images, batch_size=14, seed=0)
    recorder = Recorded()
    train(objective(), batches, validate, settings(epochs=40), recorder, tmp_path, EXTRA)
    assert recorder.points[-1][1]["train/loss"] < 0.7 * recorder.points[0][1]["train/loss"]


def test_a_loss_that_is_no_number_ends_the_run_with_a_cure(batches, tmp_path):
    broken = objective()
    with torch.no_grad():
        broken.network.head[1].bias.fill_(math.nan)
    with pytest.raises(ModelError, match="smaller lr"):
        train(broken, batches, validate, settings(), Recorded(), tmp_path, EXTRA)


class PoisonedBatches:
    """Batches of which one ends in a loss that is not a number, and after which a signal may arrive."""

    def __init__(self, inner: TrainingBatches, epoch: int, step: int, signal_step: int | None = None) -> None:
        self.inner, self.at, self.signal_step = inner, (epoch, step), signal_step
        self.drawn = 0

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(self.inner.epoch(epoch, start), start=start):
            self.drawn += 1
            if (epoch, step) == self.at:
                batch.images[0, 0, 0, 0] = math.nan
            if (epoch, step) == (self.at[0], self.signal_step):
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch


@pytest.mark.parametrize("signal_step", [2, 3], ids=["in the same step", "a step later"])
def test_a_signal_after_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(
    batches, tmp_path, signal_step, capsys
):
    train(objective(), batches, validate, settings(epochs=1), Recorded(), tmp_path / "one", EXTRA)
    poisoned = PoisonedBatches(batches, epoch=1, step=2, signal_step=signal_step)
    with pytest.raises(Interrupted):
        train(objective(), poisoned, validate, settings(warmup_epochs=0), Recorded(), tmp_path, EXTRA)
    assert finite(tmp_path / LAST)
    assert torch.load(tmp_path / LAST, weights_only=True)["progress"]["epoch"] == 1
    assert f"{LAST} was not written again" in capsys.readouterr().out


def test_weights_spoilt_by_an_epochs_last_step_are_not_saved(batches, tmp_path):
    # The loss of that step was computed before, and is finite.
    made = objective()
    steps = iter(range(10 * len(batches)))

    def spoil(module: nn.Module, inputs: object, output: object) -> None:
        if module.training and next(steps) == 2 * len(batches) - 1:
            module.network.head[1].bias.register_hook(lambda gradient: gradient * math.nan)

    made.register_forward_hook(spoil)
    with pytest.raises(ModelError, match="not finite at step 5 of epoch 2"):
        train(made, batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    assert finite(tmp_path / LAST)
    assert torch.load(tmp_path / LAST, weights_only=True)["progress"]["epoch"] == 1


def test_a_long_epoch_is_not_computed_for_nothing(images, tmp_path, monkeypatch):
    monkeypatch.setattr("fer.training.loop.CHECK_LOSS_EVERY", 4)
    many = training_batches(images, images.indices("train").repeat(10))
    poisoned = PoisonedBatches(many, epoch=0, step=5)
    with pytest.raises(ModelError, match="not finite at step 8 of epoch 1"):
        train(objective(), poisoned, validate, settings(), Recorded(), tmp_path, EXTRA)
    assert poisoned.drawn == 8 < len(many)
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize("largest", [0.0, 0.1])
def test_gradients_are_clipped_to_the_largest_norm(images, tmp_path, largest):
    # One step of plain SGD at a rate of 1 moves the weights by the gradient.
    batches = training_batches(images, images.indices("train")[:8])
    once = settings(epochs=1, lr=1.0, optimizer="sgd", momentum=0.0, weight_decay=0.0, warmup_epochs=0.0)
    made = objective()
    before = [parameter.detach().clone() for parameter in made.parameters()]
    train(made, batches, validate, replace(once, clip_grad_norm=largest), Recorded(), tmp_path, EXTRA)
    steps = [(old - new.detach()).flatten() for old, new in zip(before, made.parameters(), strict=True)]
    moved = float(torch.cat(steps).norm())
    assert moved == pytest.approx(largest, rel=1e-3) if largest else moved > 0.2


def test_the_average_differs_from_the_weights_and_is_what_is_kept(batches, tmp_path):
    made = objective()
    train(made, batches, validate, settings(ema=0.99), Recorded(), tmp_path, EXTRA)
    assert not equal(weights(tmp_path / LAST), made.network.state_dict())
    with_none = objective()
    train(with_none, batches, validate, settings(), Recorded(), tmp_path / "plain", EXTRA)
    assert equal(weights(tmp_path / "plain" / LAST), with_none.network.state_dict())
    assert equal(made.network.state_dict(), with_none.network.state_dict())


def test_a_best_checkpoint_cannot_be_continued(batches, tmp_path):
    train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    with pytest.raises(ModelError, match=LAST):
        train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA, tmp_path / BEST)


def test_a_checkpoint_of_another_format_is_refused_with_the_cure(batches, tmp_path):
    train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    content = torch.load(tmp_path / LAST, weights_only=True)
    assert content["format"] == CHECKPOINT_FORMAT
    torch.save(content | {"format": CHECKPOINT_FORMAT + 1}, tmp_path / LAST)
    with pytest.raises(ModelError, match="another version of fer: train again, or resume with that version"):
        train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA, tmp_path / LAST)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("progress", {"epoch": "one"}, "is damaged: it does not say how far its training got"),
        ("progress", {"epochs": 1}, "is damaged: it does not say how far its training got"),
        ("progress", {"history": [{"train/loss": "low"}]}, "is damaged: it does not say how far its training got"),
        ("progress", None, "is damaged: it does not say how far its training got"),
        ("objective", {"a": torch.zeros(1)}, r"does not fit this training \(RuntimeError: .*\): continue from another"),
        ("optimizer", [], r"does not fit this training \(.*\): continue from another"),
        ("scheduler", "none", r"does not fit this training \(.*\): continue from another"),
        ("rng_state", [["seed"]], r"does not fit this training \(TypeError: .*\): continue from another"),
    ],
    ids=str,
)
def test_a_checkpoint_that_was_edited_is_refused_in_a_sentence(batches, tmp_path, key, value, fault):
    train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    content = torch.load(tmp_path / LAST, weights_only=True)
    torch.save(content | {key: value}, tmp_path / LAST)
    with pytest.raises(ModelError, match=fault) as refusal:
        train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA, tmp_path / LAST)
    assert len(str(refusal.value)) < 300 + len(str(tmp_path))


def test_checkpoints_carry_what_they_are_given_and_load_without_code(batches, tmp_path):
    train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    for name in (LAST, BEST):
        content = torch.load(tmp_path / name, weights_only=True)
        assert content["spec"] == EXTRA["spec"]
        assert content["config"] == EXTRA["config"]
        assert Progress(**content["progress"]).history


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_one_before(batches, tmp_path, monkeypatch):
    forced: dict[int, int] = {}
    real = os.fsync

    def force(descriptor: int) -> None:
        status = os.fstat(descriptor)
        assert status.st_ino not in {path.stat().st_ino for path in (tmp_path / LAST, tmp_path / BEST) if path.exists()}
        real(descriptor)
        forced[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", force)
    train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    for name in (LAST, BEST):
        status = (tmp_path / name).stat()
        assert forced[status.st_ino] == status.st_size


def test_the_rate_rises_linearly_then_falls_to_nothing():
    factor = rate_factor(settings(epochs=10, warmup_epochs=2.0), steps_per_epoch=10)
    rates = [factor(step) for step in range(101)]
    assert rates[:20] == pytest.approx([(n + 1) / 21 for n in range(20)])
    assert max(rates) == pytest.approx(1)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("question", [1, 3, 5, 6, 9], ids=lambda question: f"question {question}")
def test_a_signal_that_comes_while_the_processes_ask_each_other_is_not_lost(batches, tmp_path, monkeypatch, question):
    asked = []

    def all_reduce_max(peers: Peers, number: int) -> int:
        asked.append(number)
        if len(asked) == question:
            os.kill(os.getpid(), signal.SIGTERM)  # after the number was given, before the answer is there
        return number

    monkeypatch.setattr(Peers, "all_reduce_max", all_reduce_max)
    with pytest.raises(Interrupted) as stop:
        train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)
    assert stop.value.signum == signal.SIGTERM
    assert len(asked) == question + 1
    assert (tmp_path / LAST).is_file()


def test_a_signal_after_the_last_question_still_ends_in_words(batches, tmp_path, monkeypatch):
    asked = []

    def all_reduce_max(peers: Peers, number: int) -> int:
        asked.append(number)
        if len(asked) == 3 * (len(batches) + 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return number

    monkeypatch.setattr(Peers, "all_reduce_max", all_reduce_max)
    with pytest.raises(Interrupted):
        train(objective(), batches, validate, settings(), Recorded(), tmp_path, EXTRA)


def test_a_second_ctrl_c_does_not_wait(batches, tmp_path):
    class Twice(SignalledBatches):
        def epoch(self, epoch, start=0):
            for batch in super().epoch(epoch, start):
                if (epoch, start) == self.at:
                    os.kill(os.getpid(), self.number)
                yield batch

    with pytest.raises(Interrupted) as stop:
        train(objective(), Twice(batches, 0, 0, signal.SIGINT), validate, settings(), Recorded(), tmp_path, EXTRA)
    assert stop.value.signum == signal.SIGINT
    assert not (tmp_path / LAST).exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said():
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="device=auto"):
        pick_device("cuda")
