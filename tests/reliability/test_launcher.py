"""Trainings under `mlflow run`, which makes a run of its own before any code of ours starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.reliability.chaos import FINETUNE
from tests.reliability.programs import SECONDS
from tests.reliability.records import differing, read_record, runs_of

pytestmark = pytest.mark.project


@pytest.mark.project
def test_a_run_continued_by_mlflow_run_is_named_by_the_launchers_run(make_place, expected):
    place = make_place()
    program = place.start(FINETUNE)
    assert program.wait_for(lambda: "epoch 1/" in program.output)
    program.kill()
    (killed,) = runs_of(place.client)
    run_id = killed.info.run_id
    output = place.folder / "outputs"
    given = [word for pair in (f"resume={run_id}", f"output={output}") for word in ("-P", pair)]
    python = str(Path(sys.executable).parent)
    environment = {**os.environ, **place.environment, "PATH": f"{python}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "finetune", "--env-manager", "local", *given],
        cwd=place.folder, env=environment, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    client = place.client
    (launched,) = (run for run in runs_of(client) if run.info.run_id != run_id)
    assert launched.info.status == "FINISHED"
    assert launched.data.tags["fer.continues"] == run_id
    assert not launched.data.metrics
    assert differing(read_record(client, client.get_run(run_id), place.folder / "downloads"), expected) == {}
    assert not list(output.rglob("*"))
