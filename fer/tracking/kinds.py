"""Deliver the entries of a spool to the store, so that whatever is delivered twice is recorded once.

Points keep their times, by which the store knows them again; tags, parameters and files replace themselves; a run has
one model, which is looked for before another one is made.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fer.errors import FerError, shortened
from fer.tracking import endings
from fer.tracking.delivery import Delivery, NotYet
from fer.tracking.faults import fault_of
from fer.tracking.journal import Entry
from fer.tracking.names import ATTEMPT, DESCRIPTION, RUN_COLOUR, UNREGISTERED, param_tag
from fer.tracking.params import means_the_same
from fer.tracking.request_settings import sent_once
from fer.tracking.stored_checkpoints import forget_checkpoints

BATCH = 500
"""Points that MLflow takes at once, at half of its limit."""


def deliver(delivery: Delivery, entry: Entry) -> Any:
    """Do what an entry says, and return what came of it.

    Raises:
        NotYet: It waits for the run's model.
        Exception: The store does not do it; `fault_of` tells whether it may later.
    """
    return KINDS[entry.kind](delivery, entry.content)


def _metrics(delivery: Delivery, content: Mapping[str, Any]) -> None:
    points = []
    for key, value, timestamp, step in content["points"]:
        if delivery.recorded.get((key, step)) != value:
            points.append(Metric(key, value, timestamp, step))
    for first in range(0, len(points), BATCH):
        delivery.client.log_batch(delivery.run_id, metrics=points[first : first + BATCH])


def _model_metrics(delivery: Delivery, content: Mapping[str, Any]) -> None:
    tied = {
        "model_id": delivery.resolve(content["model_id"]),
        "dataset_name": content["dataset"],
        "dataset_digest": content["digest"],
        "run_id": delivery.run_id,
    }
    points = [Metric(*point, **tied) for point in content["points"]]
    delivery.client.log_batch(delivery.run_id, metrics=points)


def _tags(delivery: Delivery, content: Mapping[str, Any]) -> None:
    tags = [RunTag(key, delivery.resolve(value)) for key, value in content["tags"].items()]
    delivery.client.log_batch(delivery.run_id, tags=tags)


def _params(delivery: Delivery, content: Mapping[str, Any]) -> None:
    # `mlflow run` has logged the given ones, as shell-quoted text, and MLflow refuses another value.
    logged = delivery.client.get_run(delivery.run_id).data.params
    missing: list[Param] = []
    differing: list[RunTag] = []
    for key, text in content["params"].items():
        if key not in logged:
            missing.append(Param(key, text))
        elif not means_the_same(logged[key], text):
            differing.append(RunTag(param_tag(key), text))
    delivery.client.log_batch(delivery.run_id, params=missing, tags=differing)


def _file(delivery: Delivery, content: Mapping[str, Any]) -> None:
    repository = delivery.artifacts()
    for place in content["kept"]:
        delivery.upload(repository, delivery.kept(place), content["folder"])


def _input(delivery: Delivery, content: Mapping[str, Any]) -> None:
    tags = [InputTag("mlflow.data.context", content["context"])]
    delivery.client.log_inputs(delivery.run_id, [DatasetInput(Dataset(**content["dataset"]), tags)])


def _set_up(delivery: Delivery, content: Mapping[str, Any]) -> None:
    # Not at the top: needed once a run, and they import this package's readers.
    from fer.tracking.descriptions import describe_experiment
    from fer.tracking.views import next_colour

    if RUN_COLOUR not in delivery.client.get_run(delivery.run_id).data.tags:
        delivery.client.set_tag(delivery.run_id, RUN_COLOUR, next_colour(delivery.experiment_id))
    describe_experiment(delivery.experiment_id)


def _describe(delivery: Delivery, content: Mapping[str, Any]) -> None:
    # A person may have described it while it went on.
    if DESCRIPTION not in delivery.client.get_run(delivery.run_id).data.tags:
        text = delivery.resolve(content["text"])
        delivery.client.set_tag(delivery.run_id, DESCRIPTION, text[: endings.MAX_DESCRIPTION])


def _views(delivery: Delivery, content: Mapping[str, Any]) -> None:
    from fer.tracking.views import refresh  # it brings the data sets' names along

    try:
        refresh(delivery.address, delivery.experiment_id, content["keys"], content["sets"])
    except (MlflowException, OSError) as error:
        if fault_of(delivery.address, error).passes:
            raise
        # Views are a help to readers; that a store refuses them is no reason to fail.
        print(f"warning: the views of MLflow's page of runs were not written: {shortened(str(error), 200)}")


def _model(delivery: Delivery, content: Mapping[str, Any]) -> None:
    client = delivery.client
    models = client.search_logged_models([delivery.experiment_id], f"source_run_id = '{delivery.run_id}'")
    if models:
        model = models[0]
    else:
        params = client.get_run(delivery.run_id).data.params
        with sent_once():
            model = client.create_logged_model(
                delivery.experiment_id,
                name=content["name"],
                source_run_id=delivery.run_id,
                params=dict(params),
                tags=content["tags"],
            )
    # From here on an attempt that is cut off goes on with this one.
    delivery.spool.write_head(model_id=model.model_id, model_location=model.artifact_location)
    outputs = client.get_run(delivery.run_id).outputs
    named = [output.model_id for output in outputs.model_outputs] if outputs else []
    # The store refuses to be told twice.
    if model.model_id not in named:
        with sent_once():
            client.log_outputs(delivery.run_id, [LoggedModelOutput(model.model_id, step=0)])
    _upload_model_files(delivery, delivery.kept(content["kept"][0]))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    delivery.spool.write_head(model_complete=True)


def _model_files(delivery: Delivery, content: Mapping[str, Any]) -> None:
    _upload_model_files(delivery, delivery.kept(content["kept"][0]))


def _upload_model_files(delivery: Delivery, path: Path) -> None:
    """Upload a file, or all files of a folder, into the run's model."""
    delivery.model_id()
    repository = get_artifact_repository(str(delivery.spool.head["model_location"]))
    if path.is_file():
        delivery.upload(repository, path, "")
        return
    for inner in sorted(path.rglob("*")):
        if inner.is_file():
            folder = inner.parent.relative_to(path)
            delivery.upload(repository, inner, "" if folder == Path() else folder.as_posix())


