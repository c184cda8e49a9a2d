"""Training in two processes, started as a user would: by torchrun, on CPUs, over the loopback interface."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch

from fer.data.batches import shard
from fer.data.datasets import drawn
from fer.expressions import EXPRESSIONS
from fer.tracking.stored_checkpoints import stored_checkpoint
from fer.training.checkpoints import LAST
from fer.utils.distributed import Peers
from fer.utils.processes import exit_nonzero_ranks, local_rank, local_world_size, rank, world_size
from tests import stores
from tests.paths import ROOT

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from fer.data.augment import Augmentation
from fer.data.packing import PackedImages
from fer.data.batches import TrainingBatches
from fer.data.manifest import ImageRow, Manifest
from fer.expressions import EXPRESSIONS
from fer.objectives.classification import Classification
from fer.training.optimization import OptimizationSettings
from fer.utils.processes import rank, world_size
from fer.training.loop import train

class Silent:
    def metrics(self, values, step):
        pass

    def checkpoint(self, folder, epoch, step):
        pass

folder = Path(sys.argv[1])
names = [EXPRESSIONS[n % 7] for n in range(42)]
rows = tuple(ImageRow(f"{n}.png", name, "train", "", "", "", "", 0, 16, 16, "", "") for n, name in enumerate(names))
pixels = np.random.default_rng(0).integers(0, 256, (42, 16, 16, 3), dtype=np.uint8)
images = PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))
batches = TrainingBatches(
    images=images, indices=images.indices("train"), image_size=16, batch_size=8, seed=3,
    augmentation=Augmentation(flip=0.5, crop_min=0.6), rank=rank(), world_size=world_size(),
)
for name, changes in {"all": {}, "later": {"freeze_epochs": 1, "head_lr": 2.0}, "head": {"freeze": "backbone"}}.items():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(294, 7))
    settings = OptimizationSettings(
        epochs=3, lr=1e-4, optimizer="sgd", weight_decay=0.05, momentum=0.9, warmup_epochs=1.0, ema=0.9, patience=0,
        selection="accuracy", device="cpu", bf16=False, seed=0, **changes,
    )
    progress = train(
        Classification(network), batches, lambda network, epoch: {"validation/accuracy": epoch / 10}, settings,
        Silent(), folder / "checkpoints", {"config": {}},
    )
    torch.save(network.state_dict(), folder / f"{name}-{rank()}-of-{world_size()}.pt")
    torch.save(progress.history, folder / f"{name}-{rank()}-of-{world_size()}.history")
"""

APART = """
import sys
from pathlib import Path
from fer.errors import ModelError
from fer.training.checkpoints import LAST
from fer.training.loop import train
from fer.utils.processes import rank, world_size
from tests.training.small import EXTRA, Recorded, noise, objective, settings, training_batches, validate

folder = Path(sys.argv[1])
batches = training_batches(noise(), rank=rank(), world_size=world_size())
for epochs in (1, 2):
    train(objective(), batches, validate, settings(epochs=epochs), Recorded(), folder / str(epochs), EXTRA)
one, two = (folder / name / LAST for name in ("1", "2"))
for case, found in {"first": (two, None), "second": (None, two), "both": (one, two)}.items():
    try:
        train(objective(), batches, validate, settings(), Recorded(), folder / "continued", EXTRA, found[rank()])
    except ModelError as error:
        (folder / f"{case}-{rank()}").write_text(str(error))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with drawn RAF and KDEF downloads at their default places."""
    folder = tmp_path_factory.mktemp("processes")
    counts = {"train": dict.fromkeys(EXPRESSIONS, 12), "test": dict.fromkeys(EXPRESSIONS, 3)}
    drawn.write_raf(folder / "data" / "raf_basic" / "basic", counts, seed=1)
    return folder


