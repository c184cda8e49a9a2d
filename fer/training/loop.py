"""The training loop: precision and device by Lightning Fabric, exact resume, checkpoints, signals, progress."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from fer.errors import Interrupted, ModelError
from fer.models.small_maps import train_small_maps_fast
from fer.training.devices import make_fabric, pick_device
from fer.training.optimization import Settings, make_average, make_optimizer, make_schedule
from fer.training.state import BEST, LAST, Progress, all_finite, rng_state, set_rng_state, write
from fer.utils.distributed import Peers, rank, world_size
from fer.utils.signals import StopRequest, deferring

LOOK_EVERY = 50
"""Steps after which the loss is looked at, to stop a training that diverged: looking makes a GPU wait."""


class Recorder(Protocol):
    """Where a run's figures go; training knows nothing else of tracking."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep figures of one step."""


class TrainingBatch(Protocol):
    """What one step learns from."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Return what the objective is called with."""

    def __len__(self) -> int:
        """Return the number of images."""


class Batches(Protocol):
    """Batches that can be drawn again from any epoch and step; of several processes each draws its share."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[TrainingBatch]:
        """Yield an epoch's batches from step `start` on."""


def train(
    objective: nn.Module,
    batches: Batches,
    validate: Callable[[nn.Module, int], dict[str, float]],
    settings: Settings,
    recorder: Recorder,
    folder: Path,
    extra_state: Mapping[str, Any],
    resume: Path | None = None,
) -> Progress:
    """Train to the end, or continue exactly where a checkpoint stopped.

    Of several processes each calls this alike; gradients are averaged, and the first one validates and writes.

    Args:
        objective: Module with `network` and `forward(*batch.inputs) -> (loss, figures by name)`.
        batches: Training batches.
        validate: Maps (network in evaluation mode, epoch from 1) to figures such as `validation/accuracy`; they must
            hold `validation/<selection>`.
        settings: How to optimise.
        recorder: Gets the figures of every epoch, with the epoch from 1 as step.
        folder: For `last.ckpt` (every epoch, and on a signal) and `best.ckpt`.
        extra_state: Stored in both checkpoints as it is.
        resume: A `last.ckpt`; its finished epochs are recorded again, so that the new run is whole.

    Returns:
        Where training ended; `best.ckpt` holds the network of `best_epoch`.

    Raises:
        Interrupted: A signal came; `last.ckpt` holds the state after the last whole step, or an earlier one if that
            step left something that is not finite.
        ModelError: Loss or weights are no longer finite, or the checkpoint does not fit.
    """
    loop = _Loop(objective, batches, settings, folder, extra_state)
    if resume:
        loop.load(resume)
        for number, figures in enumerate(loop.progress.history, start=1):
            recorder.metrics(figures, number)
    with deferring() as request, loop.bar() as bar:
        while not loop.finished():
            signum = loop.run_epoch(request, bar)
            if not signum:
                recorder.metrics(loop.end_epoch(validate), loop.progress.epoch)
                if rank() == 0:
                    tqdm.write(loop.progress.line(settings.epochs, settings.selection))
                signum = loop.agreed(request)
            if signum:
                loop.save_stopped()
                raise Interrupted(signum)
    if request.signum:
        raise Interrupted(request.signum)  # it came after the last question; the last epoch is saved
    return loop.progress


