"""Models that tests log and register, and processes that are gone."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from fer.config.models import ExportConfig
from fer.tracking.lifecycle import tracked
from fer.tracking.registry import register
from tests import stores

TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "research only"}


def log_version(files: Path, card: Callable[[str], Mapping[str, str]]) -> str:
    """Log a model as a training does, register it as a version of fer-demo, and return its id.

    Args:
        files: The model's files.
        card: Returns the texts of its card by name, given what stands for the model's id.
    """
    with tracked("finetune", ExportConfig(), "made") as run:
        run.model(files, "made", TAGS)
        run.model_files(card(run.model_id))
    model_id = stores.model_of(run.id)
    register("fer-demo", model_id, 0.5, TAGS, promote=False)
    return model_id


def dead_process() -> dict[str, float]:
    """Return what a heartbeat says of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    started = psutil.Process(process.pid).create_time()
    process.wait()
    return {"process": process.pid, "started": started}
