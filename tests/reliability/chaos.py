"""Trainings that are killed at random moments and continued, here or in an empty folder, until they have ended."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow
import torch

from tests import stores
from tests.reliability.programs import OUTPUT, TORCHRUN, Program, Server, command
from tests.reliability.records import only_run, read_record, runs_of

EPOCHS = 3
TINY = (
    "--dataset", "raf", "--image_size", "32", "--init", "scratch",
    "--epochs", str(EPOCHS), "--checkpoint_minutes", "0.003",
)  # fmt: skip
FINETUNE = (
    "finetune", *TINY, "--arch", "squeezenet1_1", "--batch_size", "8", "--ema", "0.9", "--evaluate_on", "raf",
    "--contamination", "skip", "--registered_name", "fer-chaos",
)  # fmt: skip
"""A fine-tuning with a moving average, and with the random changes of its images."""
PRETRAIN = (
    "pretrain", *TINY, "--arch", "resnet18", "--batch_size", "16", "--warmup_epochs", "1", "--method", "swav",
    "--queue_size", "32", "--queue_from_epoch", "0", "--num_prototypes", "8", "--proj_hidden_dim", "16",
    "--proj_dim", "8", "--num_small_crops", "2",
)  # fmt: skip
"""A pre-training with SwAV's queue."""

WORDS = {"finetune": FINETUNE, "pretrain": PRETRAIN, "two processes": (TORCHRUN, *FINETUNE)}


def command_of(name: str) -> str:
    """Return the command of a training of `WORDS`."""
    first, second = WORDS[name][:2]
    return second if first == TORCHRUN else first


