"""One MLflow run per command: what went in, what came out, and a status that is true."""

import json
import os
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException

from fer.data.manifest import Manifest
from fer.errors import FerError, Interrupted
from fer.tracking import store
from fer.tracking.environment import environment_tags
from fer.tracking.lifecycle import MAX_TAG, end_run, refusal, start_run
from fer.tracking.names import COMMAND, CONFIG_FILE
from fer.tracking.status_guard import keep_killed
from fer.utils.distributed import rank
from fer.utils.signals import follow_parent, interrupting

BATCH = 900  # MLflow takes at most 1,000 figures a call


class TrackedRun:
    """A running MLflow run; implements the training loop's `Recorder`.

    Attributes:
        id: The run's id.
        experiment_id: Its experiment's.
        address: The store's address.
    """

    def __init__(self, run_id: str, experiment_id: str, address: str) -> None:
        self.id, self.experiment_id, self.address = run_id, experiment_id, address
        self._client = mlflow.MlflowClient()

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log figures of one step."""
        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in values.items()]
        for start in range(0, len(points), BATCH):
            self._client.log_batch(self.id, metrics=points[start : start + BATCH])

    def model_metrics(self, values: Mapping[str, float], model_id: str, dataset: PandasDataset | None) -> None:
        """Log figures and tie them to a logged model and the data set they were measured on."""
        mlflow.log_metrics(dict(values), step=0, run_id=self.id, model_id=model_id, dataset=dataset)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; long values are cut."""
        self._client.log_batch(self.id, tags=[RunTag(key, str(value)[:MAX_TAG]) for key, value in values.items()])

    def params(self, values: Mapping[str, Any]) -> None:
        """Log hyperparameters, once each.

        `mlflow run` has logged the given ones already, as shell-quoted text, and MLflow refuses another value; where
        ours means something else it becomes the tag `param.<name>`.
        """
        logged = self._client.get_run(self.id).data.params
        texts = {key: _param_text(value) for key, value in values.items()}
        fresh = [Param(key, text) for key, text in texts.items() if key not in logged]
        differing = {f"param.{key}": text for key, text in texts.items() if not _same(logged.get(key), text)}
        self._client.log_batch(self.id, params=fresh, tags=[RunTag(key, text) for key, text in differing.items()])

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
        log = self._client.log_figure if hasattr(figure, "savefig") else self._client.log_image
        log(self.id, figure, path) if hasattr(figure, "savefig") else log(self.id, figure, artifact_file=path)

    def dataset(self, manifest: Manifest, root: Path, context: str) -> PandasDataset | None:
        """Log a data set as an input of the run and return MLflow's handle of it.

        Args:
            manifest: The set, or the part of it that was used.
            root: The data root it lies under.
            context: What it was used for, such as `training`.
        """
        import pandas

        frame = pandas.DataFrame(manifest.records()).astype({"expression": "string"})
        with warnings.catch_warnings():
            # MLflow registers the reader of local folders twice and warns that it cannot choose; and it advises
            # floats for our whole numbers, which are never missing.
            warnings.simplefilter("ignore", UserWarning)
            handle = from_pandas(frame, source=str(root), name=manifest.dataset, digest=manifest.digest)
            mlflow.log_input(handle, context=context)
        return handle

    def where(self, compared: Sequence[str] = ()) -> str:
        """Return the lines that tell a person where to look at the run, or at runs of it beside each other.

        Args:
            compared: Ids of runs of the same experiment.
        """
        command = store.ui_command(self.address)
        start = f"start the MLflow interface with\n  {command}\nand open" if command else "open"
        lines = f"To compare runs, {start}\n  {store.page(self.address, self.experiment_id)}"
        return f"{lines}\n  {store.comparison(self.address, self.experiment_id, compared)}" if compared else lines


class SilentRun(TrackedRun):
    """The run as processes other than the first see it: they train along and log nothing."""

    def __init__(self) -> None:
        self.id = self.experiment_id = self.address = ""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log nothing."""

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Log nothing."""

    def file(self, path: Path, folder: str = "") -> None:
        """Log nothing."""

    def text(self, content: str, path: str) -> None:
        """Log nothing."""

    def figure(self, figure: Any, path: str) -> None:
        """Log nothing."""

    def dataset(self, manifest: Manifest, root: Path, context: str) -> None:
        """Log nothing."""


def _param_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _same(logged: str | None, ours: str) -> bool:
    """Return whether a logged parameter is absent or means what ours does."""
    if logged is None:
        return True
    words = shlex.split(logged)
    text = words[0] if words else ""
    try:
        return text.lower() == ours.lower() or float(text) == float(ours)
    except ValueError:
        return False


_awaiting: ContextVar[Mapping[str, Any]] = ContextVar("_awaiting", default={})  # noqa: B039  # never changed


@contextmanager
def tagging_next(tags: Mapping[str, Any]) -> Iterator[None]:
    """Give tags to the next run that begins inside, and to none after it.

    So a command that starts another as its stage says what for, and the stage's runs within know nothing of it.

    Args:
        tags: They are set before the stage's work begins, so a run that is stopped has them too.
    """
    token = _awaiting.set(tags)
    try:
        yield
    finally:
        _awaiting.reset(token)


@contextmanager
def tracked(command: str, config: Any, name: str, extra: Mapping[str, Any] | None = None) -> Iterator[TrackedRun]:
    """Run a command's body inside an MLflow run, nested where one is open already.

    Args:
        command: The command's name, for the tag `fer.command`.
        config: Its configuration, logged as parameters and as `config.json`.
        name: The run's name.
        extra: Derived values, logged as parameters too.

    Yields:
        The run. When the body ends the run becomes FINISHED; on an exception FAILED, with the reason in the tag
        `fer.error`; on a signal KILLED. Of several processes only the first one's is real.

    Raises:
        FerError: The store does not take something; whatever it was, the run is ended before.
    """
    if rank() > 0:
        with interrupting():
            yield SilentRun()
        return
    address = store.connect()
    launched = bool(os.environ.get("MLFLOW_RUN_ID"))
    if launched:
        follow_parent()
    with interrupting():
        info = start_run(address, name)
        status, reason = RunStatus.FAILED, ""
        try:
            run = TrackedRun(info.run_id, info.experiment_id, address)
            run.tags({"mlflow.runName": name, COMMAND: command, **environment_tags(), **_awaiting.get()})
            _awaiting.set({})
            run.params({**asdict(config), **(extra or {})})
            run.json(asdict(config), CONFIG_FILE)
            yield run
            status = RunStatus.FINISHED
        except (Interrupted, KeyboardInterrupt) as stop:
            status, reason = RunStatus.KILLED, str(stop) or "stopped by signal 2"
            raise
        except MlflowException as error:
            reason = refusal(address, error)
            raise FerError(reason) from error
        except BaseException as error:
            reason = str(error) if isinstance(error, FerError) else f"{type(error).__name__}: {error}"
            raise
        finally:
            end_run(info.run_id, address, status, reason)
            if launched and status == RunStatus.KILLED:
                keep_killed(info.run_id, address)
