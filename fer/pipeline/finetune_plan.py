"""What a `finetune` configuration means on this machine, and what of it must be refused before a run begins."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from fer.config.training import FinetuneConfig
from fer.data.augment import Augmentation
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_datasets
from fer.errors import ConfigError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import arch_options
from fer.models.initial_weights import check_init
from fer.pipeline.prepare import unprepared
from fer.pipeline.training_sets import check_batch, training_sets
from fer.tracking.names import REGISTERED_NAME_USED
from fer.training.devices import pick_device
from fer.training.optimization import Settings, clip_grad_norm
from fer.utils.paths import resolve_data_root


@dataclass(frozen=True)
class Plan:
    """A checked configuration and what follows from it.

    Attributes:
        config: The configuration.
        root: The data root.
        sets: The training sets.
        device: Where to compute.
        init: Starting weights, `auto` resolved.
        registered_name: The registered model, `auto` resolved; empty for none.
    """

    config: FinetuneConfig
    root: Path
    sets: list[DataSet]
    device: torch.device
    init: str
    registered_name: str

    def derived(self) -> dict[str, Any]:
        """Return what the options mean here, for the record."""
        return {
            "init_used": self.init,
            REGISTERED_NAME_USED: self.registered_name or "none",
            "data_root_used": self.root,
            "device_used": self.device.type,
            "clip_grad_norm_used": clip_grad_norm(self.config.clip_grad_norm, self.config.arch),
        }

    def augmentation(self) -> Augmentation:
        """Return how far training images are changed."""
        c = self.config
        if not c.augment:
            return Augmentation()
        return Augmentation(flip=c.flip, rotate=c.rotate, crop_min=c.crop, jitter=c.jitter, erase=c.erase)

    def settings(self, bf16: bool) -> Settings:
        """Return how to optimise."""
        shared = {item.name for item in fields(Settings)} & {item.name for item in fields(FinetuneConfig)}
        given = {key: getattr(self.config, key) for key in shared}
        given["clip_grad_norm"] = clip_grad_norm(self.config.clip_grad_norm, self.config.arch)
        return Settings(bf16=bf16, **given)


def make_plan(config: FinetuneConfig) -> Plan:
    """Check a configuration against this machine.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent.
    """
    root = resolve_data_root(config.data_root)
    sets = training_sets(config.dataset)
    check_batch(config.batch_size)
    unprepared(sets, root)
    drawn = all(dataset.drawn for dataset in sets)
    init = config.init if config.init != "auto" else ("scratch" if drawn else "supervised-imagenet")
    arch_options(config.arch, config.image_size)
    check_init(init)
    if config.evaluate_on != "prepared":
        resolve_datasets(config.evaluate_on)
    if config.class_weights and (len(config.class_weights) != len(EXPRESSIONS) or config.loss == "balanced"):
        raise ConfigError(
            f"class_weights takes {len(EXPRESSIONS)} numbers and replaces loss=balanced: give one of them"
        )
    if config.class_weights and not any(config.class_weights):
        raise ConfigError("class_weights are all 0, so nothing would be learnt: give a weight above 0")
    names = {"auto": "fer-demo" if drawn else "fer", "none": ""}
    return Plan(
        config=config,
        root=root,
        sets=sets,
        device=pick_device(config.device),
        init=init,
        registered_name=names.get(config.registered_name, config.registered_name),
    )
