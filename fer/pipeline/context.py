"""Open the run of a training, with all that its steps share, be it `finetune` or `pretrain`."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import DATASETS, find_source, missing_download, resolve_datasets
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import PackedImages, pack, packed_side
from fer.data.prepared import is_prepared
from fer.errors import ConfigError, quoted
from fer.models.backbones import Classifier, Encoder, arch_options
from fer.models.initial_weights import check_init
from fer.tracking.lifecycle import tracked
from fer.tracking.names import CHECKPOINTS, DIGEST, RESUMED_FROM, UNRESOLVED, dataset_tag
from fer.tracking.runs import TrackedRun
from fer.training.devices import pick_device, use_bf16
from fer.training.optimization import OptimizationSettings, clip_grad_norm
from fer.utils.paths import manifest_path, resolve_data_root
from fer.utils.processes import local_rank, world_size

C = TypeVar("C", FinetuneConfig, PretrainConfig)
EVALUATION_BATCH = 128
"""Images per step in validation and tests."""
POLL_SECONDS = 0.5
"""How often a process looks whether another one on its machine has prepared the sets."""


@dataclass(frozen=True)
class RunContext(Generic[C]):
    """What every step of one training works with.

    Attributes:
        run: The open MLflow run.
        root: The data root.
        device: Where to compute.
        precision: `bf16` or `fp32`, in which training computes; `auto` until the network is known.
        config: The configuration.
    """

    run: TrackedRun
    root: Path
    device: torch.device
    precision: str
    config: C

    @property
    def folder(self) -> Path:
        """Return the folder of the checkpoints while the run lasts."""
        return Path(self.config.output).resolve() / self.run.id

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

    def settings(self, **own: Any) -> OptimizationSettings:
        """Return how to optimise: the options that bear the names of settings, and what a command decides itself."""
        named = {item.name for item in fields(OptimizationSettings)} & {item.name for item in fields(self.config)}
        given = {name: getattr(self.config, name) for name in named}
        given["clip_grad_norm"] = clip_grad_norm(self.config.clip_grad_norm, self.config.arch)
        given["bf16"] = self.precision == "bf16"
        return OptimizationSettings(**{**given, **own})

    def open_images(self, sets: Sequence[DataSet]) -> tuple[PackedImages, list[Manifest]]:
        """Return the images of whole sets, packed at the size that suits the network, and their manifests."""
        manifests = [read_manifest(manifest_path(self.root, dataset.name)) for dataset in sets]
        packed = []
        for dataset, manifest in zip(sets, manifests, strict=True):
            side = packed_side(dataset.native_side, self.config.image_size)
            packed.append((manifest, pack(manifest, self.root, side)))
        return PackedImages(packed, self.device), manifests

    def log_inputs(self, manifests: Sequence[Manifest], purposes: Mapping[str, str], images: int) -> None:
        """Log what is trained on.

        Args:
            manifests: Of the training sets.
            purposes: What each split that is used is used for.
            images: How many images are trained on, which may be fewer than the splits hold.
        """
        for manifest in manifests:
            for split, purpose in purposes.items():
                log_dataset(self.run, manifest.of(split), self.root, purpose)
            self.run.tags({dataset_tag(manifest.dataset, DIGEST): manifest.digest})
        self.run.params({"precision_used": self.precision, "training_images": images})
        if self.config.resume:
            self.run.tags({RESUMED_FROM: self.config.resume})


@contextmanager
def training_run(
    command: str, config: C, name: str, resolved: Mapping[str, Any], checkpoints: Sequence[str]
) -> Iterator[RunContext[C]]:
    """Run a training's body inside an MLflow run that keeps its checkpoints, whatever the ending.

    Args:
        command: `finetune` or `pretrain`.
        config: What to do.
        name: The run's name.
        resolved: What the options mean on this machine, logged as parameters.
        checkpoints: File names of the checkpoints that the run keeps.

    Yields:
        The context of all steps.
    """
    root = resolve_data_root(config.data_root)
    device = pick_device(config.device)
    with tracked(command, config, name, resolved) as run:
        context = RunContext(run, root, device, config.precision, config)
        try:
            yield context
        finally:
            # A run that failed or was stopped is continued from these, on another machine perhaps.
            for file in checkpoints:
                if (context.folder / file).is_file():
                    run.file(context.folder / file, CHECKPOINTS)
    # Not in `finally`: after another ending the folder is the nearest place to continue from.
    shutil.rmtree(context.folder)


def resolved_options(config: FinetuneConfig | PretrainConfig) -> dict[str, Any]:
    """Return what options that both trainings have mean on this machine, as parameters of the run."""
    return {
        "clip_grad_norm_used": clip_grad_norm(config.clip_grad_norm, config.arch),
        "data_root_used": resolve_data_root(config.data_root),
        "device_used": pick_device(config.device).type,
    }


def check_training(config: FinetuneConfig | PretrainConfig, sets: Sequence[DataSet], init: str) -> None:
    """Refuse, before a run begins, what cannot be trained.

    Args:
        config: What to do.
        sets: All sets it needs.
        init: Where to start, `auto` resolved.

    Raises:
        ConfigError: Options are wrong, or the processes cannot share a batch evenly.
        DataError: A set's download is absent.
    """
    if config.batch_size % world_size():
        raise ConfigError(f"batch_size must be a multiple of the {world_size()} processes, not {config.batch_size}")
    unprepared(sets, resolve_data_root(config.data_root))
    arch_options(config.arch, config.image_size)
    check_init(init)
    pick_device(config.device)


def training_sets(option: str) -> list[DataSet]:
    """Return the sets to train on: of a group such as `drawn` those with training images, else exactly those named.

    Raises:
        ConfigError: A name is unknown, or a set has no training images.
    """
    sets = resolve_datasets(option)
    for dataset in sets:
        if not dataset.has_train and dataset.name in option.split("+"):
            raise ConfigError(f"{dataset.title} is a test set: it has no training images")
    chosen = [dataset for dataset in sets if dataset.has_train]
    if not chosen:
        raise ConfigError(f"dataset {quoted(option)} has no training images")
    return chosen


def unprepared(sets: Sequence[DataSet], root: Path) -> list[DataSet]:
    """Return the sets not prepared by this version, having made sure that each can be prepared.

    Raises:
        DataError: A set's download is in none of its usual places.
    """
    missing = [dataset for dataset in sets if not is_prepared(root, dataset.name)]
    for dataset in missing:
        if not dataset.drawn and not dataset.download and find_source(dataset, "", root) is None:
            raise missing_download(dataset, root)
    return missing


def ensure_prepared(sets: Sequence[DataSet], root: Path) -> None:
    """Prepare the sets that are not prepared yet, in a run of their own.

    Of the processes on one machine the first prepares and the others wait.

    Raises:
        DataError: A set's download is in none of its usual places.
    """
    missing = unprepared(sets, root)
    if missing and local_rank() == 0:
        # Detector, contact sheets and drawn faces cost seconds that a training on prepared sets need not wait for.
        from fer.pipeline.prepare import prepare_named

        prepare_named([dataset.name for dataset in missing], root)
    while unprepared(sets, root):
        time.sleep(POLL_SECONDS)


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
    if dataset and dataset.credits and manifest.images:
        _log_credits(run, manifest, root)
    return handle


def _log_credits(run: TrackedRun, manifest: Manifest, root: Path) -> None:
    # Few sets ask for credits, and these bring templates and plain texts of HTML along.
    from fer.attribution.artifact import REFRESH_HINT, attribution_files, credits_of, summary

    credits = list(credits_of(manifest, root).values())
    for name, content in attribution_files(credits).items():
        run.text(content, f"attribution/{name}")
    unresolved = sum(not credit.resolved for credit in credits)
    run.tags({dataset_tag(manifest.dataset, UNRESOLVED): unresolved})
    hint = f"; {REFRESH_HINT}" if unresolved else ""
    print(f"attribution: {summary(credits)}{hint}")
