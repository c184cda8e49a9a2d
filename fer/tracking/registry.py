"""Registered models: versions, who is champion, and bringing a model to this machine."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer.errors import ModelError, unknown_name
from fer.tracking import store

import mlflow  # isort: skip  # after `store`, which sets what MLflow reads at import
from mlflow.exceptions import MlflowException  # isort: skip

CHAMPION = "champion"
ENCODER = "encoder"
"""Artifact folder of an encoder that a run pre-trained."""

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says where there is no such model or alias."""
DIGITS = 6
"""Decimals of a score as it is kept and compared."""
COMPARABLE = ("validation_digest", "protocol")
"""Tags that must agree before two versions' scores may be compared."""


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
    champion measured on the same validation images by the same protocol.

    Args:
        name: The registered model.
        model_id: The logged model.
        score: Validation score, higher is better.
        tags: Tags of the version; must hold `validation_digest` and `protocol`.
        promote: Whether to move the alias in any case.
    """
    client = mlflow.MlflowClient()
    made = mlflow.register_model(f"models:/{model_id}", name, tags={**tags, "score": f"{score:.{DIGITS}f}"})
    present = _champion(name)
    if present is None:
        message = f"version {made.version} is the champion: the first of {name}"
    elif promote:
        message = f"version {made.version} is the champion by promote=true"
    elif any(present.tags.get(key) != tags[key] for key in COMPARABLE):
        return Registration(
            name,
            made.version,
            f"version {present.version} stays champion: it was chosen on other validation images or by another "
            "protocol, so the scores cannot be compared (promote=true overrides)",
        )
    elif not round(score, DIGITS) > float(present.tags["score"]):  # a score that is no number never wins
        return Registration(
            name,
            made.version,
            f"version {present.version} stays champion: {float(present.tags['score']):.4f} on validation against "
            f"{score:.4f}",
        )
    else:
        message = f"version {made.version} is the champion: {score:.4f} on validation against {present.tags['score']}"
    client.set_registered_model_alias(name, CHAMPION, made.version)
    return Registration(name, made.version, message)


def _champion(name: str) -> "mlflow.entities.model_registry.ModelVersion | None":
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise  # a server that fails for a moment is no reason to crown the next version
        return None


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
        if rest and rest != "model":
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
