"""Check and prepare what a training or an experiment needs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer.config.training import FinetuneConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import (
    DATASETS,
    find_source,
    missing_download,
    resolve_datasets,
)
from fer.data.prepared import is_prepared
from fer.errors import ConfigError, DataError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import arch_options
from fer.models.initial_weights import ADDRESSES, NAMES, check_init, resolve_init
from fer.pipeline.options import (
    PREPARED,
    TrainingConfig,
    needed_sets,
    resolved_options,
    starting_weights,
    trains_on_drawn,
)
from fer.utils.paths import resolve_data_root
from fer.utils.processes import local_rank, world_size

# A training belongs to no experiment's file.
if TYPE_CHECKING:
    from fer.experiments.files import Experiment

OPTIONAL_TESTS = ("kdef", "wikimedia")
"""Test sets of real faces that are prepared, where they are at hand, before an experiment tests on all there are."""
POLL_SECONDS = 0.5
"""How often a process looks whether another one on its machine has prepared the sets."""


def check_training(config: TrainingConfig) -> None:
    """Refuse, before a run begins, what cannot be trained.

    Raises:
        ConfigError: Options are wrong or contradict each other, or the processes cannot share a batch evenly.
        DataError: A set's download is absent.
    """
    if config.batch_size % world_size():
        raise ConfigError(f"batch_size must be a multiple of the {world_size()} processes, not {config.batch_size}")
    unprepared(needed_sets(config), resolve_data_root(config.data_root))
    arch_options(config.arch, config.image_size)
    check_init(starting_weights(config))
    # What cannot be resolved cannot be trained: an unknown device, a method without its rate.
    resolved_options(config)
    if isinstance(config, FinetuneConfig):
        _check_finetune(config)


def _check_finetune(config: FinetuneConfig) -> None:
    if config.evaluate_on != PREPARED:
        resolve_datasets(config.evaluate_on, resolve_data_root(config.data_root))
    weights = config.class_weights
    if weights and (len(weights) != len(EXPRESSIONS) or config.loss == "balanced"):
        raise ConfigError(
            f"class_weights takes {len(EXPRESSIONS)} numbers and replaces loss=balanced: give one of them"
        )
    if weights and not any(weights):
        raise ConfigError("class_weights are all 0, so nothing would be learnt: give a weight above 0")
    _check_extent(config)


def _check_extent(config: FinetuneConfig) -> None:
    """Refuse contradictions in how much of the network is to learn."""
    if config.freeze == "backbone":
        if config.layer_decay < 1:
            raise ConfigError(
                f"layer_decay={config.layer_decay:g} sets rates of the backbone, which does not learn with "
                "freeze=backbone: give one of them"
            )
        if config.freeze_epochs:
            raise ConfigError(
                f"freeze_epochs={config.freeze_epochs} lets the backbone learn later, and freeze=backbone never: "
                "give one of them"
            )
    if config.freeze_epochs >= config.epochs:
        raise ConfigError(
            f"freeze_epochs={config.freeze_epochs} leaves the backbone none of epochs={config.epochs} to learn: "
            "give fewer, or freeze=backbone for a linear probe"
        )
    if config.layer_decay < 1:
        from fer.training.layers import check_layers  # few trainings ask for it

        check_layers(config.arch, config.layer_decay)


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
        from fer.config.data import PrepareConfig
        from fer.pipeline.prepare import prepare_sets

        names = "+".join(dataset.name for dataset in missing)
        prepare_sets(PrepareConfig(dataset=names, data_root=str(root)))
    while unprepared(sets, root):
        time.sleep(POLL_SECONDS)


def check_experiment(experiment: "Experiment", root: Path) -> None:
    """Refuse an experiment whose data or starting weights are not at hand; weights are downloaded if possible.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent; the sentence says how to get it.
        ModelError: Starting weights cannot be had; the sentence names the file and its place.
    """
    unprepared(_experiment_sets(experiment, root), root)
    for config in _trainings(experiment):
        # After a pre-training `auto` stands for its encoder, which is not there yet.
        if not (experiment.pretrain and config.init == "auto"):
            _fetch_weights(starting_weights(config), config.arch)
        check_training(config)


def _trainings(experiment: "Experiment") -> list[TrainingConfig]:
    stages = (experiment.pretrain, experiment.finetune)
    return [config for config in stages if config]


def _fetch_weights(init: str, arch: str) -> None:
    # Those of a run are fetched when the training starts: the store keeps them.
    if init.startswith(ADDRESSES):
        return
    path = Path(init).expanduser()
    # `resolve_init` would take it for a mistyped name.
    if init not in NAMES and path.suffix and not path.exists():
        raise ModelError(f"the starting weights {path.name} are missing: put the file at {path}, or give another init")
    resolve_init(init, arch)


def prepare_experiment(experiment: "Experiment", root: Path) -> None:
    """Prepare, in a run of their own, the sets an experiment needs and the test sets it could use.

    Raises:
        DataError: A set it needs is absent or not what it should be.
    """
    ensure_prepared(_experiment_sets(experiment, root), root)
    finetune = experiment.finetune
    if finetune is None or finetune.evaluate_on != PREPARED or trains_on_drawn(finetune):
        return
    for name in OPTIONAL_TESTS:
        dataset = DATASETS[name]
        try:
            ensure_prepared([dataset], root)
        except DataError as error:
            print(f"not tested on {dataset.title}: {error}")


def _experiment_sets(experiment: "Experiment", root: Path) -> list[DataSet]:
    """Return the sets without which the experiment cannot run, each once."""
    needed: list[DataSet] = []
    for config in _trainings(experiment):
        needed += needed_sets(config)
    tested = []
    if experiment.finetune:
        tested.append(experiment.finetune.evaluate_on)
    if experiment.evaluate:
        tested.append(experiment.evaluate.dataset)
    for names in tested:
        if names != PREPARED:
            needed += resolve_datasets(names, root)
    return list({dataset.name: dataset for dataset in needed}.values())
