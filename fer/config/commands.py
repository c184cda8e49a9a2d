"""One frozen dataclass per command, from which its command-line options and YAML keys are derived."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fer.config import options
from fer.config.data import AttributionConfig, DataConfig, PrepareConfig
from fer.config.models import DownloadConfig, ExportConfig, RegisterConfig
from fer.config.options import Scope, Shown, option
from fer.config.training import FinetuneConfig, PretrainConfig


@dataclass(frozen=True)
class MainConfig:
    """The demo: prepare the drawn faces, train two configurations, compare them."""

    data_root: str = options.data_root()
    output: str = options.checkpoints()
    scale: float = options.scale()
    # Its experiment files say the rest: the demo shows what anybody can run.
    epochs: int = option(0, "epochs of both trainings; 0: as their experiment files say", low=0)
    config: str = options.config()


@dataclass(frozen=True)
class EvaluateConfig:
    """Test any model on any prepared sets."""

    model: str = options.model()
    dataset: str = option("prepared", f"prepared (all there are), or {options.DATASET_HELP}")
    data_root: str = options.data_root()
    batch_size: int = option(128, "images per step", low=1)
    device: str = options.device()
    contamination: str = options.contamination()
    config: str = options.config()


@dataclass(frozen=True)
class ExperimentConfig:
    """Run what a file of experiments/ says, stage by stage, and show it beside what was reported in 2021."""

    name: str = options.path("debug", "a file of experiments/ without .yaml, the path of another one, or all")
    # Repetitions differ in nothing else, so that their spread is that of chance.
    seeds: int = option(
        1,
        "how often to fine-tune, with the file's seed and the ones after it",
        low=1,
        high=100,
    )
    pretrain_seeds: int = option(
        1,
        "how often to pre-train, likewise; fine-tunings start from these in turn, so seeds is a multiple",
        low=1,
        high=100,
    )
    # Off for timing, or where a result is doubted.
    reuse: bool = option(
        True,
        "take over finished stages of equal options, code and data; continue stopped ones",
    )
    data_root: str = options.data_root()
    output: str = options.checkpoints()
    device: str = options.device()
    config: str = options.config()


@dataclass(frozen=True)
class CompareConfig:
    """Say which of several runs is better, with tests on the images they all answered, in one report."""

    runs: str = option("", "ids of runs, beginnings of ids, or names, joined by commas")
    experiment: str = option(
        "",
        "names or ids of runs of `experiment`, whose seeds become one configuration each",
    )
    filter: str = option("", "an MLflow search filter, such as \"params.arch = 'resnet18'\"")
    dataset: str = option("", "test sets, joined by '+'; empty: all that two of the runs share")
    baseline: str = option(
        "",
        "run or configuration to test the others against; empty: all pairs, of 10 at most",
    )
    config: str = options.config()


@dataclass(frozen=True)
class PredictConfig:
    """Recognise the expressions of the faces in a picture or in a folder of pictures."""

    image: str = options.path("", "a picture, or a folder whose pictures are taken at any depth")
    model: str = options.model()
    framing: str = option(
        "auto",
        "auto: find the faces, as the model's training did; none: a picture is a face",
        choices=options.FRAMINGS,
    )
    explain: bool = option(
        False,
        "show where on each face the answer comes from; takes a hundred times as long",
    )
    output: str = options.output("predictions", "folder for predictions.csv and the annotated pictures")
    # All are on the disk; the server need not hold an album.
    log_pictures: int = option(16, "annotated pictures logged as artifacts at most", low=0)
    device: str = options.device()
    config: str = options.config()


@dataclass(frozen=True)
class FeaturesConfig:
    """Write the features of faces, what enters a network's last layer, as a table with a row for each face."""

    model: str = option(
        options.CHAMPION,
        "an encoder of `pretrain` or a classifier: runs:/<id>, models:/<name>@<alias>, a checkpoint or a folder",
        shown=Shown.FILE_NAME,
    )
    dataset: str = option("", "prepared sets, joined by '+', with all their splits; or prepared (all there are)")
    image: str = options.path("", "instead: a picture, or a folder whose pictures are taken at any depth")
    framing: str = option(
        "auto",
        "of pictures: auto: find the faces, as the model's training did; none: a picture is a face",
        choices=options.FRAMINGS,
    )
    output: str = options.output("", "the table, .parquet or .csv; empty: features-<model>.parquet")
    data_root: str = options.data_root()
    batch_size: int = option(128, "images per step", low=1)
    device: str = options.device()
    config: str = options.config()


@dataclass(frozen=True)
class DemoConfig:
    """Open a page on this machine where a dropped picture is answered; needs the extra `demo`."""

    model: str = option(options.CHAMPION, "the model chosen first; the page offers all registered ones")
    host: str = option(
        "127.0.0.1",
        "address to listen on; the default can be reached from this machine only",
    )
    port: int = option(7860, "port to listen on; 0: a free one", low=0, high=65535)
    max_megabytes: float = option(20.0, "largest upload in MB, of 1,048,576 bytes", low=0.01, high=200)
    device: str = options.device()
    config: str = options.config()


@dataclass(frozen=True)
class SyncConfig:
    """Deliver to the tracking server what runs have left on this machine, and close runs whose process died."""

    output: str = options.checkpoints(help="folder in which the runs have their folders")
    config: str = options.config()


@dataclass(frozen=True)
class WeightsConfig:
    """List the starting weights, their terms, and which of them are on this machine."""


@dataclass(frozen=True)
class ImportReportedConfig:
    """Record the figures reported in 2021 as runs, so that MLflow shows them beside ours."""


TRACKED_COMMANDS: dict[str, type] = {
    "main": MainConfig,
    "prepare": PrepareConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
    "experiment": ExperimentConfig,
    "compare": CompareConfig,
    "predict": PredictConfig,
}
"""Commands that are tracked runs and MLflow entry points."""

COMMANDS: dict[str, type] = TRACKED_COMMANDS | {
    "download": DownloadConfig,
    "export": ExportConfig,
    "features": FeaturesConfig,
    "register": RegisterConfig,
    "sync": SyncConfig,
    "data": DataConfig,
    "weights": WeightsConfig,
    "attribution": AttributionConfig,
    "demo": DemoConfig,
    "import-reported": ImportReportedConfig,
}
"""All commands. Those added here are no runs of their own: they print, show, or write what others keep."""

TRAINING_COMMANDS = ("pretrain", "finetune")
"""Commands that torchrun may start in several processes."""
KEEPS_CHECKPOINTS = (*TRAINING_COMMANDS, "experiment", "main")
"""Commands whose option `output` is where their runs have their folders."""


def fields_of(*scopes: Scope) -> frozenset[str]:
    """Return the names of all commands' options that have one of these scopes.

    An option has the same scope in every command, so a stored configuration needs no mention of its command.
    """
    names: set[str] = set()
    for cls in COMMANDS.values():
        names |= {item.name for item in fields(cls) if item.metadata["scope"] in scopes}
    return frozenset(names)


def with_added(command: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration with the defaults of those options that its command got after the run was made."""
    items = fields(COMMANDS[command]) if command in COMMANDS else ()
    return {item.name: item.default for item in items if item.metadata["added"]} | dict(options)


def without_added(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without those options that came after the first runs and have their default.

    So a name that is made of all options stays what it was before there were these.
    """
    added: dict[str, Any] = {}
    for cls in COMMANDS.values():
        added |= {item.name: item.default for item in fields(cls) if item.metadata["added"]}
    return {key: value for key, value in options.items() if key not in added or value != added[key]}
