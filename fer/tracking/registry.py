"""Registered models: versions, who is champion, and bringing a model to this machine."""

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow.exceptions import MlflowException

from fer.errors import ModelError, RegistrationError, unknown_name
from fer.tracking import store
from fer.tracking.champion import PROMOTED, VERDICT, found_before, number, settle, verdict, versions_of
from fer.tracking.names import ENCODER, MODEL, SCORE

R = TypeVar("R")

DIGITS = 6
"""Decimals of a score as it is kept and compared."""
COLLISIONS = ("IntegrityError", "database is locked", "Model Version creation error", "already exists")
"""How MLflow says that two processes changed the same thing at the same moment."""
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts after a collision, made up to half shorter or longer by chance."""


@dataclass(frozen=True)
class Registration:
    """A registered version.

    Attributes:
        name: The registered model's name.
        version: Its number.
        message: One sentence on the alias `champion`.
    """

    name: str
    version: str
    message: str


def register(name: str, model_id: str, score: float, tags: Mapping[str, str], promote: bool) -> Registration:
    """Register a logged model and move the alias `champion` if that is honest.

    The alias moves when there is no champion, when `promote` is set, or when the score is higher than that of a
    champion measured on the same validation images by the same protocol. Registrations in one store from one machine
    wait for each other; those of several machines come to the same champion, as `fer.tracking.champion` says.

    Args:
        name: The registered model.
        model_id: The logged model.
        score: Validation score, higher is better.
        tags: Tags of the version; must hold `validation_digest` and `protocol`.
        promote: Whether to move the alias in any case.

    Raises:
        RegistrationError: The registry refuses or does not answer. Calling again completes what was begun.
    """
    version_tags = {**tags, SCORE: f"{score:.{DIGITS}f}"}
    if promote:
        version_tags[PROMOTED] = "true"
    try:
        with store.locked(mlflow.get_tracking_uri(), "registering"):
            made = _unfinished(name, model_id, version_tags) or _create(name, model_id, version_tags)
            _retried(lambda: settle(name))
            client = mlflow.MlflowClient()
            message = verdict(client.get_model_version(name, str(made)), versions_of(name))
            client.set_model_version_tag(name, str(made), VERDICT, message)
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RegistrationError(f"the model registry did not take a version of {name}: {reason}") from error
    return Registration(name, str(made), message)


def _unfinished(name: str, model_id: str, tags: Mapping[str, str]) -> int | None:
    """Return the version that an earlier attempt at the same registration left behind, or None."""
    for version in versions_of(name):
        same = version.source == f"models:/{model_id}" and tags.items() <= version.tags.items()
        if same and VERDICT not in version.tags:
            return number(version)
    return None


def _create(name: str, model_id: str, tags: Mapping[str, str]) -> int:
    all_tags = {**tags, **found_before(name)}
    return number(_retried(lambda: mlflow.register_model(f"models:/{model_id}", name, tags=all_tags)))


def _retried(attempt: Callable[[], R]) -> R:
    """Return what an attempt returns; try again where it collided with another process in the database."""
    for seconds in WAITS:
        try:
            return attempt()
        except MlflowException as error:
            if not any(words in str(error) for words in COLLISIONS):
                raise
            time.sleep(seconds * random.uniform(0.5, 1.5))
    return attempt()


@dataclass(frozen=True)
class FetchedModel:
    """A model brought to this machine.

    Attributes:
        path: Its folder or file.
        model_id: The logged model's id, or empty for a file.
        run_id: The run it came from, or empty.
    """

    path: Path
    model_id: str = ""
    run_id: str = ""


def fetch_model(address: str, folder: Path) -> FetchedModel:
    """Bring a model to this machine.

    Args:
        address: `models:/<name>@<alias>`, `models:/<name>/<version>`, `runs:/<id>` (the model that run logged,
            or the encoder it pre-trained), `runs:/<id>/<artifact>`, or a path.
        folder: Where downloads go.

    Raises:
        ModelError: There is no such model.
    """
    if not address.startswith(("models:/", "runs:/")):
        return FetchedModel(Path(address).expanduser())
    store.connect()
    try:
        model_id, run_id, exact = _locate(address)
        path = mlflow.artifacts.download_artifacts(artifact_uri=exact, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        hint = _nearest(address) or " ".join(str(error).split())[:160]
        raise ModelError(f"there is no model at {address}: {hint}") from None
    return FetchedModel(Path(path), model_id, run_id)


def _nearest(address: str) -> str:
    """Return what was probably meant where an address names a registered model that does not exist; else nothing."""
    if not address.startswith("models:/"):
        return ""
    name = address.removeprefix("models:/").split("@")[0].split("/")[0]
    try:
        names = [model.name for model in mlflow.search_registered_models()]
    except MlflowException:  # a store that does not answer is told about by whoever asks for a hint
        return ""
    if name in names or not names:
        return ""
    return unknown_name("registered model", name, names)


def _locate(address: str) -> tuple[str, str, str]:
    """Return logged model's id, run's id, and an address MLflow can download."""
    client = mlflow.MlflowClient()
    if address.startswith("runs:/"):
        run_id, _, rest = address.removeprefix("runs:/").partition("/")
        outputs = client.get_run(run_id).outputs
        if rest and rest != MODEL:
            return "", run_id, address
        if not outputs or not outputs.model_outputs:
            if client.list_artifacts(run_id, ENCODER):
                return "", run_id, f"runs:/{run_id}/{ENCODER}"
            raise MlflowException(f"run {run_id} logged neither a model nor an encoder")
        model_id = outputs.model_outputs[-1].model_id
        return model_id, run_id, f"models:/{model_id}"
    name, at, alias = address.removeprefix("models:/").partition("@")
    if at or "/" in name:
        found = client.get_model_version_by_alias(name, alias) if at else client.get_model_version(*name.split("/", 1))
        # The database store leaves `model_id` empty; the source says it.
        source = found.source or ""
        model_id = source.removeprefix("models:/") if source.startswith("models:/") else ""
        return model_id, found.run_id or "", address
    logged = client.get_logged_model(name)
    return name, logged.source_run_id or "", address


def fetch_file(run_id: str, artifact: str, folder: Path) -> Path:
    """Download one artifact of a run.

    Raises:
        ModelError: The run or the artifact does not exist.
    """
    store.connect()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        try:
            path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact, dst_path=name)
        except (MlflowException, OSError) as error:
            why = " ".join(str(error).split())[:160]
            raise ModelError(f"run {run_id} has no {artifact}: {why}") from None
        return Path(path).rename(folder / Path(artifact).name)