class Place:
    """A folder with a store, in which commands run on data that all tests share.

    Args:
        folder: The folder.
        data: The data root.
        empty_store: File of an empty store; None to let the first command make one.
        server: Stands before the folder's database; None to let commands use that itself.
    """

    def __init__(self, folder: Path, data: Path, empty_store: Path | None, server: Server | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        if empty_store is not None:
            stores.copy(empty_store, folder, "mlflow-artifacts:" if server else "")
        self.address = server.address if server else f"sqlite:///{folder}/mlflow.db"
        self.environment = {"FER_DATA": str(data), "MLFLOW_TRACKING_URI": self.address}

    @property
    def client(self) -> mlflow.MlflowClient:
        """A client of the store."""
        mlflow.set_tracking_uri(self.address)
        return mlflow.MlflowClient(self.address, registry_uri=self.address)

    def start(self, words: Sequence[str], node: str = "", log: str = "output.log", **environment: str) -> Program:
        """Start `fer <words>` and return its process.

        Args:
            words: The command line.
            node: The name of the machine; empty for the real one.
            log: Where its output goes.
            environment: Further variables.
        """
        return Program(command, (words, node), self.folder, {**self.environment, **environment}, self.folder / log)

    def run(self, words: Sequence[str], code: int = 0) -> str:
        """Run a command to its end, and return what it printed."""
        return self.start(words).wait(code)

    def record(self, command: str) -> dict[str, Any]:
        """Return the record of the store's only run, which is one of a command."""
        client = self.client
        return read_record(client, only_run(client, command), self.folder / "downloads" / str(time.monotonic_ns()))


class Undisturbed:
    """Trainings to which nothing happens, each done once.

    Args:
        make_place: Makes a place of a name.
    """

    def __init__(self, make_place: Callable[[str], Place]) -> None:
        self._make_place = make_place
        self._known: dict[str, tuple[dict[str, Any], float]] = {}

    def record(self, name: str) -> dict[str, Any]:
        """Return the record that a training leaves."""
        return self._trained(name)[0]

    def seconds(self, name: str) -> float:
        """Return how long a training takes."""
        return self._trained(name)[1]

    def _trained(self, name: str) -> tuple[dict[str, Any], float]:
        if name not in self._known:
            place = self._make_place(name)
            began = time.monotonic()
            place.run(WORDS[name])
            self._known[name] = place.record(command_of(name)), time.monotonic() - began
        return self._known[name]


class Chaos:
    """Kill a training again and again, until it has ended in spite of that.

    Args:
        place: Where; its store is empty.
        words: The command line.
        rng: Chooses the moments.
        longest: How many seconds a process lasts about, if nothing happens to it.

    Attributes:
        fell: How many kills fell where.
        seconds: How long each process lasted.
    """

    def __init__(self, place: Place, words: Sequence[str], rng: random.Random, longest: float) -> None:
        self.place = place
        self.words = words
        self.rng = rng
        self.longest = longest
        self.fell: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._folders = [place.folder / "outputs"]

    def run(self, kills: int) -> None:
        """Train until the end, with so many kills at most, and clear up on the machines that were lost.

        Raises:
            AssertionError: A process ended with a fault.
        """
        ended = False
        while not ended:
            began = time.monotonic()
            program = self._start()
            last = sum(self.fell.values()) == kills
            if not last and self._moment(program):
                program.kill()
                self.fell[self._where()] += 1
            else:
                program.wait()
            self.seconds.append(time.monotonic() - began)
            ended = any(run.info.status == "FINISHED" for run in runs_of(self.place.client))
            assert ended or program.code != 0, program.output[-OUTPUT:]
        if program.code == 0:
            assert not self._left(self._folders[-1])
        for folder in self._folders:
            self.place.run(["sync", "--output", str(folder)])
            assert not self._left(folder)

    def _start(self) -> Program:
        """Start the training, or continue it: by its id or as a queue does, in the same folder or an empty one."""
        runs = runs_of(self.place.client)
        number = len(self.seconds)
        if number % 2 and runs:
            self._folders.append(self.place.folder / f"outputs-{number}")
        by_id = runs and self.rng.random() < 0.5 and "fer.fingerprint" in runs[0].data.tags
        resume = runs[0].info.run_id if by_id else "auto"
        return self.place.start([*self.words, "--resume", resume, "--output", str(self._folders[-1])])

    def _moment(self, program: Program) -> bool:
        """Wait until the process is to be killed; return whether that comes before its end."""
        kind = self.rng.choice(("time", "training", "training", "upload", "model"))
        if kind == "time":
            program.process.join(self.rng.uniform(0, self.longest))
            return program.is_running
        if kind == "training":
            before = self._checkpoints()
            happens = program.wait_for(lambda: self._checkpoints() != before)
        else:
            pattern = {"upload": "*/upload/*/*-*.ckpt", "model": "*/spool/files/*/model"}[kind]
            happens = program.wait_for(lambda: next(self._folders[-1].glob(pattern), None))
        if happens:
            time.sleep(0 if kind == "upload" else self.rng.uniform(0, 0.5))
        return bool(happens) and program.is_running

    def _checkpoints(self) -> set[tuple[Path, int]]:
        """Return the newest checkpoints here, each with the time at which it was written."""
        return {(path, path.stat().st_mtime_ns) for path in self._folders[-1].glob("*/last.ckpt")}

    def _where(self) -> str:
        """Return where in the training the last kill fell."""
        runs = runs_of(self.place.client)
        if not runs:
            return "before the run"
        run = runs[0]
        if run.info.status == "FINISHED":
            return "after the end"
        local = self._folders[-1] / run.info.run_id / "last.ckpt"
        if not local.is_file():
            return "between machines" if "fer.checkpoint" in run.data.tags else "before a checkpoint"
        progress = torch.load(local, weights_only=True)["progress"]
        if progress["epoch"] == EPOCHS:
            return "after the last epoch"
        return "within an epoch" if progress["step"] else "between epochs"

    def _left(self, folder: Path) -> list[Path]:
        """Return what lies in a folder of runs."""
        return sorted(folder.rglob("*"))
