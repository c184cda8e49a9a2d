"""Runs as the rest of the project sees them: one that logs, one that logs nothing, and runs made by others."""

import json
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag

from fer.data.manifest import Manifest
from fer.evaluation.names import rounded
from fer.tracking import store
from fer.tracking.names import REPORTED

if TYPE_CHECKING:
    from mlflow.data.pandas_dataset import PandasDataset

MAX_TAG = 4000
"""Characters of a tag that are kept."""


class TrackedRun:
    """A running MLflow run; implements the training loop's `Recorder`.

    Attributes:
        id: The run's id.
        experiment_id: Its experiment's.
        address: The store's address.
    """

    def __init__(self, run_id: str, experiment_id: str, address: str) -> None:
        self.id = run_id
        self.experiment_id = experiment_id
        self.address = address
        self._client = mlflow.MlflowClient()

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step, shares rounded."""
        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in rounded(values).items()]
        self._client.log_batch(self.id, metrics=points)

    def model_metrics(self, values: Mapping[str, float], model_id: str, dataset: "PandasDataset | None") -> None:
        """Log metrics and tie them to a logged model and the data set they were measured on."""
        mlflow.log_metrics(rounded(values), step=0, run_id=self.id, model_id=model_id, dataset=dataset)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; long values are cut."""
        tags = [RunTag(key, str(value)[:MAX_TAG]) for key, value in values.items()]
        self._client.log_batch(self.id, tags=tags)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, once each; one that was logged with another meaning becomes the tag `param.<name>`."""
        # `mlflow run` has logged the given ones, as shell-quoted text, and MLflow refuses another value.
        logged = self._client.get_run(self.id).data.params
        missing: list[Param] = []
        differing: list[RunTag] = []
        for key, value in values.items():
            text = _param_text(value)
            if key not in logged:
                missing.append(Param(key, text))
            elif not _means_the_same(logged[key], text):
                differing.append(RunTag(f"param.{key}", text))
        self._client.log_batch(self.id, params=missing, tags=differing)

    def file(self, path: Path, folder: str = "") -> None:
        """Log a file as an artifact."""
        self._client.log_artifact(self.id, str(path), folder or None)

    def text(self, content: str, path: str) -> None:
        """Log a text as an artifact."""
        self._client.log_text(self.id, content, path)

    def json(self, content: Any, path: str) -> None:
        """Log a value as a JSON artifact."""
        self.text(json.dumps(content, indent=1, ensure_ascii=False), path)

    def figure(self, figure: Any, path: str) -> None:
        """Log a Matplotlib figure or Pillow picture as an artifact."""
        if hasattr(figure, "savefig"):
            self._client.log_figure(self.id, figure, path)
        else:
            self._client.log_image(self.id, figure, artifact_file=path)

    def dataset(self, manifest: Manifest, root: Path, context: str) -> "PandasDataset | None":
        """Log a data set as an input of the run and return MLflow's handle of it.

        Args:
            manifest: The set, or the part of it that was used.
            root: The data root it lies under.
            context: What it was used for, such as `training`.
        """
        # Not at the top: commands without images start sooner.
        import pandas
        from mlflow.data.pandas_dataset import from_pandas

        frame = pandas.DataFrame(list(manifest.images))
        frame = frame.astype({"expression": "string"})
        with warnings.catch_warnings():
            # MLflow registers the reader of local folders twice and warns that it cannot choose; and it advises
            # floats for our whole numbers, which are never missing.
            warnings.simplefilter("ignore", UserWarning)
            handle = from_pandas(
                frame,
                source=str(root),
                name=manifest.dataset,
                digest=manifest.digest,
            )
            mlflow.log_input(handle, context=context)
        return handle

    def where(self, compared: Sequence[str] = ()) -> str:
        """Return the lines that say where to look at the run, or at runs of its experiment side by side.

        Args:
            compared: Ids of runs of the same experiment.
        """
        command = store.ui_command(self.address)
        start = "open"
        # Empty for a server, which runs already.
        if command:
            start = f"start the MLflow interface with\n  {command}\nand open"
        links = [store.page(self.address, self.experiment_id)]
        if compared:
            links.append(store.comparison(self.address, self.experiment_id, compared))
        return "\n  ".join([f"To compare runs, {start}", *links])


class NullRun(TrackedRun):
    """A run that logs nothing: what processes other than the first have, which train along."""

    def __init__(self) -> None:
        self.id = self.experiment_id = self.address = ""

    def _log_nothing(self, *args: Any, **options: Any) -> None:
        """Accept the arguments of any method that logs."""

    metrics = params = tags = file = text = figure = dataset = _log_nothing


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
        params = {key: _param_text(value) for key, value in self.params.items()}
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
    earlier = store.search_runs(f"tags.{REPORTED} = 'true'", [experiment_id])
    made, present = [], []
    for run in runs:
        namesakes = [logged for logged in earlier if logged.info.run_name == run.name]
        outdated = [logged for logged in namesakes if not run.is_logged_as(logged)]
        if len(outdated) < len(namesakes):
            present.append(run.name)
        else:
            _log_external_run(run, experiment_id, address)
            made.append(run.name)
        # Last, so that the row is there at any time.
        for logged in outdated:
            mlflow.delete_run(logged.info.run_id)
    where = f"{store.ui_command(address)}\n{store.page(address, experiment_id)}"
    return LoggedExternalRuns(tuple(made), tuple(present), where.strip())


def _log_external_run(run: ExternalRun, experiment_id: str, address: str) -> None:
    client = mlflow.MlflowClient()
    run_id = client.create_run(experiment_id, run_name=run.name).info.run_id
    logged = TrackedRun(run_id, experiment_id, address)
    logged.params(run.params)
    logged.metrics(run.metrics)
    # Last, so that a run whose logging was cut off is not taken for a whole one.
    logged.tags({**run.tags, REPORTED: "true"})
    client.set_terminated(run_id, "FINISHED")


def _param_text(value: Any) -> str:
    """Return a parameter as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _means_the_same(logged: str, ours: str) -> bool:
    """Return whether a parameter that the launcher logged, shell-quoted, means what ours does."""
    words = shlex.split(logged)
    text = words[0] if words else ""
    try:
        # It keeps `1e-3` and `True` as they were typed.
        return text.lower() == ours.lower() or float(text) == float(ours)
    except ValueError:
        return False
