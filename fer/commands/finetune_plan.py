"""What a `finetune` configuration means on this machine, and what of it must be refused before a run begins."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from fer.commands.prepare import unprepared
from fer.config import FinetuneConfig
from fer.data.augment import Strengths
from fer.data.places import data_root
from fer.data.registry import resolve
from fer.data.sources import DataSet
from fer.devices import pick_device
from fer.errors import ConfigError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import arch_options
from fer.models.weights import check_init, read_file
from fer.optimization import Settings
from fer.options import default_of
from fer.tracking.registry import fetch_file
from fer.training import LAST

MACHINE_OPTIONS = ("data_root", "output", "resume", "config", "evaluate_on")
"""Options that may differ between a run and its continuation."""


@dataclass(frozen=True)
class Plan:
    """A checked configuration and what follows from it.

    Attributes:
        config: The configuration.
        root: The data root.
        sets: The training sets.
        device: Where to compute.
        init: Starting weights, `auto` resolved.
        arch_options: Arguments of torchvision's builder.
        registered_name: The registered model, `auto` resolved; empty for none.
    """

    config: FinetuneConfig
    root: Path
    sets: list[DataSet]
    device: torch.device
    init: str
    arch_options: dict[str, Any]
    registered_name: str

    def derived(self) -> dict[str, Any]:
        """Return what the options mean here, for the record."""
        return {
            "init_used": self.init,
            "registered_name_used": self.registered_name or "none",
            "data_root_used": self.root,
            "device_used": self.device.type,
        }

    def strengths(self) -> Strengths:
        """Return how far training images are changed."""
        c = self.config
        return Strengths(c.flip, c.rotate, c.crop, c.jitter, c.erase) if c.augment else Strengths()

    def settings(self, bf16: bool) -> Settings:
        """Return how to optimise."""
        shared = {item.name for item in fields(Settings)} & {item.name for item in fields(FinetuneConfig)}
        return Settings(bf16=bf16, **{key: getattr(self.config, key) for key in shared})


def make_plan(config: FinetuneConfig) -> Plan:
    """Check a configuration against this machine.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent.
    """
    root = data_root(config.data_root)
    sets = _training_sets(config.dataset)
    unprepared(sets, root)
    drawn = all(dataset.drawn for dataset in sets)
    init = config.init if config.init != "auto" else ("scratch" if drawn else "supervised-imagenet")
    check_init(init)
    if config.evaluate_on != "prepared":
        resolve(config.evaluate_on)
    if config.class_weights and (len(config.class_weights) != len(EXPRESSIONS) or config.loss == "balanced"):
        raise ConfigError(
            f"class_weights takes {len(EXPRESSIONS)} numbers and replaces loss=balanced: give one of them"
        )
    names = {"auto": "fer-demo" if drawn else "fer", "none": ""}
    return Plan(
        config=config,
        root=root,
        sets=sets,
        device=pick_device(config.device),
        init=init,
        arch_options=arch_options(config.arch, config.image_size),
        registered_name=names.get(config.registered_name, config.registered_name),
    )


def _training_sets(option: str) -> list[DataSet]:
    """Return the sets to train on: of a group such as `drawn` those with training images, else exactly those named."""
    sets = resolve(option)
    for dataset in sets:
        if not dataset.has_train and dataset.name in option.split("+"):
            raise ConfigError(f"{dataset.title} is a test set: it has no training images")
    chosen = [dataset for dataset in sets if dataset.has_train]
    if not chosen:
        raise ConfigError(f"dataset {option!r} has no training images")
    return chosen


def find_checkpoint(config: FinetuneConfig, downloads: Path) -> Path | None:
    """Return the checkpoint to continue from, or None for a fresh start.

    A run that was killed outright has its checkpoint in the output folder only.

    Args:
        config: The configuration; its `resume` is a run's id or a file.
        downloads: Folder for a checkpoint that only the tracking server has.

    Raises:
        ModelError: There is none.
    """
    if not config.resume:
        return None
    local = Path(config.output) / config.resume / LAST
    for path in (Path(config.resume).expanduser(), local):
        if path.is_file():
            return path
    return fetch_file(config.resume, f"checkpoints/{LAST}", downloads)


def continued(config: FinetuneConfig, checkpoint: Path) -> FinetuneConfig:
    """Return the stopped run's configuration with this machine's places.

    Raises:
        ConfigError: An option given now differs from the stopped run's.
        ModelError: The checkpoint is none of `finetune`.
    """
    stored = read_file(checkpoint).get("config")
    if not isinstance(stored, dict):
        raise ModelError(f"{checkpoint} is no checkpoint of finetune")
    before = FinetuneConfig(**stored)
    for item in fields(FinetuneConfig):
        now, then = getattr(config, item.name), getattr(before, item.name)
        if item.name not in MACHINE_OPTIONS and now not in (then, default_of(item)):
            raise ConfigError(
                f"resume continues with {item.name}={then}, not {now}: leave {item.name} out, or start a new run"
            )
    return replace(before, **{name: getattr(config, name) for name in MACHINE_OPTIONS})
