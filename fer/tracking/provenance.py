"""Where a run's figures come from: code, packages, machine and images; and earlier runs that equal it."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.tracking import store
from fer.tracking.names import (
    ENCODER,
    EVALUATION,
    FINGERPRINT,
    PRETRAINING,
    STARTED_FROM,
    TRAINING,
    checkpoint_path,
)
from fer.training.checkpoints import BEST

PACKAGES = ("torch", "torchvision", "lightning", "lightning-bolts", "mlflow", "numpy", "pillow")
COMMIT = "git.commit"
DIRTY = "git.dirty"
UNKNOWN = "unknown"
GIT_SECONDS = 20
"""How long an answer of git is waited for."""
RESULTS = {"pretrain": ENCODER, "finetune": checkpoint_path(BEST), "evaluate": EVALUATION}
"""An artifact without which a command's finished run is of no use."""


@dataclass(frozen=True)
class CodeVersion:
    """The code that runs.

    Attributes:
        commit: The commit, or `unknown` outside a repository.
        dirty: Whether tracked files differ from it.
    """

    commit: str
    dirty: bool

    @property
    def description(self) -> str:
        """Return the commit, and whether files differed from it, as cards and pages say it."""
        return f"commit {self.commit}" + (", with changes that are not committed" if self.dirty else "")


@cache
def environment_tags() -> dict[str, str]:
    """Return tags of commit, dirty flag, versions and hardware."""
    import torch  # takes seconds

    tags = {f"version.{name}": _version(name) for name in PACKAGES}
    # The names by which a package is installed and called differ for our own.
    tags |= {
        "version.python": platform.python_version(),
        "version.fer": _version("fer-experiments"),
        "hardware.cpu": _cpu(),
        "hardware.cores": str(os.cpu_count()),
        "hardware.system": platform.platform(),
    }
    if torch.cuda.is_available():
        tags["hardware.gpu"] = torch.cuda.get_device_name()
    return tags | _git_tags(Path(__file__).parents[2])


def code_version() -> CodeVersion:
    """Return the version of the code that runs, as every run's tags state it."""
    tags = environment_tags()
    return CodeVersion(tags[COMMIT], tags.get(DIRTY) == "true")


@cache
def code_digest() -> str:
    """Return a digest of this package's own files: equal for the same code, whatever the commit is called."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _git_tags(folder: Path) -> dict[str, str]:
    """Return the commit, and whether tracked files differ from it (MLflow's own tag ignores that)."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    # An installed package lies in no repository, and its machine may have no git.
    except (OSError, subprocess.SubprocessError):
        return {COMMIT: UNKNOWN}
    return {COMMIT: commit, DIRTY: "true" if changes else "false"}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _cpu() -> str:
    # platform.processor() is empty or only the architecture on Linux.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = re.search(r"^model name\s*: *(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
        if named:
            return named[1]
    return platform.processor()


def fingerprint(command: str, settings: Mapping[str, Any], inputs: Mapping[str, str], code: str) -> str:
    """Return a digest that is equal for two runs only if they must come out equal.

    Args:
        command: What is done.
        settings: The options that matter, resolved.
        inputs: Digests of what goes in, by name.
        code: Digest of the code.
    """
    content = [command, dict(settings), dict(inputs), code]
    # Sorted, so that the order in which options are declared does not matter.
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def finished_run(mark: str, command: str) -> str:
    """Return the id of the latest finished run with this fingerprint whose artifacts are still there, or nothing."""
    store.connect()
    runs = store.search_runs(f"tags.`{FINGERPRINT}` = '{mark}' and attributes.status = 'FINISHED'")
    return next((run.info.run_id for run in runs if _has_results(run, command)), "")


def unfinished_run(mark: str) -> str:
    """Return the id of the latest run with this fingerprint that was stopped, failed or died, or nothing."""
    store.connect()
    runs = store.search_runs(f"tags.`{FINGERPRINT}` = '{mark}' and attributes.status != 'FINISHED'")
    return runs[0].info.run_id if runs else ""


def _has_results(run: Run, command: str) -> bool:
    """Return whether nobody has removed what a run is reused for."""
    if not _has_artifact(run.info.run_id, RESULTS[command]):
        return False
    if command != "finetune":
        return True
    # Logged models are deleted apart from their runs.
    models = run.outputs.model_outputs if run.outputs else []
    client = mlflow.MlflowClient()
    with suppress(MlflowException, OSError):
        return any(client.list_logged_model_artifacts(model.model_id) for model in models)
    return False


def _has_artifact(run_id: str, artifact: str) -> bool:
    folder = artifact.rpartition("/")[0]
    with suppress(MlflowException, OSError):
        items = mlflow.MlflowClient().list_artifacts(run_id, folder or None)
        return any(item.path == artifact for item in items)
    return False


def images_of_run(run_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the training splits that a run and the runs it started from used, with labels and without.

    Args:
        run_id: A run of `finetune` or `pretrain`; one that is gone used nothing that is known.

    Returns:
        `<set>/<digest>` of each split.
    """
    store.connect()
    client = mlflow.MlflowClient()
    visited = set()
    # Dictionaries are ordered sets here.
    splits: dict[str, dict[str, None]] = {TRAINING: {}, PRETRAINING: {}}
    # Tags can be edited, so that a chain of runs may close to a circle.
    while run_id and run_id not in visited:
        visited.add(run_id)
        try:
            run = client.get_run(run_id)
        except MlflowException:
            # It was deleted, or is of another store.
            break
        for item in run.inputs.dataset_inputs if run.inputs else ():
            tags = {tag.key: tag.value for tag in item.tags}
            context = tags.get("mlflow.data.context")
            if context in splits:
                splits[context][f"{item.dataset.name}/{item.dataset.digest}"] = None
        run_id = run.data.tags.get(STARTED_FROM, "")
    return tuple(splits[TRAINING]), tuple(splits[PRETRAINING])
