"""Runs as the rest of the project sees them: one that logs, one that logs nothing, and runs made by others."""

import hashlib
import json
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.entities import Metric, Param, RunTag

from fer.data.manifest import Manifest
from fer.tracking import store
from fer.tracking.names import COMMAND, REPORTED, REPORTED_DIGEST

MAX_METRICS = 900
"""Metrics sent at once; MLflow takes at most 1,000."""
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
        """Log metrics of one step."""
        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in values.items()]
        for start in range(0, len(points), MAX_METRICS):
            self._client.log_batch(self.id, metrics=points[start : start + MAX_METRICS])

    def model_metrics(self, values: Mapping[str, float], model_id: str, dataset: PandasDataset | None) -> None:
        """Log metrics and tie them to a logged model and the data set they were measured on."""
        mlflow.log_metrics(dict(values), step=0, run_id=self.id, model_id=model_id, dataset=dataset)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; long values are cut."""
        tags = [RunTag(key, str(value)[:MAX_TAG]) for key, value in values.items()]
        self._client.log_batch(self.id, tags=tags)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, once each.

        `mlflow run` has logged the given ones already, as shell-quoted text, and MLflow refuses another value; where
        ours means something else it becomes the tag `param.<name>`.
        """
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

    def dataset(self, manifest: Manifest, root: Path, context: str) -> PandasDataset | None:
        """Log a data set as an input of the run and return MLflow's handle of it.

        Args:
            manifest: The set, or the part of it that was used.
            root: The data root it lies under.
            context: What it was used for, such as `training`.
        """
        import pandas

        frame = pandas.DataFrame(list(manifest.images)).astype({"expression": "string"})
        with warnings.catch_warnings():
            # MLflow registers the reader of local folders twice and warns that it cannot choose; and it advises
            # floats for our whole numbers, which are never missing.
            warnings.simplefilter("ignore", UserWarning)
            handle = from_pandas(frame, source=str(root), name=manifest.dataset, digest=manifest.digest)
            mlflow.log_input(handle, context=context)
        return handle

    def where(self, compared: Sequence[str] = ()) -> str:
        """Return the lines that say where to look at the run, or at runs of its experiment side by side.

        Args:
            compared: Ids of runs of the same experiment.
        """
        command = store.ui_command(self.address)
        start = f"start the MLflow interface with\n  {command}\nand open" if command else "open"
        lines = [f"To compare runs, {start}", f"  {store.page(self.address, self.experiment_id)}"]
        if compared:
            lines.append(f"  {store.comparison(self.address, self.experiment_id, compared)}")
        return "\n".join(lines)


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

    @property
    def digest(self) -> str:
        """Return what changes when any of its content does."""
        content = [self.name, dict(self.params), dict(self.metrics), dict(self.tags)]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class LoggedExternalRuns:
    """Summary of `log_external_runs`.

    Attributes:
        made: Names of the runs that are new.
        present: Names of those that were logged before.
        experiment: The experiment's name.
        where: Lines that say where to look at them.
    """

    made: tuple[str, ...]
    present: tuple[str, ...]
    experiment: str
    where: str


def log_external_runs(runs: Sequence[ExternalRun]) -> LoggedExternalRuns:
    """Log external runs that are not logged yet, and anew those that were logged with other content.

    They join the experiment that holds them already, else the one that the environment names, else that of the latest
    `finetune`, which `mlflow run` and the command line may have put into different ones.
    """
    address = store.connect()
    client = mlflow.MlflowClient()
    earlier = store.search_runs(f"tags.{REPORTED} = 'true'")
    experiment_id = earlier[0].info.experiment_id if earlier else _experiment_of_trainings(address)
    outdated = {run.data.tags.get(REPORTED_DIGEST, ""): run for run in earlier}
    made: list[str] = []
    for run in runs:
        if run.digest in outdated:
            del outdated[run.digest]
        else:
            _log_external_run(client, experiment_id, run)
            made.append(run.name)
    names = {run.name for run in runs}
    for stale in outdated.values():
        if stale.info.run_name in names:
            client.delete_run(stale.info.run_id)
    return LoggedExternalRuns(
        made=tuple(made),
        present=tuple(run.name for run in runs if run.name not in made),
        experiment=client.get_experiment(experiment_id).name,
        where=f"{store.ui_command(address)}\n{store.page(address, experiment_id)}".strip(),
    )


def _experiment_of_trainings(address: str) -> str:
    """Return the experiment of the latest training unless the environment names another."""
    if not store.experiment_is_given():
        trainings = store.search_runs(f"tags.`{COMMAND}` = 'finetune'", limit=1)
        if trainings:
            return str(trainings[0].info.experiment_id)
    return store.experiment_id(address)


def _log_external_run(client: mlflow.MlflowClient, experiment_id: str, run: ExternalRun) -> None:
    run_id = client.create_run(experiment_id, run_name=run.name).info.run_id
    now = int(time.time() * 1000)
    tags = {**run.tags, REPORTED: "true", REPORTED_DIGEST: run.digest}
    # The tags come with the rest, so that a run whose logging was cut off is not taken for a whole one.
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in run.metrics.items()],
        params=[Param(key, _param_text(value)) for key, value in run.params.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    client.set_terminated(run_id, "FINISHED")


def _param_text(value: Any) -> str:
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
        return text.lower() == ours.lower() or float(text) == float(ours)
    except ValueError:
        return False
