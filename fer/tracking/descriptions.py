"""Describe runs, models and MLflow experiments in Markdown, as MLflow's pages show it; never over a person's text."""

from contextlib import suppress

import mlflow
from mlflow.exceptions import MlflowException

from fer.tracking.champion import CHAMPION, VERDICT
from fer.tracking.names import DESCRIPTION, PROTOCOL, SCORE, VALIDATION_DIGEST
from fer.utils.rendering import render, unwrapped

MAX_REGISTERED = 5000
"""Characters of a description that MLflow's model registry takes."""


def describe_version(name: str, version: str, text: str) -> None:
    """Describe a registered version, and its registered model where nobody has described that yet."""
    client = mlflow.MlflowClient()
    if text and not client.get_model_version(name, version).description:
        client.update_model_version(name, version, text[:MAX_REGISTERED])
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, _registered_model(name))


def _registered_model(name: str) -> str:
    """Return what a registered model's name stands for, and how its champion is chosen."""
    text = render(
        "registered_model_description.md",
        name=name,
        champion=CHAMPION,
        score=SCORE,
        digest=VALIDATION_DIGEST,
        protocol=PROTOCOL,
        verdict=VERDICT,
    )
    return unwrapped(text)


def describe_experiment(experiment_id: str) -> None:
    """Say how to read an MLflow experiment, unless it says something already."""
    client = mlflow.MlflowClient()
    # A server may give rights to runs alone.
    with suppress(MlflowException):
        if DESCRIPTION not in client.get_experiment(experiment_id).tags:
            client.set_experiment_tag(experiment_id, DESCRIPTION, unwrapped(render("experiment_description.md")))
