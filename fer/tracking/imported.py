"""Runs of elsewhere, recorded once each so that MLflow shows them beside ours."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag

from fer.tracking import store
from fer.tracking.names import COMMAND, REPORTED, REPORTED_DIGEST


@dataclass(frozen=True)
class Elsewhere:
    """A run that was made without us.

    Attributes:
        name: Its name, unique among them.
        params: How it was made.
        metrics: What came out, under the names of our own metrics.
        tags: What else is known of it.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return what changes when any of it does."""
        content = json.dumps([self.name, dict(self.params), dict(self.metrics), dict(self.tags)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Recorded:
    """What recording did.

    Attributes:
        made: Names recorded now.
        present: Names that stood there already.
        experiment: The experiment's name.
        where: Lines that tell a person where to look.
    """

    made: tuple[str, ...]
    present: tuple[str, ...]
    experiment: str
    where: str


def record(runs: list[Elsewhere]) -> Recorded:
    """Record runs that are not recorded yet, and anew those recorded with other content; nothing stands there twice.

    They join the experiment they stand in already, else the one `$MLFLOW_EXPERIMENT_ID` or `$MLFLOW_EXPERIMENT_NAME`
    says, else that of the latest `finetune`, which `mlflow run` and the command line may have put into different ones.
    """
    address = store.connect()
    client = mlflow.MlflowClient()
    before = _search(client, f"tags.{REPORTED} = 'true'")
    place = before[0].info.experiment_id if before else _beside_ours(client, address)
    known = {run.data.tags.get(REPORTED_DIGEST, ""): run for run in before}
    made = []
    for run in runs:
        if known.pop(run.digest, None) is None:
            _record(client, place, run)
            made.append(run.name)
    names = {run.name for run in runs}
    for outdated in known.values():
        if outdated.info.run_name in names:
            client.delete_run(outdated.info.run_id)
    present = tuple(run.name for run in runs if run.name not in made)
    where = f"{store.ui_command(address)}\n{store.page(address, place)}".strip()
    return Recorded(tuple(made), present, client.get_experiment(place).name, where)


def _search(client: mlflow.MlflowClient, wanted: str) -> list[Run]:
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(places, wanted, order_by=["attributes.start_time DESC"]))


def _beside_ours(client: mlflow.MlflowClient, address: str) -> str:
    if not store.experiment_is_given() and (ours := _search(client, f"tags.`{COMMAND}` = 'finetune'")):
        return str(ours[0].info.experiment_id)
    return store.experiment_id(address)


def _record(client: mlflow.MlflowClient, place: str, run: Elsewhere) -> None:
    made = client.create_run(place, run_name=run.name)
    now = int(time.time() * 1000)
    client.log_batch(
        made.info.run_id,
        metrics=[Metric(key, value, now, 0) for key, value in run.metrics.items()],
        params=[Param(key, _text(value)) for key, value in run.params.items()],
        # The tags come with the rest, so that a recording that is cut off is not taken for a whole one.
        tags=[RunTag(key, value) for key, value in {**run.tags, REPORTED: "true", REPORTED_DIGEST: run.digest}.items()],
    )
    client.set_terminated(made.info.run_id, "FINISHED")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
