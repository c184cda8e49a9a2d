"""Classifiers and encoders on disk: a folder of safetensors and JSON, or a training checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from fer.errors import ModelError
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.foreign import read_file
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
    _save(encoder.trunk.state_dict(), ENCODER_WEIGHTS, described, folder)


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
