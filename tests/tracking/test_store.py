import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from fer.tracking import store

CREATE = "from fer.tracking import store; print(store.connect()); store.experiment_id(store.connect())"


def test_a_relative_database_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store.absolute("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert store.absolute(f"sqlite:///{tmp_path}/b.db") == f"sqlite:///{tmp_path}/b.db"
    assert store.absolute("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


def test_links_open_the_training_pages():
    address = "sqlite:////data/mlflow.db"
    assert store.page(address, "3") == "http://127.0.0.1:5000/#/experiments/3/runs?workflowType=machine_learning"
    assert address in store.ui_command(address)
    assert store.page("http://server:8080/", "3").startswith("http://server:8080/#/experiments/3/runs")
    assert store.ui_command("http://server:8080") == ""
    both = store.comparison(address, "3", ["a", "b"])
    assert unquote(both) == 'http://127.0.0.1:5000/#/compare-runs?runs=["a","b"]&experiments=["3"]'


@pytest.mark.project
def test_processes_that_create_one_database_together_all_succeed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        environment.pop(name, None)
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
        assert database.execute("select count(*) from experiments where name = 'fer'").fetchone() == (1,)
