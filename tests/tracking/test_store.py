import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from fer.errors import FerError
from fer.tracking import store
from fer.tracking.faults import fault_of
from tests.paths import ROOT

CREATE = "from fer.tracking import store; print(store.connect()); store.experiment_id(store.connect())"


def test_a_relative_database_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store.absolute("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert store.absolute(f"sqlite:///{tmp_path}/b.db") == f"sqlite:///{tmp_path}/b.db"
    assert store.absolute("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


def test_sentences_hold_no_password_of_a_store():
    server = "https://user:se@cret@server:8080"
    refused = MlflowException(f"API request to {server}/api/2.0 failed")
    for sentence in (store.why_unusable(server, refused), fault_of(server, refused).sentence):
        assert "cret" not in sentence
        assert sentence.count("https://server:8080") == 2


def test_runs_go_where_mlflow_would_put_them(client, monkeypatch):
    address = store.connect()
    assert client.get_experiment(store.experiment_id(address)).name == "Default"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "own")
    assert client.get_experiment(store.experiment_id(address)).name == "own"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    assert store.experiment_id(address) == "7"


def revised(empty_store: Path, folder: Path, revision: str, *changes: str) -> str:
    """Return the address of a store whose schema bears another name."""
    shutil.copy(empty_store, folder / "other.db")
    with contextlib.closing(sqlite3.connect(folder / "other.db")) as database:
        database.execute("update alembic_version set version_num = ?", (revision,))
        for change in changes:
            database.execute(change)
        database.commit()
    return f"sqlite:///{folder}/other.db"


@pytest.mark.parametrize("changes", [(), ("drop table webhook_events",)], ids=["same tables", "a table is gone"])
def test_a_store_of_a_newer_mlflow_is_told_so(empty_store, client, tmp_path, changes):
    mlflow.set_tracking_uri(address := revised(empty_store, tmp_path, "fedcba987654", *changes))
    with pytest.raises(FerError) as raised:
        store.connect()
    sentence = str(raised.value)
    assert sentence.startswith(f"the MLflow store {address} was made or changed by a newer MLflow than 3.")
    assert "use that MLflow, or another store with MLFLOW_TRACKING_URI=" in sentence
    assert "upgrade" not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "changes", [(), ("drop table alembic_version",)], ids=["an earlier schema", "from before schemas had names"]
)
def test_a_store_of_an_older_mlflow_is_told_to_be_upgraded(empty_store, client, tmp_path, changes):
    earlier = "17e22815139b"  # a migration that this MLflow knows and that is not its last
    mlflow.set_tracking_uri(address := revised(empty_store, tmp_path, earlier, *changes))
    with pytest.raises(FerError, match="made by an older MLflow") as raised:
        store.connect()
    assert str(raised.value).endswith(f"keep a copy of it and run `mlflow db upgrade {address}`")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have no numbers")
def test_users_of_one_machine_have_locks_of_their_own(tmp_path, monkeypatch):
    # In the folder of temporary files Linux lets nobody open another one's file to create it, whatever its mode.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for user in (1001, 1002):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        with store.locked("http://server", "creating"):
            pass
    assert len(list(tmp_path.glob("fer-store-100?-*-creating.lock"))) == 2


@pytest.mark.project
def test_processes_that_create_one_database_together_all_succeed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        environment.pop(name, None)
    environment["MLFLOW_EXPERIMENT_NAME"] = "own"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert set(printed) == {f"sqlite:///{tmp_path}/mlflow.db"}
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from experiments where name = 'own'").fetchone() == (1,)
