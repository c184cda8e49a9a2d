"""Declare options: how, and those that several commands share, with their choices."""

import math
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any


class Scope(Enum):
    """Tell what depends on an option's value."""

    RESULT = "result"
    """What is computed; runs that differ in it are different configurations."""
    SEED = "seed"
    """The draw of one repetition; runs that differ in nothing else are seeds of one configuration."""
    NAME = "name"
    """Under which name or alias the result is kept."""
    TESTED = "tested"
    """What is tested in the end; a continued run takes it over unless it is given another value."""
    MACHINE = "machine"
    """Where this call reads and writes, and how it is kept; a continued run may be given another value."""


class Shown(Enum):
    """Tell what a run shows of an option's value among its parameters; its `config.json` holds all of it."""

    VALUE = "value"
    """The value."""
    FILE_NAME = "file name"
    """A path's last part, as folders of this machine mean nothing elsewhere; names and addresses as they are."""
    NOTHING = "nothing"
    """Nothing: it concerns this machine alone, as its folders do."""


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float = -math.inf,
    high: float = math.inf,
    scope: Scope = Scope.RESULT,
    shown: Shown = Shown.VALUE,
    added: bool = False,
) -> Any:
    """Declare one field of a command's configuration.

    Args:
        default: The field's value when nothing is given.
        help: One line for `--help` and the README.
        choices: The values allowed, for a text field; empty for free text.
        low: The smallest number allowed.
        high: The largest number allowed.
        scope: What depends on the value.
        shown: What a run's parameters show of the value.
        added: Whether runs were kept before there was the option: they count as having its default.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "low": low,
        "high": high,
        "scope": scope,
        "shown": shown,
        "added": added,
    }
    return field(default=default, metadata=metadata)


def shown_options(config: Any, meant: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as parameters of a run: what each option meant, without empty ones and folders.

    Args:
        config: A command's configuration.
        meant: Values that options such as `auto` stand for, and what else is to be shown.
    """
    values = asdict(config) | dict(meant)
    for item in fields(config):
        shown = item.metadata.get("shown", Shown.VALUE)
        if shown == Shown.NOTHING:
            del values[item.name]
        elif shown == Shown.FILE_NAME:
            values[item.name] = without_folders(values[item.name])
    return {name: value for name, value in values.items() if value not in ("", ())}


def without_folders(path: str) -> str:
    """Return a path's last part, as its folders concern one machine; names and addresses as they are."""
    # The addresses of runs and models have parts of their own.
    return path if ":/" in path else Path(path).name


# The registries of higher packages give these names their meaning. They are listed here too, because `--help` and a
# refused option must not wait for torch; tests/config/test_options.py holds both equal.
DATASETS = ("raf", "kdef", "ferplus", "wikimedia", "fer2013", "ckplus", "jaffe", "expw", "affectnet")
METHODS = ("swav", "simclr", "simsiam")
SUPERVISED_OPTIMIZERS = ("adamw", "sgd")
OPTIMIZERS = ("lars", "sgd", "adamw")
EXPORT_FORMATS = ("onnx", "torch")
FRAMINGS = ("auto", "none")
SPLIT_CHOICES = ("auto", "train", "test")

CHAMPION = "models:/fer@champion"
DATASET_HELP = f"one data set or several joined by '+': {', '.join(DATASETS)}, drawn (its three sets), or your own"
INIT_HELP = "scratch, a name that `fer weights` lists, a file, runs:/<id> or models:/<name>@<alias>"

# What is a path or may be one.
path = partial(option, shown=Shown.FILE_NAME)
config = partial(
    path,
    default="",
    help="YAML file with any of these options; what is given on the command line wins",
    scope=Scope.MACHINE,
)
data_root = partial(
    option,
    default="",
    help="folder of prepared data; empty: $FER_DATA, else ../datasets if it exists, else ./datasets",
    scope=Scope.MACHINE,
    shown=Shown.NOTHING,
)
# Where a result lies does not change it: two runs that differ in it are equal.
output = partial(option, scope=Scope.MACHINE, shown=Shown.NOTHING)
checkpoints = partial(
    output,
    default="outputs",
    help="folder for checkpoints while a run lasts",
)
# A continuation may lie on another machine, so what it is called there is no part of what is computed.
resume = partial(
    output,
    default="",
    help="continue a stopped run: its MLflow run id, a last.ckpt, or auto: the newest unfinished run of equal options, "
    "code and data, else a new one",
    scope=Scope.MACHINE,
)
# How a run is kept from loss changes nothing in it.
keeping = partial(option, scope=Scope.MACHINE, shown=Shown.NOTHING, added=True)
checkpoint_minutes = partial(
    keeping,
    default=10.0,
    low=0,
    help="minutes after which a checkpoint is written within an epoch too; 0: only at its end",
)
checkpoint_upload_gb = partial(
    keeping,
    default=50.0,
    low=0,
    help="GB of checkpoints sent to the tracking server a day at most while training goes on; 0: none",
)
tracking_patience = partial(
    keeping,
    default=5.0,
    low=0,
    help="minutes that a run waits at its end for a tracking server that does not answer",
)
offline = partial(
    keeping,
    default=False,
    help="record the run on this machine only; `fer sync` delivers it later",
)
dataset = partial(option, default="drawn", help=DATASET_HELP)
scale = partial(
    option,
    default=1.0,
    help="for drawn faces: how many, as a multiple of the demo's",
    low=0.01,
    high=100,
)
# Not of the scope MACHINE: precision=auto trains in bf16 on one device and in fp32 on another.
device = partial(
    option,
    default="auto",
    help="where to compute",
    choices=("auto", "cpu", "cuda"),
)
model = partial(
    path,
    default=CHAMPION,
    help="runs:/<id>, models:/<name>@<alias>, a checkpoint or a model's folder",
)
# The search takes minutes for large sets; what it finds is kept, so that a second test is free.
contamination = partial(
    option,
    default="check",
    help="check: look for the test images among the training images; skip: do not",
    choices=("check", "skip"),
)
registered_name = partial(option, default="auto", scope=Scope.NAME)
promote = partial(
    option,
    default=False,
    help="give this version the alias champion whatever the present champion is",
    scope=Scope.NAME,
)