class _Loop:
    """The state of one training and the steps that change it."""

    def __init__(
        self, objective: nn.Module, batches: Batches, settings: Settings, folder: Path, extra_state: Mapping[str, Any]
    ) -> None:
        device = pick_device(settings.device)
        self.fabric = make_fabric(device, settings.bf16)
        self.peers = Peers()
        self.settings, self.batches, self.folder, self.extra_state = settings, batches, folder, extra_state
        if device.type == "cuda" and world_size() > 1:
            # A process sees a part of the batch only; on CPUs torch has no shared statistics.
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)  # type: ignore[no-untyped-call]
        self.network: nn.Module = objective.network  # type: ignore[assignment]
        self.network.to(memory_format=torch.channels_last)
        train_small_maps_fast(self.network)
        self.raw = objective.to(device)
        optimizer = make_optimizer(objective, settings)
        self.objective, self.optimizer = self.fabric.setup(objective, optimizer)
        self.scheduler = make_schedule(optimizer, settings, len(batches))
        self.average = make_average(self.network, settings.ema) if settings.ema else None
        self.progress = Progress()
        torch.manual_seed(settings.seed + rank())  # dropout and stochastic depth
        folder.mkdir(parents=True, exist_ok=True)

    def bar(self) -> "tqdm[Any]":
        """Return the progress bar over all steps left."""
        total, done = self.settings.epochs * len(self.batches), self._done()
        # Seldom where nobody watches: a log file keeps every refresh.
        interval = 0.2 if os.isatty(2) else 10.0
        return tqdm(
            total=total, initial=done, desc="train", unit="step", mininterval=interval, maxinterval=interval,
            disable=rank() > 0,
        )  # fmt: skip

    def _done(self) -> int:
        return self.progress.epoch * len(self.batches) + self.progress.step

    def finished(self) -> bool:
        """Return whether the last epoch is over or patience has run out."""
        at, settings = self.progress, self.settings
        waited = at.epoch - at.best_epoch
        return at.epoch >= settings.epochs or (0 < settings.patience <= waited and at.epoch > 0)

    def agreed(self, request: StopRequest) -> int:
        """Return the signal that has come to any process, 0 if none; all processes get the same answer.

        One that comes while they ask stays in the request until the next question: acting on it in the middle would
        part this process from the others.
        """
        signum = self.peers.all_reduce_max(request.signum)
        if signum:
            request.signum = signum
        return signum

    def run_epoch(self, request: StopRequest, bar: "tqdm[Any]") -> int:
        """Do the epoch's remaining steps, or those until a signal comes to any process; return the signal or 0."""
        at, before, signum = self.progress, dict(self.progress.sums), 0
        bar.update(self._done() - bar.n)
        self.objective.train()
        started, images = time.perf_counter(), 0
        # Kept on the device: reading a value every step would make a GPU wait.
        sums: dict[str, Tensor] = {}
        for batch in self.batches.epoch(at.epoch, start=at.step):
            loss, logs = self.objective(*batch.inputs)
            self.fabric.backward(loss)
            if self.settings.clip_grad_norm:
                # What is not finite is found below; asking here would make a GPU wait at every step.
                self.fabric.clip_gradients(
                    self.objective, self.optimizer, max_norm=self.settings.clip_grad_norm, error_if_nonfinite=False
                )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.scheduler.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            for key, value in {"loss": loss.detach(), **logs}.items():
                sums[key] = sums.get(key, torch.tensor(before.get(key, 0.0), dtype=torch.float64)).to(value.device)
                sums[key] += value
            images += len(batch) * world_size()
            at.step += 1
            bar.update()
            if at.step % LOOK_EVERY == 0:
                self._refuse_divergence({"loss": sums["loss"]})
            signum = self.agreed(request)
            if signum:
                break
        figures = self.peers.mean({key: float(value) for key, value in sums.items()})
        at.sums = before | figures | {
            "seconds": before.get("seconds", 0.0) + time.perf_counter() - started,
            "images": before.get("images", 0.0) + images,
        }  # fmt: skip
        return signum

    def end_epoch(self, validate: Callable[[nn.Module, int], dict[str, float]]) -> dict[str, float]:
        """Validate, choose, save, and return the epoch's figures."""
        at, sums = self.progress, dict(self.progress.sums)
        seconds, images = sums.pop("seconds"), sums.pop("images")
        means = {f"train/{key}": total / at.step for key, total in sums.items()}
        # Not only the loss: the last step may have spoilt the weights after it was computed.
        self._refuse_divergence(self._whole_state())
        checked = self.peers.broadcast_from_rank_zero(lambda: self._validated(validate))
        figures = {
            **means,
            "train/images_per_second": images / seconds,
            "lr": float(self.scheduler.get_last_lr()[0]),
            **checked,
        }
        score = checked[f"validation/{self.settings.selection}"] * (-1 if self.settings.selection == "loss" else 1)
        at.history.append(figures)
        at.epoch, at.step, at.sums = at.epoch + 1, 0, {}
        if score > at.best_score or not self.settings.choose:
            at.best_score, at.best_epoch = score, at.epoch
            self.save(BEST)
        self.save(LAST)
        return figures

    def _validated(self, validate: Callable[[nn.Module, int], dict[str, float]]) -> dict[str, float]:
        network = self.kept()
        was_training = network.training
        checked = validate(network.eval(), self.progress.epoch + 1)
        network.train(was_training)
        return checked

    def kept(self) -> nn.Module:
        """Return the network that is validated and stored: the average where there is one."""
        return self.average.module if self.average is not None else self.network

    def _refuse_divergence(self, state: Any) -> None:
        """Stop where the loss or the weights are no longer finite.

        Raises:
            ModelError: As said.
        """
        if self._diverged(state):
            raise ModelError(
                f"training diverged: loss or weights are not finite at step {self.progress.step} of epoch "
                f"{self.progress.epoch + 1}; try a smaller lr, clip_grad_norm=1 or precision=fp32"
            )

    def _diverged(self, state: Any) -> bool:
        """Return whether a state is no longer finite in any process; all get the same answer."""
        return self.peers.any(not all_finite(state))

    def save_stopped(self) -> None:
        """Write the state at a signal; if it is no longer finite, the checkpoint before it stays."""
        if not self._diverged(self._whole_state()):
            self.save(LAST)
        elif rank() == 0:
            tqdm.write(f"loss or weights are not finite, so {LAST} was not written again")

    def _whole_state(self) -> dict[str, Any]:
        """Return all that must be finite for training to go on: what `LAST` holds, and the loss so far."""
        return {"loss": torch.tensor(self.progress.sums.get("loss", 0.0)), **self._state(LAST)}

    def save(self, name: str) -> None:
        """Write a checkpoint; of several processes the first does. The caller has found its state finite."""
        states = self.peers.gather(rng_state()) if name == LAST else []
        if rank() > 0:
            return
        content = {**self.extra_state, "progress": vars(self.progress), **self._state(name)}
        write(content | ({"rng_state": states} if name == LAST else {}), self.folder / name)

    def _state(self, name: str) -> dict[str, Any]:
        """Return what a checkpoint holds of network and optimizer."""
        state: dict[str, Any] = {"model": self.kept().state_dict()}
        if name == LAST:
            state |= {
                "objective": self.raw.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
            }
        return state

    def load(self, path: Path) -> None:
        """Take over the state of a `last.ckpt`."""
        content = torch.load(path, map_location=self.fabric.device, weights_only=True)
        if "objective" not in content:
            raise ModelError(f"{path} holds a model but no training state: continue from {LAST}")
        self.raw.load_state_dict(content["objective"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        self.progress = Progress(**content["progress"])
        if rank() < len(content["rng_state"]):
            set_rng_state(content["rng_state"][rank()])
