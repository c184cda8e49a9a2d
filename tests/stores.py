"""MLflow stores for tests: creating an empty one takes seconds, copying it none."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import mlflow


def create(folder: Path) -> Path:
    """Let MLflow create an empty store in a folder, and return its file."""
    path = folder / "mlflow.db"
    with contextlib.chdir(folder):
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def copy(empty_store: Path, folder: Path) -> str:
    """Copy an empty store into a folder, as if MLflow had created it there, and return its address."""
    path = folder / "mlflow.db"
    shutil.copyfile(empty_store, path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        # The store remembers where artifacts of the experiment `Default` go.
        database.execute("update experiments set artifact_location = ?", (f"{folder}/mlruns/0",))
    return f"sqlite:///{path}"
