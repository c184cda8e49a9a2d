"""Open the run of a training, with all that its steps share, be it `finetune` or `pretrain`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import PackedImages, pack, packed_side
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.pipeline.fingerprints import training_fingerprint
from fer.pipeline.options import default_name, known_options, needed_sets, starting_weights
from fer.pipeline.requirements import check_training, ensure_prepared, unprepared
from fer.pipeline.resume import find_stopped
from fer.tracking.lifecycle import tracked
from fer.tracking.names import (
    ATTRIBUTION,
    CHECKPOINTS,
    CURVES_VIEW,
    DIGEST,
    PRETRAINING_VIEW,
    RESUMED_FROM,
    UNRESOLVED,
    dataset_tag,
)
from fer.tracking.naming import resolve_alias
from fer.tracking.runs import TrackedRun
from fer.training import Batches, Validate
from fer.training.checkpoints import place_best
from fer.training.devices import pick_device, use_bf16
from fer.training.loop import train
from fer.training.optimization import OptimizationSettings, clip_grad_norm
from fer.training.progress import Progress
from fer.utils.paths import manifest_path, resolve_data_root
from fer.utils.processes import rank

C = TypeVar("C", FinetuneConfig, PretrainConfig)
EVALUATION_BATCH = 128
"""Images per step in validation and tests."""


@dataclass(frozen=True)
class RunContext(Generic[C]):
    """What every step of one training works with.

    Attributes:
        run: The open MLflow run.
        root: The data root.
        device: Where to compute.
        precision: `bf16` or `fp32`, in which training computes; `auto` until the network is known.
        config: The configuration.
        init: The starting weights: their option with `auto` resolved, and an alias too, which moves while it trains.
        name: The run's name.
        checkpoint: What to continue from, or None for a fresh start.
    """

    run: TrackedRun
    root: Path
    device: torch.device
    precision: str
    config: C
    init: str = ""
    name: str = ""
    checkpoint: Path | None = None

    @property
    def folder(self) -> Path:
        """Return the folder of the checkpoints while the run lasts."""
        return self.run.folder

    def for_network(self, network: Classifier | Encoder, smallest_side: int) -> "RunContext[C]":
        """Return the context with the precision that suits a network.

        Args:
            network: What to train, still on the CPU.
            smallest_side: Side in pixels of the smallest images it is trained on.

        Raises:
            ConfigError: bf16 was asked for where torch computes wrong gradients in it.
        """
        bf16 = use_bf16(self.precision, self.device, network, smallest_side)
        return replace(self, precision="bf16" if bf16 else "fp32")

    def open_images(self, sets: Sequence[DataSet]) -> PackedImages:
        """Return the images of whole sets, packed at the size that suits the network."""
        packed = []
        for dataset in sets:
            manifest = read_manifest(manifest_path(self.root, dataset.name))
            # Not enlarged: what a picture does not hold is only memory.
            side = packed_side(dataset.native_side, self.config.image_size)
            packed.append((manifest, pack(manifest, self.root, side)))
        return PackedImages(packed, self.device)

    def log_inputs(self, images: PackedImages, purposes: Mapping[str, str], count: int) -> None:
        """Log what is trained on.

        Args:
            images: Of the training sets.
            purposes: What each split that is used is used for.
            count: How many images are trained on, which may be fewer than the splits hold.
        """
        # By its digest a run tells which images it saw, even when the set is prepared anew.
        for manifest in images.manifests:
            for split, purpose in purposes.items():
                log_dataset(self.run, manifest.of(split), self.root, purpose)
            self.run.tags({dataset_tag(manifest.dataset, DIGEST): manifest.digest})
        self.run.params({"precision": self.precision, "training_images": count})

    def settings(self, **own: Any) -> OptimizationSettings:
        """Return how to optimise: the options that bear the names of settings, and what a command decides itself."""
        config = self.config
        given = {}
        for item in fields(OptimizationSettings):
            if hasattr(config, item.name):
                given[item.name] = getattr(config, item.name)
        # These two mean something of their own until network and device are known.
        given["clip_grad_norm"] = clip_grad_norm(config.clip_grad_norm, config.arch)
        given["bf16"] = self.precision == "bf16"
        return OptimizationSettings(**{**given, **own})

    def train(
        self,
        objective: nn.Module,
        batches: Batches,
        validate: Validate,
        settings: OptimizationSettings,
        spec: ModelSpec,
    ) -> Progress:
        """Train, or continue from the checkpoint; `folder` then holds `last.ckpt` and `best.ckpt`.

        Args:
            objective: What to minimise.
            batches: Training batches.
            validate: Measures the network after each epoch.
            settings: How to optimise.
            spec: The network's specification.
        """
        # Before it begins, so that it can be watched there.
        self.run.views((CURVES_VIEW if isinstance(self.config, FinetuneConfig) else PRETRAINING_VIEW,))
        # By the specification a checkpoint can be loaded as a model, by the configuration it is continued as it began.
        extra_state = {"spec": spec.to_dict(), "config": asdict(self.config), "run_id": self.run.id}
        return train(
            objective,
            batches,
            validate,
            settings,
            self.run,
            self.folder,
            extra_state,
            self.checkpoint,
        )


@contextmanager
def training_run(command: str, config: C, checkpoints: Sequence[str], run_name: str = "") -> Iterator[RunContext[C]]:
    """Run a training's body inside an MLflow run, a new one or the one that `resume` names.

    Args:
        command: `finetune` or `pretrain`.
        config: What to do; with `resume` what the stopped run did.
        checkpoints: File names of the checkpoints that the finished run keeps.
        run_name: The run's name; empty for one made of the main options.

    Yields:
        The context of all steps; the sets are prepared.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set is absent.
        ModelError: The checkpoint cannot be used.
    """
    stopped = find_stopped(command, config)
    config = stopped.config
    check_training(config)
    # Once: an alias may stand for another version a moment later, for this very model perhaps.
    init = resolve_alias(starting_weights(config))
    name = run_name or default_name(config, init)
    root = resolve_data_root(config.data_root)
    device = pick_device(config.device)
    sets = needed_sets(config)
    # By it `resume=auto` and `experiment` find the run, should it be stopped: from its first moment on, if it can be.
    mark = "" if unprepared(sets, root) else training_fingerprint(command, config)
    with tracked(command, config, name, known_options(config, init), stopped.run_id, mark) as run:
        context = RunContext(run, root, device, config.precision, config, init, name, stopped.checkpoint)
        ensure_prepared(sets, root)
        run.mark(mark or training_fingerprint(command, config))
        if stopped.run_id or stopped.checkpoint:
            run.tags({RESUMED_FROM: stopped.run_id or config.resume})
        if stopped.checkpoint and rank() == 0:
            place_best(stopped.checkpoint, context.folder)
        yield context
        for file in checkpoints:
            run.file(context.folder / file, CHECKPOINTS)
        # What a training that has ended cannot be continued from need not be kept.
        run.forget_checkpoints()


def log_dataset(run: TrackedRun, manifest: Manifest, root: Path, context: str) -> Any:
    """Log a set as an input of a run and, if its licences ask for it, its pictures' credits beside it.

    Every command logs what it trains, tests or draws on through here, so that none can forget the credits.

    Args:
        run: The run.
        manifest: The set, or the part of it that was used.
        root: The data root it lies under.
        context: What it was used for, such as `training`.

    Returns:
        MLflow's handle of the set.

    Raises:
        DataError: A picture can no longer be read, or the data root's record of credits is damaged.
    """
    handle = run.dataset(manifest, root, context)
    dataset = DATASETS.get(manifest.dataset)
    if not (dataset and dataset.credits and manifest.images):
        return handle
    # Few sets ask for credits, and these bring templates and plain texts of HTML along.
    from fer.attribution.artifact import REFRESH_HINT, attribution_files, credits_of, summary

    credits = list(credits_of(manifest, root).values())
    for name, content in attribution_files(credits).items():
        run.text(content, f"{ATTRIBUTION}/{name}")
    unresolved = sum(not credit.resolved for credit in credits)
    run.tags({dataset_tag(manifest.dataset, UNRESOLVED): unresolved})
    hint = f"; {REFRESH_HINT}" if unresolved else ""
    print(f"attribution: {summary(credits)}{hint}")
    return handle
