"""MLflow stores for tests: creating an empty one takes seconds, copying it none."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest


def create(folder: Path) -> Path:
    """Let MLflow create an empty store in a folder, and return its file."""
    path = folder / "mlflow.db"
    with contextlib.chdir(folder):
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def copy(empty_store: Path, folder: Path, artifacts: str = "") -> str:
    """Copy an empty store into a folder, as if MLflow had created it there, and return its address.

    Args:
        empty_store: The store's file.
        folder: Where to copy it to.
        artifacts: Where artifacts go; empty for the folder itself.
    """
    path = folder / "mlflow.db"
    shutil.copyfile(empty_store, path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        # The store remembers where artifacts of the experiment `Default` go.
        database.execute("update experiments set artifact_location = ?", (f"{artifacts or f'{folder}/mlruns'}/0",))
    return f"sqlite:///{path}"


def model_of(run_id: str) -> str:
    """Return the id of the one model that a run has logged."""
    outputs = mlflow.MlflowClient().get_run(run_id).outputs
    (model,) = outputs.model_outputs
    return str(model.model_id)


@contextlib.contextmanager
def connected(folder: Path) -> Iterator[mlflow.MlflowClient]:
    """Let commands of this process use the store of a folder, which is the current one meanwhile."""
    address = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", address)
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        yield mlflow.MlflowClient(address, registry_uri=address)
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    os.environ.pop("MLFLOW_REGISTRY_URI", None)
