"""Runs as the rest of the project sees them: one that logs, and one that logs nothing."""

import io
import json
import shlex
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, Param, RunTag

from fer.data.manifest import ImageRow, Manifest
from fer.evaluation.names import rounded
from fer.tracking import links
from fer.tracking.names import DESCRIPTION, param_tag
from fer.utils.paths import printable
from fer.utils.rendering import unwrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.data.pandas_dataset import PandasDataset

MAX_TAG = 4000
"""Characters of a tag that are kept."""
MAX_DESCRIPTION = 8000
"""Characters of a description that MLflow takes."""


class TrackedRun:
    """A running MLflow run; implements the training loop's `Recorder`.

    Attributes:
        id: The run's id.
        experiment_id: Its experiment's.
        address: The store's address.
        figures: The figures it has logged, as PNG, by artifact path.
    """

    def __init__(self, run_id: str, experiment_id: str, address: str) -> None:
        self.id = run_id
        self.experiment_id = experiment_id
        self.address = address
        self.figures: dict[str, bytes] = {}
        self._client = mlflow.MlflowClient()

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step, shares rounded."""
        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in rounded(values).items()]
        self._client.log_batch(self.id, metrics=points)

    def checkpoint(self, folder: Path) -> None:
        """Take note that `last.ckpt` (and `best.ckpt`) in the folder were written anew."""

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
            text = param_text(value)
            if key not in logged:
                missing.append(Param(key, text))
            elif not _means_the_same(logged[key], text):
                differing.append(RunTag(param_tag(key), text))
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

    def figure(self, figure: "Figure", path: str) -> None:
        """Log a Matplotlib figure as a PNG, and keep that for the run's page, so that nothing is drawn twice."""
        self.figures[path] = _png(figure)
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, name)
            file.write_bytes(self.figures[path])
            self.file(file, folder)

    def image(self, figure: "Figure", key: str) -> None:
        """Log a Matplotlib figure where MLflow's charts show the pictures of several runs beside each other.

        Args:
            figure: The figure; the page shows it at 256 pixels, and whole when it is clicked.
            key: By which the pictures of runs belong together, such as `confusion/raf`.
        """
        # Not at the top: commands without images start sooner.
        from fer.portable.images import read_rgb

        self._client.log_image(self.id, read_rgb(_png(figure)), key=key, step=0, synchronous=True)

    def describe(self, text: str) -> None:
        """Describe the run in Markdown, unless somebody has done so while it went on."""
        if DESCRIPTION not in self._client.get_run(self.id).data.tags:
            self._client.set_tag(self.id, DESCRIPTION, unwrapped(text)[:MAX_DESCRIPTION])

    def views(self, keys: Sequence[str], sets: Iterable[str] = ()) -> None:
        """Have prepared views of the run's experiment show it.

        Args:
            keys: The views.
            sets: Test sets whose figures the run has.
        """
        # Not at the top: it is needed when all else is over.
        from fer.tracking.views import refresh

        refresh(self.address, self.experiment_id, keys, sets)

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

        # Column by column as Arrow's texts: objects would take 2 GB for a million images.
        columns: dict[str, Any] = {}
        for column in fields(ImageRow):
            texts = list(manifest.images.column(column.name))
            if column.type is int:
                columns[column.name] = pandas.array(list(map(int, texts)), dtype="int64")
            else:
                columns[column.name] = pandas.array(texts, dtype="string[pyarrow]")
        frame = pandas.DataFrame(columns)
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

    def where(self, view: str = "", artifact: str = "") -> str:
        """Return the lines that say where to look: at a prepared view of the experiment, or at the run.

        Args:
            view: Key of the view; empty for the run's own page.
            artifact: The artifact of the run that its page shows.
        """
        link = links.page(self.address, self.experiment_id, view=view, run_id=self.id, artifact=artifact)
        return links.where(self.address, link)


class NullRun(TrackedRun):
    """A run that logs nothing: what processes other than the first have, which train along."""

    def __init__(self) -> None:
        self.id = self.experiment_id = self.address = ""
        self.figures = {}

    def _log_nothing(self, *args: Any, **options: Any) -> None:
        """Accept the arguments of any method that logs."""

    metrics = checkpoint = model_metrics = params = tags = describe = _log_nothing
    file = text = figure = image = views = dataset = _log_nothing


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def param_text(value: Any) -> str:
    """Return a parameter as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    # A file may have a name that is no UTF-8, which the store does not take.
    return printable(str(value))


def _means_the_same(logged: str, ours: str) -> bool:
    """Return whether a parameter that the launcher logged, shell-quoted, means what ours does."""
    words = shlex.split(logged)
    text = words[0] if words else ""
    try:
        # It keeps `1e-3` and `True` as they were typed.
        return text.lower() == ours.lower() or float(text) == float(ours)
    except ValueError:
        return False
