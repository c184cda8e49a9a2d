"""Name runs and logged models, so that a list of them says what each one is, and tell what addresses stand for."""

import re

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.config.options import without_folders
from fer.errors import ModelError, shortened
from fer.tracking import store
from fer.tracking.names import COMMAND, param
from fer.utils.paths import model_file_name, printable

RUN = "runs:/"
MODELS = "models:/"
"""Beginnings of the addresses of runs and of models."""
SEPARATOR = " · "
FORBIDDEN = r"[/:.%\"']"
"""Signs that MLflow allows in the name of no logged model."""


def joined_name(*parts: str) -> str:
    """Return a run's name of its parts, such as `resnet18 · ferplus · scratch · seed 0`; empty ones are left out."""
    return printable(SEPARATOR.join(filter(None, parts)))


def logged_model_name(run_name: str) -> str:
    """Return the name of the model that a run logs: the run's own, as far as MLflow allows its signs."""
    return re.sub(FORBIDDEN, "-", run_name)


def model_label(address: str) -> str:
    """Return what a run's name calls a model: `fer/3`, the name of the run that logged it or its own, or its file's.

    Args:
        address: As of `fer.tracking.models.fetch_model`.
    """
    if address.startswith(RUN):
        run = _run_of(address)
        return str(run.info.run_name) if run else _short_run(address)
    label = _label(address)
    # What is left of a logged model's address is its id.
    return _logged_name(label) if address.startswith(MODELS) and "/" not in label else label


def weights_label(init: str) -> str:
    """Return what a run's name calls its starting weights.

    Args:
        init: The option: a name, a file or the address of a run or a model.

    Returns:
        Such as `simclr-faces`, `weights.ckpt`, `fer/3`, `simclr on raf` for a run of `pretrain`, else `run 0123abcd`.
    """
    if not init.startswith(RUN):
        return _label(init)
    run = _run_of(init)
    if run and run.data.tags.get(COMMAND) == "pretrain":
        method, dataset = (param(name, run.data.params, run.data.tags) for name in ("method", "dataset"))
        return f"{method} on {dataset}"
    return _short_run(init)


def _label(address: str) -> str:
    if not address.startswith(MODELS):
        return without_folders(address)
    # An alias stands for another version tomorrow.
    return resolve_alias(address).removeprefix(MODELS)


def _run_of(address: str) -> Run | None:
    """Return the run that an address names; None where there is none, which whoever reads its model reports."""
    store.connect()
    try:
        return mlflow.MlflowClient().get_run(address.removeprefix(RUN).partition("/")[0])
    except MlflowException:
        return None


def _logged_name(model_id: str) -> str:
    """Return a logged model's name; its id where there is none, which whoever reads it reports."""
    store.connect()
    try:
        return str(mlflow.MlflowClient().get_logged_model(model_id).name)
    except MlflowException:
        return model_id


def _short_run(address: str) -> str:
    return model_file_name(address).replace("-", " ")


def resolve_alias(address: str) -> str:
    """Return `models:/<name>@<alias>` as `models:/<name>/<version>`, which does not move; any other address as it is.

    Raises:
        ModelError: There is no such model or alias.
        FerError: The store cannot be opened or reached.
    """
    name, at, alias = address.removeprefix(MODELS).partition("@")
    if not address.startswith(MODELS) or not at:
        return address
    store.connect()
    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        raise no_model(address, error) from None
    return f"{MODELS}{name}/{version.version}"


def no_model(address: str, error: Exception) -> ModelError:
    """Return the error that says why an address gives no model."""
    return ModelError(f"there is no model at {address}: {shortened(str(error), 160)}")
