"""What a machine keeps of runs that have finished elsewhere goes; what may be of use stays."""

from pathlib import Path

import mlflow

from fer.tracking.leftovers import remove_finished
from fer.training.checkpoints import LAST

OUTPUTS = Path("outputs")


def kept(name: str, *more: str) -> Path:
    folder = OUTPUTS / name
    for path in (LAST, *more):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    return folder


def test_only_folders_of_finished_runs_go(client):
    finished, killed, waiting = (client.create_run("0").info.run_id for _ in range(3))
    for run_id, status in ((finished, "FINISHED"), (killed, "KILLED"), (waiting, "FINISHED")):
        client.set_terminated(run_id, status)
    gone = kept(finished, "best.ckpt")
    stays = [kept(killed), kept(waiting, "spool/run.json"), kept("0" * 32), kept("notes")]
    (OUTPUTS / "other" / "last.txt").parent.mkdir()
    said: list[str] = []
    assert remove_finished(mlflow.get_tracking_uri(), OUTPUTS, said.append) == 1
    assert said == [f"run {finished} has finished elsewhere: its checkpoints here are removed"]
    assert not gone.exists()
    assert all((folder / LAST).exists() for folder in stays)
    assert remove_finished(mlflow.get_tracking_uri(), OUTPUTS, said.append) == 0
