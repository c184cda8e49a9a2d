"""Classifiers from any address, and what a fetched folder tells of the machine it was logged on."""

from pathlib import Path

from fer.errors import ModelError
from fer.models.backbones import Classifier
from fer.models.files import load_classifier
from fer.tracking.registry import FetchedModel, fetch_model

from mlflow.models import Model  # isort: skip  # after `registry`, which sets what MLflow reads at import

MLMODEL = "MLmodel"
"""The file by which MLflow knows a model's folder."""


def fetch_classifier(address: str, folder: Path) -> tuple[Classifier, FetchedModel]:
    """Bring a classifier to this machine and return it, in evaluation mode, and where it lies and comes from.

    Args:
        address: As of `fetch_model`.
        folder: Where downloads go.

    Raises:
        ModelError: There is no such model, or it is no classifier of this project.
    """
    fetched = fetch_model(address, folder)
    try:
        return load_classifier(fetched.path), fetched
    except ModelError as fault:  # names a folder that soon is gone, and that nobody asked for
        raise ModelError(str(fault).replace(str(fetched.path), address)) from None


def forget_places(folder: Path) -> None:
    """Make what a model's folder says of its own files relative to it.

    MLflow notes in the file MLmodel where each file lay on the machine that logged the model. It reads none of these
    places, except for the last part of the code's.

    Args:
        folder: A model's folder; without a file MLmodel it stays as it is.
    """
    file = folder / MLMODEL
    if not file.is_file():
        return
    model = Model.load(file)
    model.artifact_path = "."
    for flavor in model.flavors.values():
        for artifact in (flavor.get("artifacts") or {}).values():
            artifact["uri"] = artifact["path"]
        if code := flavor.get("model_code_path"):
            flavor["model_code_path"] = Path(code).name
    model.save(file)
