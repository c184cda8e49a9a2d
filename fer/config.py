"""Typed configuration: one frozen dataclass per command, from which options and YAML keys are derived."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fer.errors import ConfigError, unknown_name

C = TypeVar("C")


def option(
    default: Any, help: str, *, choices: tuple[str, ...] = (), low: float = -math.inf, high: float = math.inf
) -> Any:
    """Declare one field of a command's configuration.

    Args:
        default: The field's value when nothing is given.
        help: One line for `--help` and the README.
        choices: The values allowed, for a text field; empty for free text.
        low: The smallest number allowed.
        high: The largest number allowed.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "low": low, "high": high})


DATA_ROOT = "folder of prepared data; empty: $FER_DATA, else ../datasets if it exists, else ./datasets"
CONFIG = "YAML file with any of these options; what is given on the command line wins"
DATASET = "one data set or several joined by '+': raf, kdef, wikimedia, drawn (= its three sets)"
DEVICE = "where to compute"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class MainConfig:
    """The demo: prepare the drawn faces, train two configurations, compare them."""

    data_root: str = option("", DATA_ROOT)
    output: str = option("outputs", "folder for checkpoints while a run lasts")
    scale: float = option(1.0, "how many faces to draw, as a multiple of the demo's", low=0.01, high=100)
    epochs: int = option(0, "epochs of both trainings; 0: as their experiment files say", low=0)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class PrepareConfig:
    """Bring a data set into the common tree, check it and write its manifest."""

    dataset: str = option("drawn", DATASET)
    source: str = option("", "the download's folder; empty: the data set's usual places")
    data_root: str = option("", DATA_ROOT)
    scale: float = option(1.0, "for the drawn set: how many faces, as a multiple of the demo's", low=0.01, high=100)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class FinetuneConfig:
    """Train a classifier of the seven expressions, evaluate and register it."""

    dataset: str = option("drawn", DATASET)
    data_root: str = option("", DATA_ROOT)
    arch: str = option("resnet50", "any torchvision classification model")
    image_size: int = option(224, "side of the network's input in pixels", low=16, high=1024)
    init: str = option("auto", "auto (scratch for drawn faces, else supervised-imagenet), scratch, or a file")
    epochs: int = option(30, "passes over the training images", low=1)
    batch_size: int = option(64, "images per step", low=2)
    lr: float = option(3e-4, "peak learning rate", low=0)
    optimizer: str = option("adamw", "how weights are updated", choices=("adamw", "sgd"))
    weight_decay: float = option(0.05, "decay of the weights; not of biases and normalisation", low=0)
    momentum: float = option(0.9, "momentum of SGD", low=0, high=1)
    warmup_epochs: float = option(1.0, "epochs of linear warm-up before the cosine", low=0)
    loss: str = option(
        "cross-entropy", "balanced weights classes by inverse frequency", choices=("cross-entropy", "balanced")
    )
    class_weights: tuple[float, ...] = option(
        (), "seven weights in the order surprise ... neutral; instead of balanced"
    )
    sampling: str = option(
        "natural", "undersample drops images until classes are equal", choices=("natural", "undersample")
    )
    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=0.99)
    ema: float = option(0.0, "decay of the weights' moving average, e.g. 0.999; 0: off", low=0, high=0.99999)
    patience: int = option(0, "stop after so many epochs without a better validation score; 0: never", low=0)
    selection: str = option(
        "accuracy", "validation score that chooses the best epoch", choices=("accuracy", "mean_class_accuracy", "loss")
    )
    test_best: bool = option(False, "report also the best epoch on test, as in 2021; never used to choose")
    augment: bool = option(True, "random changes of the training images, with the strengths below")
    flip: float = option(0.5, "probability of a mirrored face", low=0, high=1)
    rotate: float = option(10.0, "largest rotation in degrees", low=0, high=180)
    crop: float = option(0.75, "smallest share of the area kept by a random crop", low=0.05, high=1)
    jitter: float = option(0.2, "strength of brightness, contrast, saturation and (a quarter of it) hue", low=0, high=1)
    erase: float = option(0.25, "probability of a random rectangle erased", low=0, high=1)
    device: str = option("auto", DEVICE, choices=DEVICES)
    precision: str = option("auto", "auto: bf16 where it is faster, else fp32", choices=("auto", "bf16", "fp32"))
    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**31 - 1)
    resume: str = option("", "continue a stopped run: its MLflow run id or a last.ckpt")
    evaluate_on: str = option("prepared", "test sets of the final evaluation: prepared (all there are) or names")
    registered_name: str = option("auto", "registered model: auto (fer, or fer-demo for drawn faces), a name, or none")
    promote: bool = option(False, "give this version the alias champion whatever the present champion is")
    output: str = option("outputs", "folder for checkpoints while the run lasts")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class EvaluateConfig:
    """Test any model on any prepared sets."""

    model: str = option("models:/fer@champion", "runs:/<id>, models:/<name>@<alias>, a checkpoint or a model's folder")
    dataset: str = option("prepared", "prepared (all there are), or " + DATASET)
    data_root: str = option("", DATA_ROOT)
    batch_size: int = option(128, "images per step", low=1)
    device: str = option("auto", DEVICE, choices=DEVICES)
    precision: str = option("auto", "auto: bf16 where it is faster, else fp32", choices=("auto", "bf16", "fp32"))
    config: str = option("", CONFIG)


