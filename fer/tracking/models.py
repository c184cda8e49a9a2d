"""Model cards beside the models they describe, and the version an alias stands for."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from fer.errors import FerError, ModelError
from fer.models.backbones import Classifier
from fer.models.files import load_classifier
from fer.tracking import store
from fer.tracking.champion import CHAMPION, versions_of
from fer.tracking.registry import FetchedModel, fetch_model


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


@dataclass(frozen=True)
class ListedModel:
    """A version of a registered model.

    Attributes:
        address: By which it is loaded: with its number, since aliases move.
        label: The same for a person, with the aliases it has now.
    """

    address: str
    label: str


def registered_models() -> list[ListedModel]:
    """Return every version of every registered model: by model, those with an alias first, `champion` before all.

    Raises:
        FerError: The store cannot be opened or reached.
    """
    address = store.connect()
    found: list[ListedModel] = []
    try:
        for model in mlflow.search_registered_models(order_by=["name"]):  # of all pages, unlike the client's
            named: dict[str, list[str]] = {}
            for alias, number in sorted(model.aliases.items(), key=lambda item: (item[0] != CHAMPION, item[0])):
                named.setdefault(str(number), []).append(alias)
            numbers = [str(version.version) for version in versions_of(model.name)]
            others = sorted(set(numbers) - set(named), key=int, reverse=True)
            found += [_aliased(model.name, number, aliases) for number, aliases in named.items()]
            found += [
                ListedModel(f"models:/{model.name}/{number}", f"{model.name}, version {number}") for number in others
            ]
    except MlflowException as error:
        raise FerError(f"the MLflow store {address} does not answer: {' '.join(str(error).split())[:200]}") from None
    return found


def _aliased(name: str, number: str, aliases: list[str]) -> ListedModel:
    return ListedModel(f"models:/{name}/{number}", f"{name}, {' and '.join(aliases)} (version {number})")
