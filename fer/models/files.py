"""Classifiers and encoders on disk: a folder of safetensors and JSON, or a training checkpoint."""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from fer.errors import ModelError
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.portable.json_files import read_object

WEIGHTS = "model.safetensors"
SPEC = "model.json"
ENCODER_WEIGHTS = "encoder.safetensors"
ENCODER_SPEC = "encoder.json"
PAIRS = {ENCODER_WEIGHTS: ENCODER_SPEC, WEIGHTS: SPEC}
"""Which description belongs to which weights."""


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write a classifier's weights and specification into a folder."""
    _save(classifier.state_dict(), WEIGHTS, classifier.spec.to_dict(), folder)


def save_encoder(encoder: Encoder, folder: Path, method: str) -> None:
    """Write an encoder's weights, under torchvision's names, and its description into a folder.

    Args:
        encoder: The encoder.
        folder: Made if need be.
        method: How it was trained, such as `simclr`.
    """
    described = encoder.spec.to_dict() | {"method": method}
    for key in ("expressions", "training_counts", "training_prior", "temperature"):
        del described[key]  # an encoder knows no expressions
    _save(encoder.backbone.state_dict(), ENCODER_WEIGHTS, described, folder)


def _save(state: Mapping[str, Tensor], weights: str, described: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, folder / weights)
    (folder / PAIRS[weights]).write_text(json.dumps(described, indent=1), encoding="utf-8")


def load_classifier(path: Path) -> Classifier:
    """Return the classifier in a folder that `save_classifier` wrote or in a training checkpoint, in evaluation mode.

    Args:
        path: A folder that holds the two files at any depth (such as a downloaded model), or `best.ckpt`, `last.ckpt`.

    Raises:
        ModelError: There is no model, it cannot be read, or its expressions are ordered differently.
    """
    if path.is_dir():
        found = _weights_in(path, WEIGHTS)
        if not found:
            raise ModelError(f"{path} holds no model: {WEIGHTS} and {SPEC} are missing")
        spec, state = _read_pair(found[0])
    elif path.is_file():
        content = read_file(path)
        if not isinstance(content.get("spec"), dict) or not isinstance(content.get("model"), dict):
            raise ModelError(f"{path} is no checkpoint of this project: it does not say which expressions it knows")
        spec = ModelSpec.from_dict(content["spec"], str(path))
        state = content["model"]
    else:
        raise ModelError(f"there is no model at {path}")
    classifier = Classifier(spec)
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"the weights at {path} do not fit {spec.arch}: {' '.join(str(error).split())[:160]}"
        ) from None
    return classifier.eval()


def read_folder(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Return what the encoder or classifier in a folder is, and its tensors.

    Args:
        path: A folder that holds, at any depth, what `save_encoder` or `save_classifier` wrote.

    Raises:
        ModelError: It holds none or several, they cannot be read, or its expressions are ordered differently.
    """
    found = [file for weights in PAIRS for file in _weights_in(path, weights)]
    if not found:
        wanted = " or ".join(f"{weights} with {described}" for weights, described in PAIRS.items())
        raise ModelError(f"{path} holds no starting weights: {wanted} is missing")
    if len(found) > 1:
        places = ", ".join(str(file.parent) for file in found[:4])
        raise ModelError(f"{path} holds {len(found)} models: name the folder of one, such as {places}")
    return _read_pair(found[0])


def _weights_in(path: Path, weights: str) -> list[Path]:
    return [file for file in sorted(path.rglob(weights)) if file.with_name(PAIRS[weights]).is_file()]


def _read_pair(weights: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    described = weights.with_name(PAIRS[weights.name])
    state = read_file(weights)
    try:
        values = read_object(described)
    except (OSError, ValueError) as error:
        raise ModelError(f"{described} is damaged: {error}") from None
    values.pop("method", None)  # for people; an encoder is used the same way however it was trained
    return ModelSpec.from_dict(values, str(described)), state


class Inert:
    """Takes the place of what a file refers to: accepts anything, keeps nothing, does nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# torch fills dicts only where they are plain or ordered, so dict subclasses become ordered dicts.
_DICTS = ("pytorch_lightning.utilities.parsing.AttributeDict", "lightning_fabric.utilities.data.AttributeDict")
_OTHERS = (
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.lr_monitor.LearningRateMonitor",
    "pl_bolts.callbacks.ssl_online.SSLOnlineEvaluator",
    # Trainer arguments saved among the hyperparameters by Lightning 1.0 to 1.2.
    "pytorch_lightning.utilities.argparse._gpus_arg_default",
    "pytorch_lightning.utilities.argparse_utils._gpus_arg_default",
    # Scores kept as NumPy numbers.
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
STAND_INS: dict[str, type] = dict.fromkeys(_DICTS, OrderedDict) | dict.fromkeys(_OTHERS, Inert)
"""What takes the place of each name a weights file may refer to; any other name is refused."""


def read_file(path: Path) -> dict[str, Any]:
    """Return what a weights file holds, never running code from it.

    Args:
        path: A file of safetensors or of `torch.save`, in the present or the old form.

    Raises:
        ModelError: The file cannot be read, refers to more than tensors and known bookkeeping, or holds no names.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with _stand_ins():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign file
        raise ModelError(f"{path} is no weights file: {_reason(path, str(error))}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds {type(content).__name__}, not named tensors")
    return content


def tensors_of(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the named tensors among what a file holds: at its top, or under `state_dict` or `model`.

    Raises:
        ModelError: It holds none.
    """
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), dict):
            content = content[key]
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path} holds no named tensors")
    return state


def _stand_ins() -> safe_globals:
    return safe_globals([(kind, name) for name, kind in STAND_INS.items()])


def _reason(path: Path, message: str) -> str:
    """Return why torch refused a file, naming what it refers to where that is the reason."""
    try:
        with _stand_ins():
            refused = sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # the old form cannot be listed, and a file that is none of torch's raises anything
        refused = re.findall(r"GLOBAL (\S+) w", message)
    if refused:
        return f"it refers to {', '.join(refused)}, and only tensors and known bookkeeping are read"
    return " ".join(message.split())[:160]
