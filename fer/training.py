"""The training loop: precision and device by Lightning Fabric, exact resume, checkpoints, signals, progress."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from fer.data.batches import Batch
from fer.devices import make_fabric, pick_device
from fer.errors import Interrupted, ModelError
from fer.optimization import Settings, make_average, make_optimizer, rate_factor
from fer.signals import StopRequest, deferring

LAST, BEST = "last.ckpt", "best.ckpt"


class Recorder(Protocol):
    """Where a run's figures go; training knows nothing else of tracking."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep figures of one step."""


class Batches(Protocol):
    """Batches that can be drawn again from any epoch and step."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches from step `start` on."""


@dataclass
class Progress:
    """Where training stands; part of every checkpoint.

    Attributes:
        epoch: Epoch under way, from 0.
        step: Steps done in it.
        sums: Loss, accuracy and seconds summed over those steps.
        best_score: Best validation score so far, higher is better.
        best_epoch: Its epoch, from 1; 0 before any.
        history: Figures of each finished epoch.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_score: float = -math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    objective: nn.Module,
    batches: Batches,
    validate: Callable[[nn.Module, int], dict[str, float]],
    settings: Settings,
    recorder: Recorder,
    folder: Path,
    carried: Mapping[str, Any],
    resume: Path | None = None,
) -> Progress:
    """Train to the end, or continue exactly where a checkpoint stopped.

    Args:
        objective: Module with `network` and `forward(images, labels) -> (loss, {"accuracy": ...})`.
        batches: Training batches.
        validate: Maps (network in evaluation mode, epoch from 1) to figures such as `validation/accuracy`; they must
            hold `validation/<selection>`.
        settings: How to optimise.
        recorder: Gets the figures of every epoch, with the epoch from 1 as step.
        folder: For `last.ckpt` (every epoch, and on a signal) and `best.ckpt`.
        carried: Stored in both checkpoints as it is.
        resume: A `last.ckpt`; its finished epochs are recorded again, so that the new run is whole.

    Returns:
        Where training ended; `best.ckpt` holds the network of `best_epoch`.

    Raises:
        Interrupted: A signal came; `last.ckpt` holds the state after the last whole step.
        ModelError: The loss is no longer a number, or the checkpoint does not fit.
    """
    loop = _Loop(objective, batches, settings, folder, carried)
    if resume:
        loop.load(resume)
        for number, figures in enumerate(loop.progress.history, start=1):
            recorder.metrics(figures, number)
    with deferring() as request, loop.bar() as bar:
        while not loop.finished():
            loop.run_epoch(request, bar)
            if not request.signum:
                recorder.metrics(loop.end_epoch(validate), loop.progress.epoch)
                tqdm.write(_line(loop.progress, settings))
            if request.signum:
                loop.save(LAST)
                raise Interrupted(request.signum)
    return loop.progress


class _Loop:
    """The state of one training and the steps that change it."""

    def __init__(
        self, objective: nn.Module, batches: Batches, settings: Settings, folder: Path, carried: Mapping[str, Any]
    ) -> None:
        device = pick_device(settings.device)
        self.fabric = make_fabric(device, settings.bf16)
        self.settings, self.batches, self.folder, self.carried = settings, batches, folder, carried
        self.network: nn.Module = objective.network  # type: ignore[assignment]
        self.network.to(memory_format=torch.channels_last)
        self.raw = objective.to(device)
        optimizer = make_optimizer(objective, settings)
        self.objective, self.optimizer = self.fabric.setup(objective, optimizer)
        self.scheduler = LambdaLR(optimizer, rate_factor(settings, len(batches)))
        self.average = make_average(self.network, settings.ema) if settings.ema else None
        self.progress = Progress()
        torch.manual_seed(settings.seed)  # dropout and stochastic depth
        folder.mkdir(parents=True, exist_ok=True)

    def bar(self) -> "tqdm[Any]":
        """Return the progress bar over all steps left."""
        total, done = self.settings.epochs * len(self.batches), self._done()
        # Seldom where nobody watches: a log file keeps every refresh.
        interval = 0.2 if os.isatty(2) else 10.0
        return tqdm(total=total, initial=done, desc="train", unit="step", mininterval=interval, maxinterval=interval)

    def _done(self) -> int:
        return self.progress.epoch * len(self.batches) + self.progress.step

    def finished(self) -> bool:
        """Return whether the last epoch is over or patience has run out."""
        at, settings = self.progress, self.settings
        waited = at.epoch - at.best_epoch
        return at.epoch >= settings.epochs or (0 < settings.patience <= waited and at.epoch > 0)

    def run_epoch(self, request: StopRequest, bar: "tqdm[Any]") -> None:
        """Do the epoch's remaining steps, or those until a signal comes."""
        at = self.progress
        bar.update(self._done() - bar.n)
        self.objective.train()
        started, images = time.perf_counter(), at.sums.get("images", 0.0)
        sums = {key: torch.tensor(at.sums.get(key, 0.0), dtype=torch.float64) for key in ("loss", "accuracy")}
        for batch in self.batches.epoch(at.epoch, start=at.step):
            loss, logs = self.objective(batch.images, batch.labels)
            self.fabric.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.scheduler.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            # Kept on the device: reading a value every step would make a GPU wait.
            sums["loss"] = sums["loss"].to(loss.device) + loss.detach()
            sums["accuracy"] = sums["accuracy"].to(loss.device) + logs["accuracy"]
            images += len(batch.labels)
            at.step += 1
            bar.update()
            if request.signum:
                break
        at.sums = {key: float(value) for key, value in sums.items()} | {
            "seconds": at.sums.get("seconds", 0.0) + time.perf_counter() - started,
            "images": images,
        }

    def end_epoch(self, validate: Callable[[nn.Module, int], dict[str, float]]) -> dict[str, float]:
        """Validate, choose, save, and return the epoch's figures."""
        at, sums = self.progress, self.progress.sums
        loss = sums["loss"] / at.step
        if not math.isfinite(loss):
            raise ModelError(f"the loss of epoch {at.epoch + 1} is {loss}: try a smaller lr or precision=fp32")
        network = self.kept()
        was_training = network.training
        checked = validate(network.eval(), at.epoch + 1)
        network.train(was_training)
        figures: dict[str, float] = {
            "train/loss": loss,
            "train/accuracy": sums["accuracy"] / at.step,
            "train/images_per_second": sums["images"] / sums["seconds"],
            "lr": float(self.scheduler.get_last_lr()[0]),
            **checked,
        }
        score = checked[f"validation/{self.settings.selection}"] * (-1 if self.settings.selection == "loss" else 1)
        at.history.append(figures)
        at.epoch, at.step, at.sums = at.epoch + 1, 0, {}
        if score > at.best_score:
            at.best_score, at.best_epoch = score, at.epoch
            self.save(BEST)
        self.save(LAST)
        return figures

    def kept(self) -> nn.Module:
        """Return the network that is validated and stored: the average where there is one."""
        return self.average.module if self.average is not None else self.network

    def save(self, name: str) -> None:
        """Write a checkpoint; a reader sees the old or the new one, never a part."""
        content: dict[str, Any] = {**self.carried, "progress": vars(self.progress), "model": self.kept().state_dict()}
        if name == LAST:
            content |= {
                "objective": self.raw.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "random": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            }
        partial = self.folder / f"{name}.partial"
        torch.save(content, partial)
        partial.replace(self.folder / name)

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
        torch.set_rng_state(content["random"].cpu())
        if content["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([state.cpu() for state in content["random_cuda"]])


def _line(at: Progress, settings: Settings) -> str:
    figures = at.history[-1]
    return (
        f"epoch {at.epoch}/{settings.epochs}  loss {figures['train/loss']:.3f}  "
        f"validation {settings.selection} {figures[f'validation/{settings.selection}']:.3f}"
        f"{' (best)' if at.best_epoch == at.epoch else ''}  {figures['train/images_per_second']:.0f} images/s"
    )