def _describe_model(delivery: Delivery, content: Mapping[str, Any]) -> None:
    text = delivery.resolve(content["text"])[: endings.MAX_DESCRIPTION]
    delivery.client.set_logged_model_tags(delivery.model_id(), {DESCRIPTION: text})


def _register(delivery: Delivery, content: Mapping[str, Any]) -> Any:
    """Register the run's model; return the registration, or a sentence where the registry refuses it."""
    from fer.tracking.registry import register_run  # only trainings that ended need it

    # Nobody is to be offered a model of which files are missing.
    if not delivery.spool.head.get("model_complete"):
        raise NotYet(f"it waits for the files of the model of run {delivery.run_id}, which the store has not taken")
    try:
        return register_run(delivery.run_id, content["name"], content["promote"])
    except FerError as error:
        cause = error.__cause__
        if cause is not None and fault_of(delivery.address, cause).passes:
            raise cause from None
        message = delivery.resolve(f"{error}; {content['later']}")
    delivery.client.set_tag(delivery.run_id, UNREGISTERED, message)
    return message


def _end(delivery: Delivery, content: Mapping[str, Any]) -> None:
    attempt = delivery.client.get_run(delivery.run_id).data.tags.get(ATTEMPT)
    # Another process may carry on with it by now, and will end it.
    if attempt in (None, delivery.spool.head.get("attempt")):
        end_run(delivery.client, delivery.run_id, content)


def end_run(client: mlflow.MlflowClient, run_id: str, end: Mapping[str, Any]) -> None:
    """End a run in the store, as `write_end` does, and tidy up after a training.

    Args:
        client: Of the store.
        run_id: The run.
        end: How it ended; with `forget` the checkpoints go that a finished training needs no more.
    """
    endings.write_end(client, run_id, end)
    # After it: a process that is killed in between leaves a finished run and not one that has to begin again.
    if end["status"] == endings.FINISHED and end.get("forget"):
        forget_checkpoints(client, run_id)


KINDS: dict[str, Callable[[Delivery, Mapping[str, Any]], Any]] = {
    "begin": _set_up,
    "metrics": _metrics,
    "model_metrics": _model_metrics,
    "tags": _tags,
    "params": _params,
    "file": _file,
    "input": _input,
    "describe": _describe,
    "views": _views,
    "model": _model,
    "model_files": _model_files,
    "describe_model": _describe_model,
    "register": _register,
    "end": _end,
}
