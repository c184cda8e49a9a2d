"""Model cards beside the models they describe, and the version an alias stands for."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from fer.tracking import store

import mlflow  # isort: skip  # after `store`, which sets what MLflow reads at import
from mlflow.exceptions import MlflowException  # isort: skip


def log_card(model_id: str, files: Mapping[str, str]) -> None:
    """Add a card to a logged model, so that it comes along whenever the model is downloaded.

    Args:
        model_id: The logged model.
        files: Texts by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        mlflow.MlflowClient().log_model_artifacts(model_id, folder)


def pinned(address: str) -> str:
    """Return a registered model's address with its alias replaced by the version it stands for now.

    Other addresses, and aliases that do not exist, stay as they are.

    Raises:
        FerError: The store does not answer.
    """
    name, at, alias = address.removeprefix("models:/").partition("@")
    if not address.startswith("models:/") or not at:
        return address
    store.connect()
    try:
        return f"models:/{name}/{mlflow.MlflowClient().get_model_version_by_alias(name, alias).version}"
    except MlflowException:
        return address
