"""Connect the spool of a run with the run in the store: its ids, its artifacts, and texts that name them."""

import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fer.errors import DataError, FerError, quoted_path
from fer.tracking.spool import Spool

RESOLVED = (".csv", ".html", ".json", ".md", ".txt", "MLmodel")
"""Endings of the files in which ids that were not known yet are filled in."""


class NotYet(FerError):
    """Something waits for another part of the run that the store has not taken."""


def model_token(run_id: str) -> str:
    """Return what stands for the id of a run's model in what is recorded before the store has given it one."""
    return f"model-of-{run_id}"


def experiment_token(run_id: str) -> str:
    """Return what stands likewise for the id of the MLflow experiment of a run recorded offline."""
    return f"experiment-of-{run_id}"


class Delivery:
    """What delivering the entries of one run's spool works with.

    Args:
        spool: The spool; its head names the run as it is known here, and the model that was made.
        address: The store.
        run_id: The run's id in the store.
        experiment_id: Its experiment's.

    Attributes:
        recorded: Points that the store has and the spool may hold again, by key and step.
    """

    def __init__(self, spool: Spool, address: str, run_id: str, experiment_id: str) -> None:
        self.spool = spool
        self.address = address
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.client = mlflow.MlflowClient(address)
        self.recorded: dict[tuple[str, int], float] = {}
        self._local_id = str(spool.head.get("id", run_id))
        self._artifacts: Any = None

    def resolve(self, text: str) -> str:
        """Return a text with the ids filled in that were not known when it was written.

        Raises:
            NotYet: It names the run's model, which the store does not have.
        """
        token = model_token(self._local_id)
        if token in text:
            text = text.replace(token, self.model_id())
        text = text.replace(experiment_token(self._local_id), self.experiment_id)
        return text.replace(self._local_id, self.run_id)

    def model_id(self) -> str:
        """Return the id of the run's model.

        Raises:
            NotYet: The store does not have it.
        """
        model_id = self.spool.head.get("model_id")
        if not model_id:
            raise NotYet(f"it waits for the model of run {self.run_id}, which the store has not taken")
        return str(model_id)

    def kept(self, place: str) -> Path:
        """Return where a kept file lies.

        Raises:
            DataError: It is gone, and nothing can be delivered of it any more.
        """
        path = self.spool.folder / place
        if not path.exists():
            cure = f"what it held is lost; delete {quoted_path(self.spool.folder)} if the run can do without it"
            raise DataError(f"{quoted_path(path)} is missing: {cure}")
        return path

    def artifacts(self) -> Any:
        """Return the store of the run's artifacts."""
        if self._artifacts is None:
            self._artifacts = get_artifact_repository(self.client.get_run(self.run_id).info.artifact_uri)
        return self._artifacts

    def upload(self, repository: Any, path: Path, folder: str) -> None:
        """Upload a file, ids filled in, into a folder of artifacts."""
        if not path.name.endswith(RESOLVED):
            repository.log_artifact(str(path), folder or None)
            return
        # Names and contents that are no text are taken as they are.
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        resolved = self.resolve(text)
        if resolved == text:
            repository.log_artifact(str(path), folder or None)
            return
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, path.name)
            copy.write_text(resolved, encoding="utf-8", errors="surrogateescape")
            repository.log_artifact(str(copy), folder or None)
