"""Tell what the options of a training mean, and how its run is called."""

from pathlib import Path
from typing import Any

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_datasets
from fer.errors import ConfigError, quoted
from fer.tracking.names import REGISTERED_NAME
from fer.tracking.naming import joined_name, weights_label
from fer.training.devices import pick_device
from fer.training.optimization import clip_grad_norm
from fer.utils.paths import resolve_data_root

TrainingConfig = FinetuneConfig | PretrainConfig
PREPARED = "prepared"
"""Stands for all test sets there are."""


def training_sets(config: TrainingConfig) -> list[DataSet]:
    """Return the sets to train on: of a group such as `drawn` those with training images, else exactly those named.

    Raises:
        ConfigError: A name is unknown, or a set has no training images.
        DataError: The record of a set of somebody's own is damaged.
    """
    return _with_training_images(config.dataset, resolve_data_root(config.data_root))


def _with_training_images(option: str, root: Path) -> list[DataSet]:
    sets = resolve_datasets(option, root)
    for dataset in sets:
        # Left out silently, a test set named beside others would seem to have been trained on.
        if not dataset.has_train and dataset.name in option.split("+"):
            raise ConfigError(f"{dataset.title} is a test set: it has no training images")
    chosen = [dataset for dataset in sets if dataset.has_train]
    if not chosen:
        raise ConfigError(f"dataset {quoted(option)} has no training images")
    return chosen


def probe_sets(config: PretrainConfig) -> list[DataSet]:
    """Return the sets whose labels a pre-training's probes use."""
    return _with_training_images(config.probe_dataset or config.dataset, resolve_data_root(config.data_root))


def needed_sets(config: TrainingConfig) -> list[DataSet]:
    """Return the sets without which a training cannot run."""
    sets = training_sets(config)
    if isinstance(config, PretrainConfig):
        sets += [dataset for dataset in probe_sets(config) if dataset not in sets]
    return sets


def trains_on_drawn(config: TrainingConfig) -> bool:
    """Return whether a training sees drawn faces only."""
    return all(dataset.drawn for dataset in training_sets(config))


def starting_weights(config: TrainingConfig) -> str:
    """Return a training's option `init`, of a fine-tuning with `auto` resolved."""
    if isinstance(config, PretrainConfig) or config.init != "auto":
        return config.init
    # ImageNet's weights come with terms that drawn faces, made to be free, need not take on.
    return "scratch" if trains_on_drawn(config) else "supervised-imagenet"


def registered_name(config: FinetuneConfig) -> str:
    """Return the registered model that a training is meant for, `auto` resolved; empty for none."""
    if config.registered_name == "auto":
        # The demo's model must never become the champion of real faces.
        return "fer-demo" if trains_on_drawn(config) else "fer"
    return "" if config.registered_name == "none" else config.registered_name


def default_name(config: TrainingConfig, init: str) -> str:
    """Return the name of a run that was given none; `init` is what its starting weights are resolved to."""
    seed = f"seed {config.seed}"
    if isinstance(config, FinetuneConfig):
        extent = "linear probe" if config.freeze == "backbone" else ""
        return joined_name(config.arch, config.dataset, weights_label(init), extent, seed)
    # Few pre-trainings start from other weights.
    start = "" if init == "scratch" else weights_label(init)
    return joined_name(config.method, config.arch, config.dataset, start, seed)


def resolved_options(config: TrainingConfig) -> dict[str, Any]:
    """Return what those options of a training mean on this machine that leave it open, such as `auto`."""
    resolved = {
        "clip_grad_norm": clip_grad_norm(config.clip_grad_norm, config.arch),
        "device": pick_device(config.device).type,
    }
    if isinstance(config, FinetuneConfig):
        return resolved | {
            "init": starting_weights(config),
            REGISTERED_NAME: registered_name(config) or "none",
        }
    # A fine-tuning starts without the methods of pre-training.
    from fer.objectives.registry import METHODS

    method = METHODS[config.method]
    return resolved | {
        "lr": method.lr_for(config),
        "optimizer": method.optimizer_for(config),
        "proj_dim": config.proj_dim or method.proj_dim,
    }


def known_options(config: TrainingConfig, init: str) -> dict[str, Any]:
    """Return what those options mean as far as it is known when a run begins, empty where it is not known yet.

    Args:
        config: The configuration.
        init: What its starting weights are resolved to.
    """
    resolved = resolved_options(config)
    resolved["init"] = init
    # It depends on the network.
    if config.precision == "auto":
        resolved["precision"] = ""
    # Those there are when the training has ended.
    if isinstance(config, FinetuneConfig) and config.evaluate_on == PREPARED:
        resolved["evaluate_on"] = ""
    return resolved
