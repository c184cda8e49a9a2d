"""Classifiers on disk: a folder of safetensors and JSON, or a training checkpoint."""

import json
from pathlib import Path

from safetensors.torch import save_file

from fer.errors import ModelError
from fer.models.backbones import Classifier, ModelSpec
from fer.models.weights import read_file

WEIGHTS = "model.safetensors"
SPEC = "model.json"


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write a classifier's weights and specification into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    text = json.dumps(classifier.spec.to_dict(), indent=1)
    (folder / SPEC).write_text(text, encoding="utf-8")


def load_classifier(path: Path) -> Classifier:
    """Return the classifier in a folder that `save_classifier` wrote or in a training checkpoint, in evaluation mode.

    Args:
        path: A folder that holds the two files at any depth (such as a downloaded model), or `best.ckpt`, `last.ckpt`.

    Raises:
        ModelError: There is no model, it cannot be read, or its expressions are ordered differently.
    """
    if path.is_dir():
        found = sorted(path.rglob(WEIGHTS))
        if not found or not found[0].with_name(SPEC).is_file():
            raise ModelError(f"{path} holds no model: {WEIGHTS} and {SPEC} are missing")
        state, described = read_file(found[0]), found[0].with_name(SPEC)
        try:
            spec = ModelSpec.from_dict(json.loads(described.read_text(encoding="utf-8")), str(described))
        except ValueError as error:
            raise ModelError(f"{described} is damaged: {error}") from None
    elif path.is_file():
        content = read_file(path)
        if "spec" not in content:
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
