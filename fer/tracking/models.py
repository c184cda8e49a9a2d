"""Find logged and registered models, and download them."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from fer.errors import FerError, ModelError, shortened, unknown_name
from fer.models.backbones import Classifier
from fer.models.files import load_classifier
from fer.tracking import store
from fer.tracking.champion import CHAMPION, versions_of
from fer.tracking.names import ENCODER, MODEL

MODELS = "models:/"
RUNS = "runs:/"


@dataclass(frozen=True)
class FetchedModel:
    """A model on this machine.

    Attributes:
        path: Its folder or file.
        model_id: The logged model's id, or empty for a file.
        run_id: The run it came from, or empty.
    """

    path: Path
    model_id: str = ""
    run_id: str = ""


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
        raise _no_model(address, error) from None
    return f"{MODELS}{name}/{version.version}"


def fetch_classifier(address: str, folder: Path) -> tuple[Classifier, FetchedModel]:
    """Download a classifier and return it, in evaluation mode, with its place and origin.

    Args:
        address: As of `fetch_model`.
        folder: Where downloads go.

    Raises:
        ModelError: There is no such model, or it is no classifier of this project.
    """
    fetched = fetch_model(address, folder)
    try:
        return load_classifier(fetched.path), fetched
    except ModelError as error:
        # It names a folder that soon is gone, and that nobody asked for.
        raise ModelError(str(error).replace(str(fetched.path), address)) from None


def fetch_model(address: str, folder: Path) -> FetchedModel:
    """Download a model.

    Args:
        address: `models:/<name>@<alias>`, `models:/<name>/<version>`, `runs:/<id>` (the model that run logged,
            or the encoder it pre-trained), `runs:/<id>/<artifact>`, or a path.
        folder: Where downloads go.

    Raises:
        ModelError: There is no such model.
    """
    if not address.startswith((MODELS, RUNS)):
        return FetchedModel(Path(address).expanduser())
    store.connect()
    try:
        locate = _locate_in_run if address.startswith(RUNS) else _locate_in_registry
        model_id, run_id, uri = locate(address)
        path = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise _no_model(address, error) from None
    return FetchedModel(Path(path), model_id, run_id)


def _no_model(address: str, error: Exception) -> ModelError:
    hint = _nearest_name(address) or shortened(str(error), 160)
    return ModelError(f"there is no model at {address}: {hint}")


def _nearest_name(address: str) -> str:
    """Return what was probably meant where an address names a registered model that does not exist; else nothing."""
    if not address.startswith(MODELS):
        return ""
    name = address.removeprefix(MODELS).split("@")[0].split("/")[0]
    try:
        names = [model.name for model in mlflow.search_registered_models()]
    except MlflowException:
        # The store that does not answer has just been reported, and a hint is no more than a hint.
        return ""
    if name in names or not names:
        return ""
    return unknown_name("registered model", name, names)


def _locate_in_run(address: str) -> tuple[str, str, str]:
    """Return a logged model's id, its run's id, and an address that MLflow can download."""
    client = mlflow.MlflowClient()
    run_id, _, artifact = address.removeprefix(RUNS).partition("/")
    outputs = client.get_run(run_id).outputs
    if artifact and artifact != MODEL:
        return "", run_id, address
    if outputs and outputs.model_outputs:
        # Not through `runs:/<id>/model`: MLflow then searches all models of the experiment for it, page by page.
        model_id = outputs.model_outputs[-1].model_id
        return model_id, run_id, f"{MODELS}{model_id}"
    if client.list_artifacts(run_id, ENCODER):
        return "", run_id, f"{RUNS}{run_id}/{ENCODER}"
    raise MlflowException(f"run {run_id} logged neither a model nor an encoder")


def _locate_in_registry(address: str) -> tuple[str, str, str]:
    """Return a logged model's id, its run's id, and an address that MLflow can download."""
    client = mlflow.MlflowClient()
    name, at, alias = address.removeprefix(MODELS).partition("@")
    if at:
        version = client.get_model_version_by_alias(name, alias)
    elif "/" in name:
        version = client.get_model_version(*name.split("/", 1))
    else:
        logged = client.get_logged_model(name)
        return name, logged.source_run_id or "", address
    # The database store leaves `model_id` empty; the source says it.
    source = version.source or ""
    model_id = source.removeprefix(MODELS) if source.startswith(MODELS) else ""
    return model_id, version.run_id or "", address


def fetch_file(run_id: str, artifact: str, folder: Path) -> Path:
    """Download one artifact of a run into a folder, where it keeps its artifact path.

    Raises:
        ModelError: The run or the artifact does not exist.
    """
    store.connect()
    try:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise ModelError(f"run {run_id} has no {artifact}: {shortened(str(error), 160)}") from None
    return Path(path)


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
    listed: list[ListedModel] = []
    try:
        for model in mlflow.search_registered_models(order_by=["name"]):  # of all pages, unlike the client's
            listed += _listed_versions(model.name, model.aliases)
    except MlflowException as error:
        raise FerError(f"the MLflow store {address} does not answer: {shortened(str(error), 200)}") from None
    return listed


def _listed_versions(name: str, version_of: dict[str, str]) -> list[ListedModel]:
    """Return the versions of a model, of which aliases name some."""
    # Several aliases may stand for one version.
    aliases: dict[str, list[str]] = {}
    for alias in sorted(version_of, key=lambda alias: (alias != CHAMPION, alias)):
        aliases.setdefault(str(version_of[alias]), []).append(alias)
    numbers = [str(version.version) for version in versions_of(name)]
    unnamed = sorted(set(numbers) - set(aliases), key=int, reverse=True)
    listed = []
    for number in [*aliases, *unnamed]:
        shown = f"version {number}"
        if number in aliases:
            shown = f"{' and '.join(aliases[number])} (version {number})"
        listed.append(ListedModel(f"{MODELS}{name}/{number}", f"{name}, {shown}"))
    return listed