@pytest.fixture(scope="module")
def environment(place, empty_store) -> dict[str, str]:
    made = {
        **os.environ, "MLFLOW_TRACKING_URI": stores.copy(empty_store, place), "FER_DATA": str(place / "data"),
        "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
        made.pop(name, None)
    return made


def run(words: list[str], place: Path, environment: dict[str, str], seconds: float = 400) -> str:
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def last_run(environment: dict[str, str], command: str) -> mlflow.entities.Run:
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (found,) = client.search_runs(["0"], f"tags.`fer.command` = '{command}'")
    return found


def test_a_process_alone_talks_to_itself():
    assert (rank(), local_rank(), world_size(), local_world_size()) == (0, 0, 1, 1)
    peers = Peers()
    assert peers.all_reduce_max(15) == 15
    assert peers.gather("a") == ["a"]
    assert peers.any(True) and not peers.any(False)
    assert peers.mean({"loss": 2.0}) == {"loss": 2.0}
    assert peers.broadcast_from_rank_zero(lambda: 3) == 3
    exit_nonzero_ranks()


def test_processes_but_the_first_leave(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as stop:
        exit_nonzero_ranks()
    assert not stop.value.code


@pytest.mark.parametrize("count", [8, 9, 3])
def test_shards_are_equal_and_join_to_the_batch(count):
    positions = torch.arange(count)
    shards = [shard(positions, number, 2) for number in range(2)]
    assert len(shards[0]) == len(shards[1])
    assert torch.equal(torch.cat(shards), positions[: count // 2 * 2])


@pytest.mark.project
def test_two_processes_train_the_model_that_one_trains_and_hold_equal_weights(place, environment):
    script = place / "script.py"
    script.write_text(SCRIPT)
    run([*TORCHRUN, str(script), str(place)], place, environment)
    run([sys.executable, str(script), str(place)], place, environment)
    for extent in ("all", "later", "head"):
        first, second, alone = (torch.load(place / f"{extent}-{name}.pt") for name in ("0-of-2", "1-of-2", "0-of-1"))
        for name, tensor in alone.items():
            assert torch.equal(first[name], second[name])
            # The mean of two halves' means is the batch's mean but for rounding.
            assert torch.allclose(first[name], tensor, rtol=1e-4, atol=1e-6), f"{extent}: {name}"
        ours, whole = (torch.load(place / f"{extent}-{name}.history") for name in ("1-of-2", "0-of-1"))
        for figure, tolerance in (("train/loss", 1e-4), ("train/accuracy", 1e-6)):
            assert [row[figure] for row in ours] == pytest.approx([row[figure] for row in whole], rel=tolerance)


@pytest.mark.project
def test_processes_that_go_on_from_different_places_all_say_so_and_none_waits(tmp_path, environment):
    script = tmp_path / "script.py"
    script.write_text(APART)
    run([*TORCHRUN, str(script), str(tmp_path)], tmp_path, environment, seconds=120)
    found = {"first": "epoch 2, step 0; none", "second": "epoch 2, step 0; none"}
    found["both"] = "epoch 1, step 0; epoch 2, step 0"
    for case, places in found.items():
        sentence = f"the processes found different checkpoints ({places}): give all one `output` folder"
        assert [(tmp_path / f"{case}-{number}").read_text() for number in range(2)] == [sentence] * 2


SMALL = ["--dataset", "raf", "--arch", "resnet18", "--image_size", "32", "--init", "scratch", "--batch_size", "16"]


@pytest.mark.project
def test_finetune_under_torchrun_is_one_run(place, environment):
    words = ["-m", "fer", "finetune", *SMALL, "--epochs", "2", "--registered_name", "none"]
    printed = run([*TORCHRUN, *words], place, environment)
    found = last_run(environment, "finetune")
    assert found.info.status == "FINISHED", printed
    assert printed.count("epoch 2/2") == 1
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    report = Path(client.download_artifacts(found.info.run_id, "evaluation/raf/report.json"))
    assert json.loads(report.read_text(encoding="utf-8"))["images"] == 21
    assert len(client.get_metric_history(found.info.run_id, "train/loss")) == 2
    assert [item.path for item in client.list_artifacts(found.info.run_id, "checkpoints")] == ["checkpoints/best.ckpt"]


@pytest.mark.project
@pytest.mark.parametrize("method", ["swav"])
def test_pretrain_under_torchrun_is_one_run(place, environment, method):
    words = ["-m", "fer", "pretrain", *SMALL, "--method", method, "--epochs", "1", "--num_small_crops", "2"]
    sizes = "--proj_hidden_dim 64 --proj_dim 32 --num_prototypes 16 --queue_size 16 --queue_from_epoch 0"
    heads = sizes.split()
    run([*TORCHRUN, *words, *heads], place, environment)
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (found,) = client.search_runs(["0"], f"tags.`fer.command` = 'pretrain' and params.method = '{method}'")
    assert found.info.status == "FINISHED"
    assert 0 <= found.data.metrics["validation/knn_accuracy"] <= 1
    assert found.data.metrics["validation/feature_std"] > 0
    assert found.data.metrics["validation/rank_me"] >= 1
    names = {item.path for item in client.list_artifacts(found.info.run_id, "encoder")}
    assert names == {"encoder/encoder.json", "encoder/encoder.safetensors"}


@pytest.mark.project
def test_a_signal_to_torchrun_saves_once_and_leaves_the_run_killed(place, environment):
    words = ["-m", "fer", "finetune", *SMALL, "--epochs", "60", "--registered_name", "none", "--seed", "5"]
    process = subprocess.Popen(
        [*TORCHRUN, *words], cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2/60" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    process.wait(timeout=60)
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (found,) = client.search_runs(["0"], "params.seed = '5'")
    assert found.info.status == "KILLED", rest
    stored = stored_checkpoint(found.data.tags)
    assert stored is not None and LAST in stored["files"]


@pytest.mark.project
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["finetune", *SMALL, "--batch_size", "15"], "batch_size must be a multiple of the 2 processes, not 15"),
        (["evaluate"], "evaluate runs in one process: start it without torchrun"),
    ],
    ids=["batch", "evaluate"],
)
def test_what_several_processes_cannot_do_is_said(place, environment, words, sentence):
    done = subprocess.run(
        [*TORCHRUN, "-m", "fer", *words], cwd=place, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode != 0
    assert f"fer: {sentence}" in done.stderr
