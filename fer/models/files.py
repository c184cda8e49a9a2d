"""Classifiers and encoders on disk: a folder of safetensors and JSON, or a training checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from fer.errors import ConfigError, ModelError
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.weight_files import read_file
from fer.portable.json_files import read_object
from fer.portable.predictions import SPEC, WEIGHTS

ENCODER_WEIGHTS = "encoder.safetensors"
ENCODER_SPEC = "encoder.json"
SPEC_OF = {ENCODER_WEIGHTS: ENCODER_SPEC, WEIGHTS: SPEC}
"""The specification that lies beside weights."""


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Save a classifier's weights and specification in a folder."""
    _save(classifier.state_dict(), WEIGHTS, classifier.spec.to_dict(), folder)


def save_encoder(encoder: Encoder, folder: Path, method: str) -> None:
    """Save an encoder's weights, under torchvision's names, and its specification in a folder.

    Args:
        encoder: The encoder.
        folder: Made if need be.
        method: How it was trained, such as `simclr`.
    """
    spec = encoder.spec.to_dict() | {"method": method}
    # An encoder knows no expressions.
    for key in ("expressions", "training_counts", "training_prior", "temperature"):
        del spec[key]
    _save(encoder.backbone.state_dict(), ENCODER_WEIGHTS, spec, folder)


def _save(
    state: Mapping[str, Tensor],
    weights_name: str,
    spec: dict[str, Any],
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # safetensors takes contiguous tensors only, and convolutions are trained channels last.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / weights_name)
    path = folder / SPEC_OF[weights_name]
    path.write_text(json.dumps(spec, indent=1), encoding="utf-8")


def load_classifier(path: Path) -> Classifier:
    """Load a classifier, in evaluation mode.

    Args:
        path: A folder that holds, at any depth, what `save_classifier` wrote, or a training's `best.ckpt` or
            `last.ckpt`.

    Raises:
        ModelError: There is no model, it cannot be read, or its expressions are ordered differently.
    """
    if path.is_dir():
        weights = _find_weights(path, WEIGHTS)
        if not weights:
            raise ModelError(f"{path} holds no model: {WEIGHTS} and {SPEC} are missing")
        spec, state = _read_weights(weights[0])
    else:
        spec, state = _read_checkpoint(path)
    classifier = Classifier(spec)
    _load_state(classifier, state, spec, path)
    return classifier.eval()


def load_encoder(path: Path) -> Encoder:
    """Load an encoder, or a classifier without its last layer, in evaluation mode.

    Args:
        path: A folder as of `read_folder`, or a checkpoint of a training of either.

    Raises:
        ModelError: There is no model, it cannot be read, or its architecture has no last linear layer.
    """
    spec, state = read_folder(path) if path.is_dir() else _read_checkpoint(path)
    try:
        encoder = Encoder(spec)
    except ConfigError as error:
        raise ModelError(f"{path} has no features: {error}") from None
    # An encoder's file has torchvision's own names, a classifier's and both checkpoints those of the whole network.
    named = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    wanted = encoder.backbone.state_dict().keys()
    _load_state(encoder.backbone, {name: named[name] for name in wanted & named.keys()}, spec, path)
    return encoder.eval()


def _read_checkpoint(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    if not path.is_file():
        raise ModelError(f"there is no model at {path}")
    content = read_file(path)
    has_spec = isinstance(content.get("spec"), dict)
    if not has_spec or not isinstance(content.get("model"), dict):
        raise ModelError(f"{path} is no checkpoint of this project: it does not say which expressions it knows")
    return ModelSpec.from_dict(content["spec"], str(path)), content["model"]


def _load_state(network: nn.Module, state: Mapping[str, Tensor], spec: ModelSpec, path: Path) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"the weights at {path} do not fit {spec.arch}: {reason}") from None


def read_folder(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Read the specification and the tensors of the encoder or classifier in a folder.

    Args:
        path: A folder that holds, at any depth, what `save_encoder` or `save_classifier` wrote.

    Raises:
        ModelError: It holds none or several, they cannot be read, or its expressions are ordered differently.
    """
    weights = [*_find_weights(path, ENCODER_WEIGHTS), *_find_weights(path, WEIGHTS)]
    if not weights:
        pairs = " or ".join(f"{name} with {spec}" for name, spec in SPEC_OF.items())
        raise ModelError(f"{path} holds no initial weights: {pairs} is missing")
    if len(weights) > 1:
        folders = ", ".join(str(file.parent) for file in weights[:4])
        raise ModelError(f"{path} holds {len(weights)} models: name the folder of one, such as {folders}")
    return _read_weights(weights[0])


def _find_weights(folder: Path, name: str) -> list[Path]:
    # Weights without their specification may be anybody's.
    files = sorted(folder.rglob(name))
    return [file for file in files if file.with_name(SPEC_OF[name]).is_file()]


def _read_weights(weights: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    path = weights.with_name(SPEC_OF[weights.name])
    state = read_file(weights)
    try:
        spec = read_object(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}") from None
    # For people only: an encoder is used the same way however it was trained.
    spec.pop("method", None)
    return ModelSpec.from_dict(spec, str(path)), state
