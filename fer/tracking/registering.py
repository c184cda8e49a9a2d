"""Registering the model that a run has logged, when the run ends or at any time later."""

import mlflow
from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException

from fer.errors import ConfigError, ModelError, RegistrationError
from fer.tracking import store
from fer.tracking.champion import VERDICT, versions_of
from fer.tracking.names import REGISTERED, REGISTERED_NAME_USED, SCORE, UNREGISTERED
from fer.tracking.registry import Registration, register

RUN = "runs:/"
"""What the address of a run begins with."""
OWN = ("fer.", "mlflow.")
"""Beginnings of a logged model's tags that say nothing of a version."""


def register_run(run_id: str, name: str, promote: bool) -> Registration:
    """Register the model that a run has logged, and note it on the run; a model stands under one name once.

    Args:
        run_id: The run.
        name: The registered model; `auto` for the one the run was meant for.
        promote: Whether to move the alias `champion` in any case.

    Raises:
        ConfigError: The run was meant for no registered model, and none is named.
        ModelError: There is no such run, or it has logged no model that was scored on validation.
        RegistrationError: The registry refuses or does not answer.
    """
    store.connect()
    run, model = _logged_model(run_id)
    meant = run.data.params.get(REGISTERED_NAME_USED, "none")
    if name == "auto" and meant == "none":
        raise ConfigError(f"run {run_id} was meant for no registered model: say which with registered_name=<name>")
    name = meant if name == "auto" else name
    tags = {key: value for key, value in model.tags.items() if not key.startswith(OWN) and key != SCORE}
    client = mlflow.MlflowClient()
    try:
        made = _registered(name, model) or register(name, model.model_id, float(model.tags[SCORE]), tags, promote)
        client.set_tag(run_id, REGISTERED, f"{made.name}/{made.version}: {made.message}")
        if UNREGISTERED in run.data.tags:
            client.delete_tag(run_id, UNREGISTERED)
    except MlflowException as error:
        raise RegistrationError(f"the MLflow store refuses {name}: {' '.join(str(error).split())[:200]}") from error
    return made


def _logged_model(run_id: str) -> tuple[Run, LoggedModel]:
    client = mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
        logged = run.outputs.model_outputs if run.outputs else []
        model = client.get_logged_model(logged[-1].model_id) if logged else None
    except MlflowException as error:
        raise ModelError(f"run {run_id} cannot be read: {' '.join(str(error).split())[:160]}") from None
    if model is None or SCORE not in model.tags:
        raise ModelError(f"run {run_id} has logged no classifier that was scored on validation: name a run of finetune")
    return run, model


def _registered(name: str, model: LoggedModel) -> Registration | None:
    """Return the version that a model has become already, or None."""
    for version in versions_of(name):
        if version.source == f"models:/{model.model_id}" and VERDICT in version.tags:
            return Registration(name, str(version.version), version.tags[VERDICT])
    return None
