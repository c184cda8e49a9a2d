"""What the record of a training costs it: figures, spool, checkpoints and their upload, as a share of a 60 s epoch.

A training on noise writes its real checkpoints and records its real figures. What the training waits for is the wall
clock of these two calls; what goes on in the background is the processor time of the whole process in a pause after
each epoch, in which nothing else happens. The store is a database in a file, or a server of its own process.

    python benchmarks/tracking.py --arch resnet50
    python benchmarks/tracking.py --arch resnet50 --server true
"""

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fer.config.training import FinetuneConfig
from fer.data.augment import Augmentation
from fer.data.batches import TrainingBatches
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.objectives.classification import Classification
from fer.pipeline.context import RunContext
from fer.tracking.lifecycle import tracked
from fer.tracking.runs import TrackedRun
from fer.training.loop import train
from fer.training.saving import CheckpointWriter

EPOCH_SECONDS = 60.0
SIDE = 32
IMAGES = 16
FIGURES = {"validation/loss": 1.0, "validation/accuracy": 0.5, "validation/class_mean": 0.4}


def timed(owner: type, name: str, seconds: list[float]) -> None:
    """Have every call of a method note how long it took."""
    method: Callable[..., object] = getattr(owner, name)

    def measured(*words: object, **options: object) -> object:
        started = time.perf_counter()
        result = method(*words, **options)
        seconds.append(time.perf_counter() - started)
        return result

    setattr(owner, name, measured)


def batches() -> TrainingBatches:
    """Return two steps an epoch of noise."""
    rows = tuple(
        ImageRow(f"{n}.png", EXPRESSIONS[n % 7], "train", "", "", "", "", 0, SIDE, SIDE, "", "") for n in range(IMAGES)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    images = PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))
    return TrainingBatches(
        images=images,
        indices=images.indices("train"),
        image_size=SIDE,
        batch_size=8,
        seed=0,
        augmentation=Augmentation(),
    )


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train, and return the seconds that an epoch's record takes, by what it is."""
    figures: list[float] = []
    checkpoints: list[float] = []
    background: list[float] = []
    timed(TrackedRun, "metrics", figures)
    timed(CheckpointWriter, "write", checkpoints)
    pause = arguments.pause

    def validate(network: torch.nn.Module, epoch: int) -> dict[str, float]:
        # Here, since what the epoch before recorded goes on its way while the next one trains.
        if epoch > 1:
            before = time.process_time()
            time.sleep(pause)
            background.append((time.process_time() - before) / pause * EPOCH_SECONDS)
        return FIGURES

    config = FinetuneConfig(arch=arguments.arch, image_size=SIDE, device="cpu", output=str(folder / "outputs"))
    spec = ModelSpec(arguments.arch, SIDE)
    objective = Classification(Classifier(spec), None, 0.0)
    config = replace(config, epochs=arguments.epochs + 1, precision="fp32")
    with tracked("finetune", config, "noise") as run:
        settings = RunContext(run, folder, torch.device("cpu"), "fp32", config).settings()
        extra_state = {"spec": spec.to_dict(), "config": {}}
        train(objective, batches(), validate, settings, run, run.folder, extra_state)
        size = (run.folder / "last.ckpt").stat().st_size
    print(f"{arguments.arch}: last.ckpt {size / 1e6:.0f} MB; medians of {arguments.epochs} epochs")
    return {
        "figures to the spool (the training waits)": statistics.median(figures),
        "checkpoints to the disk (the training waits)": statistics.median(checkpoints),
        "sending, uploading, gauges, heartbeat (processor time)": statistics.median(background),
    }


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a tracking server on this machine and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pause", type=float, default=EPOCH_SECONDS, help="seconds that each epoch is watched")
    parser.add_argument("--server", choices=("true", "false"), default="false")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stack.enter_context(contextlib.chdir(folder))
        local = f"sqlite:///{folder}/mlflow.db"
        os.environ["MLFLOW_TRACKING_URI"] = stack.enter_context(server(folder)) if arguments.server == "true" else local
        seconds = measure(arguments, folder)
    for part, value in seconds.items():
        print(f"{part:56} {value:7.3f} s  {value / EPOCH_SECONDS:6.2%}")
    total = sum(seconds.values())
    print(f"{'together, of an epoch of 60 s':56} {total:7.3f} s  {total / EPOCH_SECONDS:6.2%}")


if __name__ == "__main__":
    main()
