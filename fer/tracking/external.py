"""Log runs that were made without this project, once each, beside its own."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from fer.evaluation.names import rounded, sets_with_figures
from fer.tracking import links, store
from fer.tracking.descriptions import describe_experiment
from fer.tracking.names import ACCURACY_VIEW, REPORTED, RUN_COLOUR, TESTED
from fer.tracking.params import param_text
from fer.tracking.views import colour_after, next_colour, refresh


@dataclass(frozen=True)
class ExternalRun:
    """A run that was made without this project.

    Attributes:
        name: Its name, unique among them.
        params: Its parameters.
        metrics: Its metrics, under the names of our own.
        tags: What else is known of it.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    def is_logged_as(self, run: Run) -> bool:
        """Return whether a run holds its parameters and metrics, besides what somebody may have added."""
        params = {key: param_text(value) for key, value in self.params.items()}
        return params.items() <= run.data.params.items() and rounded(self.metrics).items() <= run.data.metrics.items()


@dataclass(frozen=True)
class LoggedExternalRuns:
    """Summary of `log_external_runs`.

    Attributes:
        made: Names of the runs that are new or corrected.
        present: Names of those that were logged before as they are.
        where: Lines that say where to look at them.
    """

    made: tuple[str, ...]
    present: tuple[str, ...]
    where: str


def log_external_runs(runs: Sequence[ExternalRun]) -> LoggedExternalRuns:
    """Log external runs that are not in the experiment yet, and anew those that were corrected since."""
    address = store.connect()
    experiment_id = store.experiment_id(address)
    describe_experiment(experiment_id)
    earlier = store.search_runs(f"tags.{REPORTED} = 'true'", [experiment_id])
    made, present = [], []
    colour = next_colour(experiment_id)
    for run in runs:
        namesakes = [logged for logged in earlier if logged.info.run_name == run.name]
        outdated = [logged for logged in namesakes if not run.is_logged_as(logged)]
        if len(outdated) < len(namesakes):
            present.append(run.name)
        else:
            _log_external_run(run, experiment_id, colour)
            colour = colour_after(colour)
            made.append(run.name)
        # Last, so that the row is there at any time.
        for logged in outdated:
            mlflow.delete_run(logged.info.run_id)
    sets = sets_with_figures(chain.from_iterable(run.metrics for run in runs))
    # Views are a help to readers; a server may give rights to runs alone.
    with suppress(MlflowException):
        refresh(address, experiment_id, (ACCURACY_VIEW,), sets, matrices=False)
    where = links.where(address, links.page(address, experiment_id, view=ACCURACY_VIEW))
    return LoggedExternalRuns(tuple(made), tuple(present), where)


def _log_external_run(run: ExternalRun, experiment_id: str, colour: str) -> None:
    client = mlflow.MlflowClient()
    run_id = client.create_run(experiment_id, run_name=run.name).info.run_id
    params = [Param(key, param_text(value)) for key, value in run.params.items()]
    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, 0) for key, value in rounded(run.metrics).items()]
    client.log_batch(run_id, params=params, metrics=metrics)
    # Last, so that a run whose logging was cut off is not taken for a whole one.
    tested = {TESTED: "true"} if sets_with_figures(run.metrics) else {}
    tags = {**run.tags, **tested, RUN_COLOUR: colour, REPORTED: "true"}
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run_id, "FINISHED")
