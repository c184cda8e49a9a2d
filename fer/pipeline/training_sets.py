"""The sets a command trains on."""

import time
from pathlib import Path

from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_datasets
from fer.errors import ConfigError, quoted
from fer.pipeline.prepare import ensure_prepared, unprepared
from fer.utils.distributed import local_rank, world_size


def training_sets(option: str) -> list[DataSet]:
    """Return the sets to train on: of a group such as `drawn` those with training images, else exactly those named."""
    sets = resolve_datasets(option)
    for dataset in sets:
        if not dataset.has_train and dataset.name in option.split("+"):
            raise ConfigError(f"{dataset.title} is a test set: it has no training images")
    chosen = [dataset for dataset in sets if dataset.has_train]
    if not chosen:
        raise ConfigError(f"dataset {quoted(option)} has no training images")
    return chosen


def prepare_once(sets: list[DataSet], root: Path) -> None:
    """Prepare the sets that are not prepared yet; of the processes on one machine the first does, the others wait.

    Raises:
        DataError: A set's download is in none of its usual places.
    """
    if local_rank() == 0:
        ensure_prepared(sets, root)
    while unprepared(sets, root):
        time.sleep(0.5)


def check_batch(batch_size: int) -> None:
    """Refuse a batch that the processes cannot share evenly.

    Raises:
        ConfigError: As said.
    """
    if batch_size % world_size():
        raise ConfigError(f"batch_size must be a multiple of the {world_size()} processes, not {batch_size}")