COMMANDS: dict[str, type] = {
    "main": MainConfig,
    "prepare": PrepareConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
}


def default_of(item: "Field[Any]") -> Any:
    """Return a configuration field's default."""
    assert item.default is not MISSING
    return item.default


def build(cls: type[C], given: Mapping[str, Any], *, file: str = "", yields_default: bool = False) -> C:
    """Join defaults, a YAML file and given options into one checked configuration.

    Args:
        cls: The command's dataclass.
        given: Options by name, as text or as the field's type.
        file: A YAML file of the same keys; empty for none.
        yields_default: A given value equal to the default gives way to the file's. `mlflow run` passes the
            defaults of MLproject as if a person had typed them, so there only a differing value can override a file.

    Raises:
        ConfigError: An unknown key, a wrong type, a value out of range, or a file that is missing or no mapping.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    values = {key: _value(known, key, raw, f"in {file}") for key, raw in _read_yaml(file).items()}
    for key, raw in given.items():
        value = _value(known, key, raw, "")
        if not (yields_default and key in values and value == default_of(known[key])):
            values[key] = value
    if file:
        values["config"] = file
    return cls(**values)


def _read_yaml(file: str) -> dict[str, Any]:
    if not file:
        return {}
    path = Path(file).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config {file!r}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {file!r} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"config {file!r} is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"config {file!r} must hold lines such as 'epochs: 30'")
    return content


def _value(known: "dict[str, Field[Any]]", key: str, raw: Any, where: str) -> Any:
    """Check one value and return it in its field's type."""
    if where and key == "config":
        raise ConfigError(f"config {where}: a file cannot name another one")
    if key not in known:
        raise ConfigError(f"{unknown_name('option', key, known)} {where}".rstrip())
    item = known[key]
    try:
        value = _PARSERS[item.type](raw)
    except (TypeError, ValueError, OverflowError):
        expected = _NAMES[item.type]
        raise ConfigError(f"{key} {where}".rstrip() + f" must be {expected}, not {raw!r}") from None
    choices = item.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(unknown_name(f"{key} {where}".rstrip(), value, choices))
    low, high = item.metadata["low"], item.metadata["high"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not low <= number <= high:
            limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ConfigError(f"{key} {where}".rstrip() + f" must be {limits}, not {raw}")
    return value


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


def _integer(raw: Any) -> int:
    if isinstance(raw, str) or (isinstance(raw, int) and not isinstance(raw, bool)):
        return int(raw)
    raise TypeError


def _number(raw: Any) -> float:
    # YAML 1.1 reads "1e-3" as text, so text that is a number counts as one.
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise TypeError
    if not math.isfinite(value := float(raw)):
        raise ValueError
    return value


def _boolean(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if _text(raw).lower() not in ("true", "false"):
        raise ValueError
    return bool(raw.lower() == "true")


def _numbers(raw: Any) -> tuple[float, ...]:
    if not isinstance(raw, str | list | tuple):
        raise TypeError
    items = [part for part in raw.split(",") if part.strip()] if isinstance(raw, str) else raw
    return tuple(_number(item) for item in items)


_PARSERS: dict[Any, Any] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    tuple[float, ...]: _numbers,
}
_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[float, ...]: "numbers joined by commas",
}
