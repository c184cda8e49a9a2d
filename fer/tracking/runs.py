"""Runs as the rest of the project sees them: one that records, and one that records nothing."""

import io
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer.data.manifest import Manifest
from fer.evaluation.names import rounded
from fer.tracking import links
from fer.tracking.delivery import model_token
from fer.tracking.endings import MAX_TAG
from fer.tracking.inputs import LoggedDataset, describe_dataset
from fer.tracking.names import FINGERPRINT
from fer.tracking.params import param_text
from fer.utils.rendering import unwrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fer.tracking.outbox import Outbox

TIMING = "images_per_second"
"""End of the keys of metrics that no two trainings share."""
Point = tuple[str, float, int, int]
"""Key, value, time in milliseconds, and step of a metric."""


class TrackedRun:
    """A run that goes on; implements the training loop's `Recorder`.

    All that it records goes through its outbox: to the disk at once, and from there to the store in the background.

    Args:
        outbox: Takes what is recorded, and knows the run.

    Attributes:
        id: The run's id.
        experiment_id: Its experiment's.
        address: The store's address; empty for a run recorded offline.
        folder: Its folder on this machine, for checkpoints and the spool.
        figures: The figures it has logged, as PNG, by artifact path.
    """

    def __init__(self, outbox: "Outbox") -> None:
        self.outbox = outbox
        self.id = outbox.run_id
        self.experiment_id = outbox.experiment_id
        self.address = outbox.address
        self.folder = outbox.folder
        self.figures: dict[str, bytes] = {}

    @property
    def model_id(self) -> str:
        """Return what stands for the id of the model that the run logs, until the store gives it one."""
        return model_token(self.id)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step, shares rounded; points that a continued run has already are left out."""
        points = self._points(values, step)
        if points:
            self.outbox.put("metrics", points=points)

    def model_metrics(self, values: Mapping[str, float], model_id: str, dataset: "LoggedDataset | None") -> None:
        """Log metrics and tie them to a logged model and the data set they were measured on."""
        points = self._points(values, 0)
        if points:
            name, digest = (dataset.name, dataset.digest) if dataset else (None, None)
            self.outbox.put("model_metrics", points=points, model_id=model_id, dataset=name, digest=digest)

    def _points(self, values: Mapping[str, float], step: int) -> list[Point]:
        now = int(time.time() * 1000)
        points = []
        for key, value in rounded(values).items():
            earlier = self.outbox.recorded.get((key, step))
            # What is computed again on other hardware may differ, and is then recorded beside; a speed always does.
            if earlier is None or not (earlier == value or key.endswith(TIMING)):
                points.append((key, float(value), now, step))
        return points

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; long values are cut."""
        self.outbox.put("tags", tags={key: str(value)[:MAX_TAG] for key, value in values.items()})

    def mark(self, fingerprint: str) -> None:
        """Set the fingerprint by which the run is found, should it be stopped."""
        self.tags({FINGERPRINT: fingerprint})
        # Of a run recorded offline this machine is the place to look.
        self.outbox.spool.write_head(fingerprint=fingerprint)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, once each; one that was logged with another meaning becomes the tag `param.<name>`."""
        self.outbox.put("params", params={key: param_text(value) for key, value in values.items()})

    def file(self, path: Path, folder: str = "") -> None:
        """Log a file as an artifact, as it is now."""
        self.outbox.put("file", kept=[self.outbox.spool.keep(path)], folder=folder)

    def text(self, content: str, path: str) -> None:
        """Log a text as an artifact."""
        self._content(content.encode("utf-8"), path)

    def json(self, content: Any, path: str) -> None:
        """Log a value as a JSON artifact."""
        self.text(json.dumps(content, indent=1, ensure_ascii=False), path)

    def figure(self, figure: "Figure", path: str) -> None:
        """Log a Matplotlib figure as a PNG, and keep that for the run's page, so that nothing is drawn twice."""
        self.figures[path] = _png(figure)
        self._content(self.figures[path], path)

    def image(self, figure: "Figure", key: str) -> None:
        """Log a Matplotlib figure where MLflow's charts show the pictures of several runs beside each other.

        Args:
            figure: The figure; the page shows it at 256 pixels, and whole when it is clicked.
            key: By which the pictures of runs belong together, such as `confusion/raf`.
        """
        # Not at the top: commands without images start sooner.
        from mlflow.tracking.multimedia import compress_image_size
        from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

        from fer.portable.images import read_rgb

        content = _png(figure)
        # As MLflow's own `log_image` names them, but the same whenever this run logs it, so that none stands twice.
        name = f"{key.replace('/', '~')}+step+0+timestamp+{self.outbox.started}+{uuid.uuid5(uuid.NAMESPACE_URL, key)}"
        small = io.BytesIO()
        compress_image_size(read_rgb(content)).save(small, "WEBP")
        self._content(content, f"images/{name}.png")
        self._content(small.getvalue(), f"images/{name}+compressed.webp")
        self.tags({MLFLOW_LOGGED_IMAGES: "true"})

    def _content(self, content: bytes, path: str) -> None:
        folder, _, name = path.rpartition("/")
        self.outbox.put("file", kept=[self.outbox.spool.keep_content(content, name)], folder=folder)

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        """Take note that `last.ckpt`, and perhaps `best.ckpt`, in a folder were written anew.

        Args:
            folder: The folder.
            epoch: Finished epochs in it.
            step: Steps of the next epoch in it.
        """
        self.outbox.checkpoint(folder, epoch, step)

    def forget_checkpoints(self) -> None:
        """Have the checkpoints deleted, when the run has finished, that the training was to be continued from."""
        self.outbox.forgets_checkpoints = True

    def describe(self, text: str) -> None:
        """Describe the run in Markdown, unless somebody has done so while it went on."""
        self.outbox.put("describe", text=unwrapped(text))

    def views(self, keys: Sequence[str], sets: Iterable[str] = ()) -> None:
        """Have prepared views of the run's experiment show it.

        Args:
            keys: The views.
            sets: Test sets whose figures the run has.
        """
        self.outbox.put("views", keys=list(keys), sets=list(sets))

    def dataset(self, manifest: Manifest, root: Path, context: str) -> "LoggedDataset | None":
        """Log a data set as an input of the run and return what metrics are tied to it by.

        Args:
            manifest: The set, or the part of it that was used.
            root: The data root it lies under.
            context: What it was used for, such as `training`.
        """
        described = describe_dataset(manifest, root)
        self.outbox.put("input", dataset=described, context=context)
        return LoggedDataset(described["name"], described["digest"])

    def model(self, folder: Path, name: str, tags: Mapping[str, str]) -> None:
        """Log a model, of which a run has one.

        Args:
            folder: Its files, as MLflow lays them out; `model_id` stands in them for its id.
            name: Its name.
            tags: Its tags.
        """
        self.outbox.put("model", kept=[self.outbox.spool.keep(folder)], name=name, tags=dict(tags))

    def model_files(self, files: Mapping[str, str]) -> None:
        """Add texts, by name, to the run's model."""
        spool = self.outbox.spool
        for name, text in files.items():
            self.outbox.put("model_files", kept=[spool.keep_content(text.encode("utf-8"), name)])

    def describe_model(self, text: str) -> None:
        """Describe the run's model in Markdown; versions that are registered of it take the text over."""
        self.outbox.put("describe_model", text=unwrapped(text))

    def register(self, name: str, promote: bool, later: str) -> Any:
        """Have the run's model registered when all that describes it is delivered, and wait for that.

        Args:
            name: The registered model.
            promote: Whether to move the alias `champion` in any case.
            later: What a refusal's message says on how to register it later.

        Returns:
            The registration, the message of a refusal, or None where the store has not answered.
        """
        number = self.outbox.put("register", name=name, promote=promote, later=later)
        return self.outbox.result(number)

    def where(self, view: str = "", artifact: str = "") -> str:
        """Return the lines that say where to look: at a prepared view of the experiment, or at the run.

        Args:
            view: Key of the view; empty for the run's own page.
            artifact: The artifact of the run that its page shows.
        """
        if not self.address:
            return f"recorded offline in {self.folder}: `fer sync` delivers it"
        link = links.page(self.address, self.experiment_id, view=view, run_id=self.id, artifact=artifact)
        return links.where(self.address, link)


class NullRun(TrackedRun):
    """A run that records nothing: what processes other than the first have, which train along."""

    def __init__(self, folder: Path = Path()) -> None:
        self.id = self.experiment_id = self.address = ""
        self.folder = folder
        self.figures = {}

    def _record_nothing(self, *args: Any, **options: Any) -> None:
        """Accept the arguments of any method that records."""

    metrics = model_metrics = params = tags = mark = describe = checkpoint = forget_checkpoints = _record_nothing
    file = text = figure = image = views = dataset = model = model_files = describe_model = _record_nothing


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
