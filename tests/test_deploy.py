"""The example of a SLURM job, run by bash with stand-ins for SLURM's programs."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from fer.data.datasets import drawn
from fer.expressions import EXPRESSIONS
from tests import stores
from tests.paths import ROOT

SCRIPT = ROOT / "deploy/slurm/finetune.sbatch"
SRUN = """#!{python}
import os, subprocess, sys
from pathlib import Path

words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
tasks = []
for number in range(int(os.environ["SLURM_NTASKS"])):
    names = {{"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number), "SLURM_NODEID": "0"}}
    tasks.append(subprocess.Popen(words, env=os.environ | names))
Path("tasks").write_text(" ".join(str(task.pid) for task in tasks))
codes = [task.wait() for task in tasks]
Path("codes").write_text(" ".join(map(str, codes)))
# As srun: the highest, of a task that a signal ended 128 and its number.
sys.exit(max(code if code >= 0 else 128 - code for code in codes))
"""
SCONTROL = '#!/bin/sh\necho "$@" >> requeued\n'
SMALL = ["--dataset", "raf", "--arch", "squeezenet1_1", "--image_size", "32", "--init", "scratch", "--batch_size", "16"]


class Cluster:
    """A folder with the repository's programs as far as the job needs them, and the job's environment."""

    def __init__(self, folder: Path, fer: str) -> None:
        self.folder = folder
        programs = folder / "programs"
        python = {"python": sys.executable}
        for path, text in {
            programs / "srun": SRUN.format(**python),
            programs / "scontrol": SCONTROL,
            folder / ".venv/bin/fer": fer,
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        self.environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "4711",
            "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1", "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "FER_DATA": str(folder / "data"),
        }  # fmt: skip
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
            self.environment.pop(name, None)

    def submit(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["bash", str(SCRIPT), *words], cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def requeued(self) -> list[str]:
        path = self.folder / "requeued"
        return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("code", [0, 1, 2, 137, 138, 143])
def test_a_job_is_requeued_once_if_it_was_stopped_before_its_time_was_over_and_never_else(tmp_path, code):
    cluster = Cluster(tmp_path, f"#!/bin/sh\nexit {code}\n")
    job = cluster.submit()
    printed, _ = job.communicate(timeout=60)
    assert job.returncode == code, printed
    assert cluster.requeued() == (["requeue 4711"] if code == 138 else [])


def test_a_job_passes_its_options_on_and_names_its_processes_as_torchrun_does(tmp_path):
    names = '"$RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE"'
    cluster = Cluster(tmp_path, f'#!/bin/sh\nprintf "%s|" {names} "$@" > "fer-$RANK"\n')
    cluster.environment |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    job = cluster.submit("--dataset", "raf", "--data_root", "a folder")
    printed, _ = job.communicate(timeout=60)
    assert job.returncode == 0, printed
    given = "finetune|--resume|auto|--dataset|raf|--data_root|a folder|"
    assert (tmp_path / "fer-0").read_text() == f"0 0 2 2|{given}"
    assert (tmp_path / "fer-1").read_text() == f"1 1 2 2|{given}"


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "FER_DATA"])
def test_a_job_without_what_the_next_one_needs_too_does_not_start(tmp_path, name):
    cluster = Cluster(tmp_path, "#!/bin/sh\ntouch started\n")
    del cluster.environment[name]
    job = cluster.submit()
    printed, _ = job.communicate(timeout=60)
    assert job.returncode != 0
    assert f"{name}: name the" in printed
    assert not (tmp_path / "started").exists()


def epochs_until(job: "subprocess.Popen[str]", wanted: str) -> str:
    """Return what a job printed up to the line that holds a text."""
    assert job.stdout is not None
    seen = ""
    for line in job.stdout:
        seen += line
        if wanted in line:
            return seen
    raise AssertionError(seen)


@pytest.mark.project
def test_a_job_that_one_process_is_warned_in_stops_as_a_whole_and_the_next_job_ends_its_run(tmp_path, empty_store):
    counts = {"train": dict.fromkeys(EXPRESSIONS, 12), "test": dict.fromkeys(EXPRESSIONS, 3)}
    drawn.write_raf(tmp_path / "data" / "raf_basic" / "basic", counts, seed=1)
    cluster = Cluster(tmp_path, f'#!/bin/sh\nexec {sys.executable} -m fer "$@"\n')
    cluster.environment |= {
        "MLFLOW_TRACKING_URI": stores.copy(empty_store, tmp_path), "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"
    }  # fmt: skip
    words = [*SMALL, "--epochs", "12", "--registered_name", "none"]
    job = cluster.submit(*words)
    seen = epochs_until(job, "epoch 2/12")
    assert job.stdout is not None
    second = int((tmp_path / "tasks").read_text().split()[1])
    os.kill(second, signal.SIGUSR1)
    seen += job.stdout.read()
    assert job.wait(timeout=60) == 138, seen
    # The second is done when the first begins to keep what was trained, and no fault.
    assert (tmp_path / "codes").read_text() == "138 0", seen
    assert cluster.requeued() == ["requeue 4711"]
    client = mlflow.MlflowClient(cluster.environment["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs(["0"], "tags.`fer.command` = 'finetune'")
    assert (run.info.status, run.data.tags["fer.error"]) == ("KILLED", "stopped by signal 10")
    # The machine is lost, and the job is given another.
    shutil.rmtree(tmp_path / "outputs")
    job = cluster.submit(*words)
    printed, _ = job.communicate(timeout=200)
    assert job.returncode == 0, printed
    assert "epoch 2/12" not in printed and "epoch 12/12" in printed
    (same,) = client.search_runs(["0"], "tags.`fer.command` = 'finetune'")
    assert (same.info.run_id, same.info.status) == (run.info.run_id, "FINISHED")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == list(range(1, 13))
    assert cluster.requeued() == ["requeue 4711"]
