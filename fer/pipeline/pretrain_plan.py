"""What a `pretrain` configuration means on this machine, and what of it must be refused before a run begins."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from fer.config.training import PretrainConfig
from fer.data.augment import Augmentation
from fer.data.datasets.base import DataSet
from fer.data.views import ViewSpec, multi_crop, two_views
from fer.models.backbones import arch_options
from fer.models.initial_weights import check_init
from fer.objectives.registry import METHODS, Method
from fer.pipeline.prepare import unprepared
from fer.pipeline.training_sets import check_batch, training_sets
from fer.training.devices import pick_device
from fer.training.optimization import Settings, clip_grad_norm
from fer.utils.paths import resolve_data_root


@dataclass(frozen=True)
class Plan:
    """A checked configuration and what follows from it.

    Attributes:
        config: The configuration.
        root: The data root.
        sets: The sets whose training images are learned from.
        probe_sets: The sets whose labels the probes use.
        device: Where to compute.
        method: The method.
    """

    config: PretrainConfig
    root: Path
    sets: list[DataSet]
    probe_sets: list[DataSet]
    device: torch.device
    method: Method

    def derived(self) -> dict[str, Any]:
        """Return what the options mean here, for the record."""
        return {
            "lr_used": self.method.lr_for(self.config),
            "optimizer_used": self.method.optimizer_for(self.config),
            "proj_dim_used": self.config.proj_dim or self.method.proj_dim,
            "clip_grad_norm_used": clip_grad_norm(self.config.clip_grad_norm, self.config.arch),
            "data_root_used": self.root,
            "device_used": self.device.type,
        }

    def views(self) -> tuple[ViewSpec, ...]:
        """Return which views of each image the method compares."""
        c = self.config
        augmentation = Augmentation(
            flip=0.5,
            crop_min=c.crop,
            jitter=c.jitter,
            jitter_probability=0.8,
            relight=c.relight,
            grey=c.grey,
            blur=c.blur,
            solarise=c.solarise,
        )
        if self.method.multi_crop:
            return multi_crop(c.image_size, c.num_small_crops, augmentation)
        return two_views(c.image_size, augmentation)

    def settings(self, bf16: bool) -> Settings:
        """Return how to optimise; the encoder of the last epoch is kept, since choosing one would use labels."""
        shared = {item.name for item in fields(Settings)} & {item.name for item in fields(PretrainConfig)}
        given = {key: getattr(self.config, key) for key in shared}
        given |= {"lr": self.method.lr_for(self.config), "optimizer": self.method.optimizer_for(self.config)}
        given["clip_grad_norm"] = clip_grad_norm(self.config.clip_grad_norm, self.config.arch)
        if self.method.constant and self.config.predictor_lr:
            given |= {"constant": self.method.constant, "constant_factor": self.config.predictor_lr}
        return Settings(bf16=bf16, ema=0.0, patience=0, selection="knn_accuracy", choose=False, **given)


def make_plan(config: PretrainConfig) -> Plan:
    """Check a configuration against this machine.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent.
    """
    root = resolve_data_root(config.data_root)
    sets = training_sets(config.dataset)
    probe_sets = training_sets(config.probe_dataset) if config.probe_dataset else sets
    check_batch(config.batch_size)
    unprepared(sets + probe_sets, root)
    arch_options(config.arch, config.image_size)
    check_init(config.init)
    METHODS[config.method].lr_for(config)
    return Plan(
        config=config,
        root=root,
        sets=sets,
        probe_sets=probe_sets,
        device=pick_device(config.device),
        method=METHODS[config.method],
    )
