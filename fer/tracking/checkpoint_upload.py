"""Bring a training's checkpoints to the store while it goes on, so that they survive its machine.

Files are named by their content, and a tag of the run says which belong together: whoever resumes the run finds a
whole checkpoint, even if the machine died in the middle of an upload.
"""

import hashlib
import json
import math
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fer.tracking.faults import fault_of
from fer.tracking.names import CHECKPOINT, CHECKPOINTS, checkpoint_path
from fer.tracking.spool import link_or_copy
from fer.tracking.stored_checkpoints import delete_files
from fer.training.checkpoints import BEST, LAST

STAGED = "upload"
"""Folder of what is to be uploaded, beside the checkpoints."""
SHARE = 0.02
"""Part of the training's time that uploading may take of a processor."""
RETRY_SECONDS = 15.0
HURRIED_RETRY_SECONDS = 1.0
"""Between attempts when the run ends."""
DAY = 86_400.0
POLL = 0.05


class CheckpointUpload(threading.Thread):
    """Upload the newest checkpoint whenever it may; never two at once.

    Args:
        address: The store.
        run_id: The run.
        folder: The run's folder on this machine.
        bytes_a_day: Upload so much a day at most.
        is_ours: Tells whether the run is still this process's.
    """

    def __init__(
        self,
        address: str,
        run_id: str,
        folder: Path,
        bytes_a_day: float,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(name="fer-checkpoints", daemon=True)
        self._address = address
        self._client = mlflow.MlflowClient(address)
        self._run_id = run_id
        self._staged = folder / STAGED
        # Left by a process that was killed.
        shutil.rmtree(self._staged, ignore_errors=True)
        self._bytes_a_day = bytes_a_day
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._newest: Path | None = None
        self._position: dict[str, int] = {}
        self._count = 0
        self._not_before = 0.0
        self._failed = -math.inf
        self._hurried = False
        self._busy = False
        self._refused = False
        self._ended = False

    def offer(self, folder: Path, epoch: int, step: int) -> None:
        """Take the checkpoint that a folder holds as the newest one.

        Args:
            folder: Where `last.ckpt` and perhaps `best.ckpt` lie.
            epoch: Finished epochs in it.
            step: Steps of the next epoch in it.
        """
        if self._refused or self._ended:
            return
        target = self._staged / str(self._count)
        self._count += 1
        target.mkdir(parents=True)
        for name in (LAST, BEST):
            if (folder / name).is_file():
                link_or_copy(folder / name, target / name, linked_bytes=0)
        with self._lock:
            replaced, self._newest = self._newest, target
            self._position = {"epoch": epoch, "step": step}
        if replaced is not None:
            shutil.rmtree(replaced, ignore_errors=True)
        self._wake.set()

    def run(self) -> None:
        """Upload until the training has ended, or its process."""
        while not self._ended:
            self._wake.wait()
            self._wake.clear()
            while time.monotonic() < self._due() and not self._ended:
                time.sleep(POLL)
            with self._lock:
                staged, self._newest = self._newest, None
                position = self._position
                self._busy = staged is not None
            if staged is not None and not self._ended:
                self._upload_and_pause(staged, position)
                self._busy = False

    def _due(self) -> float:
        """Return when the next upload may begin."""
        return self._failed + HURRIED_RETRY_SECONDS if self._hurried else self._not_before

    def _upload_and_pause(self, staged: Path, position: Mapping[str, int]) -> None:
        began, worked = time.monotonic(), time.thread_time()
        size = sum(path.stat().st_size for path in staged.iterdir())
        try:
            self._upload(staged, position)
        except Exception as error:
            fault = fault_of(self._address, error)
            if fault.passes:
                self._failed = time.monotonic()
                self._not_before = self._failed + RETRY_SECONDS
                self._put_back(staged)
                return
            self._refused = True
            print(f"checkpoints stay on this machine: {fault.sentence}", file=sys.stderr, flush=True)
        by_time = time.monotonic() + (time.thread_time() - worked) / SHARE
        self._not_before = max(by_time, began + size * DAY / self._bytes_a_day)
        shutil.rmtree(staged, ignore_errors=True)

    def _put_back(self, staged: Path) -> None:
        """Keep a checkpoint for the next attempt unless there is a newer one."""
        with self._lock:
            if self._newest is None:
                self._newest, staged = staged, Path()
        if staged != Path():
            shutil.rmtree(staged, ignore_errors=True)
        self._wake.set()

    def _upload(self, staged: Path, position: Mapping[str, int]) -> None:
        run = self._client.get_run(self._run_id)
        repository: Any = get_artifact_repository(run.info.artifact_uri)
        stored = {item.path: item.file_size for item in repository.list_artifacts(CHECKPOINTS)}
        files = {}
        for path in sorted(staged.iterdir()):
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = path.stat().st_size
            # By its content: an upload that was cut off is no other one's file, and the best epoch's often stays.
            named = path.with_name(f"{path.stem}-{digest[:12]}{path.suffix}")
            place = checkpoint_path(named.name)
            if stored.get(place) != size:
                path.rename(named)
                try:
                    repository.log_artifact(str(named), CHECKPOINTS)
                finally:
                    # The next attempt looks for it under its own name.
                    named.rename(path)
            # What is sent by now goes with the rest, when that is forgotten.
            if self._ended:
                return
            files[path.name] = {"path": place, "sha256": digest, "bytes": size}
        if not self._is_ours():
            return
        # One tag, so that it names the old files or the new ones.
        self._client.set_tag(self._run_id, CHECKPOINT, json.dumps({**position, "files": files}))
        delete_files(repository, stored.keys() - {file["path"] for file in files.values()})

    def end(self) -> None:
        """Upload nothing more, and wait for what is under way: the training has ended, and its checkpoints go."""
        self.stop()
        self.join()

    def stop(self) -> None:
        """Upload nothing more, and let what is under way change nothing."""
        self._ended = True
        self._wake.set()

    def finish(self, seconds: float) -> bool:
        """Upload the newest checkpoint now, and return whether that was done within some seconds."""
        self._hurried = True
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                waits = self._newest is not None
            if self._refused or not (waits or self._busy):
                return not self._refused
            time.sleep(POLL)
        return False
