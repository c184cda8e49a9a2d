"""Register logged models as versions, when their run ends or at any time later, and list what is registered."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import mlflow
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from fer.errors import ConfigError, FerError, ModelError, RegistrationError, shortened, without_login
from fer.tracking import champion, store
from fer.tracking.asking import made_once
from fer.tracking.descriptions import describe_version
from fer.tracking.faults import ignoring_refusals
from fer.tracking.names import (
    DESCRIPTION,
    REGISTERED,
    REGISTERED_NAME,
    REGISTERED_NAME_USED,
    SCORE,
    UNREGISTERED,
    param,
)
from fer.tracking.naming import MODELS

R = TypeVar("R")

DIGITS = 6
"""Decimals of a score as it is kept and compared."""
COLLISIONS = ("IntegrityError", "database is locked", "Model Version creation error", "already exists")
"""How MLflow says that two processes changed the same thing at the same moment."""
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts after a collision, made up to half shorter or longer at random."""
RUN_TAGS = ("fer.", "mlflow.")
"""Beginnings of a logged model's tags that say nothing of a version."""


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
    run, model = _logged_model(run_id)
    if name == "auto":
        name = _intended_name(run)
    score = float(model.tags[SCORE])
    tags = {key: value for key, value in model.tags.items() if not key.startswith(RUN_TAGS)}
    client = mlflow.MlflowClient()
    try:
        registration = _complete_registration(name, model.model_id)
        if registration is None:
            registration = register(name, model.model_id, score, tags, promote)
        # A store without rights to it must not make a registered model seem refused.
        with ignoring_refusals():
            describe_version(name, registration.version, model.tags.get(DESCRIPTION, ""))
        note = f"{name}/{registration.version}: {registration.message}"
        client.set_tag(run_id, REGISTERED, note)
        if UNREGISTERED in run.data.tags:
            with ignoring_refusals():
                client.delete_tag(run_id, UNREGISTERED)
    except MlflowException as error:
        raise RegistrationError(f"the MLflow store refuses {name}: {shortened(str(error), 200)}") from error
    return registration


def _intended_name(run: Run) -> str:
    """Return the registered model that a run was meant for.

    Raises:
        ConfigError: It was meant for none.
    """
    params = run.data.params
    name = param(REGISTERED_NAME, params, run.data.tags)
    if name == "auto":
        name = params.get(REGISTERED_NAME_USED, "")
    if name in ("", "none"):
        cure = "say which with registered_name=<name>"
        raise ConfigError(f"run {run.info.run_id} was meant for no registered model: {cure}")
    return name


def _logged_model(run_id: str) -> tuple[Run, LoggedModel]:
    """Return a run and the model that it logged last."""
    client = mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
        logged = run.outputs.model_outputs if run.outputs else []
        model = client.get_logged_model(logged[-1].model_id) if logged else None
    except MlflowException as error:
        raise ModelError(f"run {run_id} cannot be read: {shortened(str(error), 160)}") from error
    if model is None or SCORE not in model.tags:
        fault = "has logged no classifier that was scored on validation"
        raise ModelError(f"run {run_id} {fault}: name a run of finetune")
    return run, model


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
        version_tags[champion.PROMOTED] = "true"
    try:
        # It spares those of one machine collisions; that the champion is right does not depend on it.
        with store.locked(mlflow.get_tracking_uri(), "registering"):
            number = _unfinished_version(name, model_id, version_tags)
            if number is None:
                number = _create_version(name, model_id, version_tags)
            _retry(lambda: champion.settle_alias(name))
            message = _write_verdict(name, number)
    except (MlflowException, OSError) as error:
        reason = shortened(str(error), 200)
        raise RegistrationError(f"the model registry did not take a version of {name}: {reason}") from error
    return Registration(name, str(number), message)


def _write_verdict(name: str, number: int) -> str:
    """Note on a version what its registration did to the alias, which makes the registration complete."""
    client = mlflow.MlflowClient()
    version = client.get_model_version(name, str(number))
    message = champion.verdict(version, champion.versions_of(name))
    client.set_model_version_tag(name, str(number), champion.VERDICT, message)
    return message


def _versions_with(name: str, model_id: str) -> list[ModelVersion]:
    """Return the versions that a logged model was registered as."""
    source = f"{MODELS}{model_id}"
    return [version for version in champion.versions_of(name) if version.source == source]


def _complete_registration(name: str, model_id: str) -> Registration | None:
    """Return the version that a model has become already, or None."""
    for version in _versions_with(name, model_id):
        if champion.VERDICT in version.tags:
            return Registration(name, str(version.version), version.tags[champion.VERDICT])
    return None


def _unfinished_version(name: str, model_id: str, tags: Mapping[str, str]) -> int | None:
    """Return the version that an earlier attempt at the same registration left behind, or None."""
    for version in _versions_with(name, model_id):
        if champion.VERDICT not in version.tags and tags.items() <= version.tags.items():
            return champion.number(version)
    return None


def _create_version(name: str, model_id: str, tags: Mapping[str, str]) -> int:
    # Read once and not again at each attempt: what stood before the first one counts.
    all_tags = {**tags, **champion.predecessor_tag(name)}
    source = f"{MODELS}{model_id}"

    def make() -> int:
        return champion.number(_retry(lambda: mlflow.register_model(source, name, tags=all_tags)))

    return made_once(lambda: _unfinished_version(name, model_id, tags), make)


def _retry(attempt: Callable[[], R]) -> R:
    """Return what an attempt returns; try again where it collided with another process in the database."""
    for seconds in WAITS:
        try:
            return attempt()
        except MlflowException as error:
            if not any(words in str(error) for words in COLLISIONS):
                raise
            # At random, or those that collided would collide again.
            time.sleep(seconds * random.uniform(0.5, 1.5))
    return attempt()


def registered_models() -> dict[str, str]:
    """Return a label of every version of every registered model, by the address that loads it.

    By model, those with an alias first and `champion` before all; an address holds the number, since aliases move.

    Raises:
        FerError: The store cannot be opened or reached.
    """
    address = store.connect()
    labels: dict[str, str] = {}
    try:
        # Of all pages, unlike the client's search.
        for model in mlflow.search_registered_models(order_by=["name"]):
            labels |= _version_labels(model.name, model.aliases)
    except MlflowException as error:
        reason = shortened(str(error), 200)
        raise FerError(f"the MLflow store {without_login(address)} does not answer: {reason}") from None
    return labels


def _version_labels(name: str, number_of: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a model's versions, of which aliases name some."""
    # Several aliases may stand for one version.
    aliases: dict[str, list[str]] = {}
    for alias in sorted(number_of, key=lambda alias: (alias != champion.CHAMPION, alias)):
        aliases.setdefault(str(number_of[alias]), []).append(alias)
    latest_first = reversed(champion.versions_of(name))
    numbers = [str(version.version) for version in latest_first]
    labels = {}
    for number in dict.fromkeys([*aliases, *numbers]):
        label = f"version {number}"
        if number in aliases:
            label = f"{' and '.join(aliases[number])} ({label})"
        labels[f"{MODELS}{name}/{number}"] = f"{name}, {label}"
    return labels
