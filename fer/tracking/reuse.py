"""Recognising a stage that was done before: its fingerprint, and the run that bears it and still has what it made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.errors import ModelError
from fer.tracking import store
from fer.tracking.names import ENCODER, EVALUATION, FINGERPRINT, checkpoint_path
from fer.training.checkpoints import BEST, LAST

MADE = {"pretrain": ENCODER, "finetune": checkpoint_path(BEST), "evaluate": EVALUATION}
"""An artifact without which a command's finished run is of no use."""


@dataclass(frozen=True)
class Logged:
    """What a run has logged.

    Attributes:
        metrics: Last values by name.
        tags: By name.
    """

    metrics: dict[str, float]
    tags: dict[str, str]


def fingerprint(command: str, settings: Mapping[str, Any], inputs: Mapping[str, str], commit: str) -> str:
    """Return what is equal for two runs only if they must come out equal.

    Args:
        command: What is done.
        settings: The options that matter, resolved.
        inputs: Digests of what goes in, by name.
        commit: The code's.
    """
    text = json.dumps([command, dict(settings), dict(inputs), commit], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def finished_run(mark: str, command: str) -> str:
    """Return the latest finished run with this fingerprint whose artifacts are still there, or nothing."""
    return next((str(run.info.run_id) for run in _runs(mark, "FINISHED") if _whole(run, command)), "")


def stopped_run(mark: str) -> str:
    """Return the latest stopped run with this fingerprint that can be continued, or nothing."""
    found = (str(run.info.run_id) for run in _runs(mark, "KILLED"))
    return next((run_id for run_id in found if _has(run_id, checkpoint_path(LAST))), "")


def exact_address(address: str) -> str:
    """Return what `models:/<name>@<alias>` means now, as `models:/<name>/<version>`; any other address as it is.

    Raises:
        ModelError: There is no such model or alias.
    """
    name, at, alias = address.removeprefix("models:/").partition("@")
    if not at or not address.startswith("models:/"):
        return address
    store.connect()
    try:
        return f"models:/{name}/{mlflow.MlflowClient().get_model_version_by_alias(name, alias).version}"
    except MlflowException as error:
        why = " ".join(str(error).split())[:160]
        raise ModelError(f"there is no model at {address}: {why}") from None


def logged(run_id: str) -> Logged:
    """Return what a run has logged."""
    data = mlflow.MlflowClient().get_run(run_id).data
    return Logged(dict(data.metrics), dict(data.tags))


def _runs(mark: str, status: str) -> list[Run]:
    store.connect()
    client = mlflow.MlflowClient()
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.`{FINGERPRINT}` = '{mark}' and attributes.status = '{status}'"
    return list(client.search_runs(places, wanted, order_by=["attributes.start_time DESC"]))


def _whole(run: Run, command: str) -> bool:
    if not _has(run.info.run_id, MADE[command]):
        return False
    models = run.outputs.model_outputs if run.outputs else []
    return command != "finetune" or any(_has_model(model.model_id) for model in models)


def _has(run_id: str, artifact: str) -> bool:
    parent = artifact.rpartition("/")[0]
    try:
        listed = mlflow.MlflowClient().list_artifacts(run_id, parent or None)
    except (MlflowException, OSError):
        return False
    return any(item.path == artifact for item in listed)


def _has_model(model_id: str) -> bool:
    try:
        return bool(mlflow.MlflowClient().list_logged_model_artifacts(model_id))
    except (MlflowException, OSError):
        return False
