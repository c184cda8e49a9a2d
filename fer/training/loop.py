"""The training loop: precision and device by Lightning Fabric, exact resume, checkpoints, signals, progress."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from fer.errors import Interrupted, ModelError
from fer.models.backbones import train_small_maps_fast
from fer.training import AfterStep, Batches, Recorder, TrainingBatch, Validate
from fer.training.checkpoints import TrainingState, all_finite
from fer.training.devices import make_fabric, pick_device
from fer.training.optimization import OptimizationSettings, make_average, make_optimizer, make_schedule
from fer.training.progress import Progress
from fer.training.saving import CheckpointWriter, EpochSums
from fer.utils.distributed import Peers
from fer.utils.processes import StopRequest, deferring, exit_nonzero_ranks, rank, world_size

CHECK_LOSS_EVERY = 50
"""Steps after which the loss is read, to stop a training that diverged: reading it makes a GPU wait."""


def train(
    objective: nn.Module,
    batches: Batches,
    validate: Validate,
    settings: OptimizationSettings,
    recorder: Recorder,
    folder: Path,
    extra_state: Mapping[str, Any],
    resume: Path | None = None,
) -> Progress:
    """Train to the end, or continue exactly where a checkpoint stopped.

    Of several processes each calls this alike; gradients are averaged, and the first one validates and writes.

    Args:
        objective: Module with `network` and `forward(*batch.inputs) -> (loss, figures by name)`; it may define
            `after_step(step, total_steps)` (see `AfterStep`).
        batches: Training batches.
        validate: Measures the network after each epoch; its figures must hold `validation/<selection>`.
        settings: How to optimise.
        recorder: Gets the figures of every epoch, with the epoch from 1 as step, and word of every `last.ckpt`.
        folder: For `last.ckpt` (every epoch, within epochs as the settings say, and on a signal) and `best.ckpt`.
        extra_state: Stored in both checkpoints as it is.
        resume: A `last.ckpt`; its finished epochs are recorded again; a run that has them skips them.

    Returns:
        Where training ended; `best.ckpt` holds the network of `best_epoch`.

    Raises:
        Interrupted: A signal came; `last.ckpt` holds the state after the last whole step, or an earlier one if that
            step left something that is not finite. Processes but the first exit with code 0.
        ModelError: Loss or weights are no longer finite, or the checkpoint does not fit.
    """
    loop = _Loop(objective, batches, settings, recorder, folder, extra_state)
    if resume:
        loop.state.load(resume)
    # A machine may have kept none.
    loop.refuse_different_checkpoints(resume)
    for epoch, figures in enumerate(loop.state.progress.history, start=1):
        recorder.metrics(figures, epoch)
    with deferring() as request, loop.progress_bar() as bar:
        while not loop.finished():
            signum = loop.run_epoch(request, bar)
            if not signum:
                recorder.metrics(loop.end_epoch(validate), loop.state.progress.epoch)
                if rank() == 0:
                    tqdm.write(loop.state.progress.summary(settings.epochs, settings.selection))
                signum, _ = loop.agree(request)
            if signum:
                loop.writer.write_stopped()
                # What was trained is kept by the first, which may take longer than torchrun waits after a fault.
                exit_nonzero_ranks()
                raise Interrupted(signum)
    # A signal that came after the processes last agreed: the last epoch is saved already.
    if request.signum:
        raise Interrupted(request.signum)
    return loop.state.progress


class _Loop:
    """The state of one training and the steps that change it."""

    def __init__(
        self,
        objective: nn.Module,
        batches: Batches,
        settings: OptimizationSettings,
        recorder: Recorder,
        folder: Path,
        extra_state: Mapping[str, Any],
    ) -> None:
        device = pick_device(settings.device)
        self.fabric = make_fabric(device, settings.bf16, parts_rest=settings.freeze_epochs > 0)
        self.peers = Peers()
        self.settings = settings
        self.batches = batches
        self.total_steps = settings.epochs * len(batches)
        if device.type == "cuda" and world_size() > 1:
            # A process sees a part of the batch only; on CPUs torch has no shared statistics.
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)  # type: ignore[no-untyped-call]
        network: nn.Module = objective.network  # type: ignore[assignment]
        network.to(memory_format=torch.channels_last)
        train_small_maps_fast(network)
        objective.to(device)
        self.after_step: AfterStep | None = getattr(objective, "after_step", None)
        if settings.freeze == "backbone":
            # Before optimizer and processes take parameters to care for.
            self._set_learning(network, epoch=0)
        plain_optimizer = make_optimizer(objective, settings)
        self.objective, optimizer = self.fabric.setup(objective, plain_optimizer)
        self.state = TrainingState(
            objective=objective,
            network=network,
            average=make_average(network, settings.ema) if settings.ema else None,
            optimizer=optimizer,
            scheduler=make_schedule(plain_optimizer, settings, len(batches)),
            peers=self.peers,
            extra=extra_state,
        )
        # Dropout and stochastic depth draw from the global generator, in each process differently.
        torch.manual_seed(settings.seed + rank())
        self.writer = CheckpointWriter(self.state, folder, recorder, settings.checkpoint_minutes)

    @property
    def steps_done(self) -> int:
        """Steps of the optimizer since the training's start."""
        return self.state.progress.epoch * len(self.batches) + self.state.progress.step

    def progress_bar(self) -> "tqdm[Any]":
        """Return the progress bar over all steps left."""
        # Seldom where nobody watches: a log file keeps every refresh.
        interval = 0.2 if os.isatty(2) else 10.0
        return tqdm(
            total=self.total_steps,
            initial=self.steps_done,
            desc="train",
            unit="step",
            mininterval=interval,
            maxinterval=interval,
            disable=rank() > 0,
        )

    def finished(self) -> bool:
        """Return whether the last epoch is over or patience has run out."""
        progress, patience = self.state.progress, self.settings.patience
        if progress.epoch >= self.settings.epochs:
            return True
        # A head that has learnt all it can must not end a training before the rest begins.
        waited = progress.epoch - max(progress.best_epoch, self.settings.freeze_epochs)
        return 0 < patience <= waited

    def refuse_different_checkpoints(self, resumed: Path | None) -> None:
        """Raise `ModelError` unless all processes go on from one place: machines may each have kept another one."""
        progress = self.state.progress
        places = set(self.peers.gather(f"epoch {progress.epoch}, step {progress.step}" if resumed else "none"))
        if len(places) > 1:
            listed = "; ".join(sorted(places))
            raise ModelError(f"the processes found different checkpoints ({listed}): give all one `output` folder")

    def agree(self, request: StopRequest) -> tuple[int, bool]:
        """Return the signal that has come to any process, 0 if none, and whether a checkpoint is due.

        All processes get the same. A signal that comes while they ask stays in the request until the next question:
        acting on it in the middle would part this process from the others.
        """
        # One number, of which the signal is the larger part: a second question would cost every step as much again.
        number = self.peers.all_reduce_max(2 * request.signum + self.writer.due())
        signum, due = divmod(number, 2)
        if signum:
            request.signum = signum
        return signum, due > 0

    def run_epoch(self, request: StopRequest, bar: "tqdm[Any]") -> int:
        """Do the epoch's remaining steps, or those until a signal comes to any process; return the signal or 0."""
        progress = self.state.progress
        bar.update(self.steps_done - bar.n)
        self.objective.train()
        self._set_learning(self.state.network, progress.epoch)
        signum, sums = 0, EpochSums(progress.sums)
        for batch in self.batches.epoch(progress.epoch, start=progress.step):
            sums.add(self._step(batch), len(batch) * world_size())
            bar.update()
            if progress.step % CHECK_LOSS_EVERY == 0:
                self._refuse_divergence(self.peers.any(not all_finite(sums.loss)))
            signum, due = self.agree(request)
            if signum:
                break
            if due:
                progress.sums = sums.read()
                self._refuse_divergence(self.state.diverged())
                self.writer.write()
        progress.sums = sums.read()
        return signum

    def _set_learning(self, network: nn.Module, epoch: int) -> None:
        """Freeze the network's backbone, or let it learn, as the settings want it in an epoch, from 0."""
        if self.settings.frozen_epochs:
            # Few trainings freeze anything.
            from fer.training.layers import set_backbone_learning

            set_backbone_learning(network, learns=epoch >= self.settings.frozen_epochs)

    def _step(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Update the weights by one batch; return its loss and the objective's figures."""
        optimizer = self.state.optimizer
        loss, logs = self.objective(*batch.inputs)
        self.fabric.backward(loss)
        max_norm = self.settings.clip_grad_norm
        if max_norm:
            # What is not finite is found later; asking here would make a GPU wait at every step.
            self.fabric.clip_gradients(self.objective, optimizer, max_norm=max_norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.state.scheduler.step()
        if self.state.average is not None:
            self.state.average.update_parameters(self.state.network)
        self.state.progress.step += 1
        if self.after_step is not None:
            self.after_step(self.steps_done, self.total_steps)
        return {"loss": loss.detach(), **logs}

    def end_epoch(self, validate: Validate) -> dict[str, float]:
        """Validate, keep the network if it is the best, save, and return the epoch's figures."""
        # Not only the loss: the last step may have spoilt the weights after it was computed.
        self._refuse_divergence(self.state.diverged())
        progress = self.state.progress
        figures = self.peers.mean(progress.training_figures())
        # Of several rates the head's, which stands first.
        figures["lr"] = float(self.state.scheduler.get_last_lr()[0])
        network = self.state.kept_network
        was_training = network.training
        network.eval()
        figures |= self.peers.broadcast_from_rank_zero(lambda: validate(network, progress.epoch + 1))
        network.train(was_training)
        self.writer.write(is_best=progress.end_epoch(figures, self.settings.selection, self.settings.choose))
        return figures

    def _refuse_divergence(self, diverged: bool) -> None:
        progress = self.state.progress
        if diverged:
            raise ModelError(
                f"training diverged: loss or weights are not finite at step {progress.step} of epoch "
                f"{progress.epoch + 1}; try a smaller lr, clip_grad_norm=1 or precision=fp32"
            )
