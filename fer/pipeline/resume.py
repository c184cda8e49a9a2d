"""Continuing a stopped training: where its checkpoint is and what it was told to do."""

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Protocol, TypeVar

from fer.config.commands import fields_of
from fer.config.options import Scope
from fer.errors import ConfigError, ModelError
from fer.tracking.models import fetch_file
from fer.tracking.names import checkpoint_path
from fer.training.checkpoints import BEST, LAST, read_checkpoint


class Resumable(Protocol):
    """A configuration of a command that trains."""

    @property
    def resume(self) -> str:
        """Return the run or checkpoint to continue, or nothing."""

    @property
    def output(self) -> str:
        """Return the folder of checkpoints."""


C = TypeVar("C", bound=Resumable)


def find_checkpoint(config: Resumable, downloads: Path) -> Path | None:
    """Return the checkpoint to continue from, or None for a fresh start.

    A run that was killed outright has its checkpoint in the output folder only.

    Args:
        config: The configuration; its `resume` is a run's id or a file.
        downloads: Folder for a checkpoint that only the tracking server has.

    Raises:
        ModelError: There is none.
    """
    if not config.resume:
        return None
    local = Path(config.output) / config.resume / LAST
    for path in (Path(config.resume).expanduser(), local):
        if path.is_file():
            return path
    return fetch_file(config.resume, checkpoint_path(LAST), downloads)


def bring_best(config: Resumable, checkpoint: Path, folder: Path) -> None:
    """Put the best epoch so far into a continuation's folder: no later one may be better.

    Args:
        config: What is given now.
        checkpoint: The stopped run's `last.ckpt`; its `best.ckpt` lies beside it or with the run.
        folder: Of the continuation.

    Raises:
        ModelError: It is gone.
    """
    if not read_checkpoint(checkpoint)["progress"]["best_epoch"]:
        return  # stopped within the first epoch
    best = checkpoint.with_name(BEST)
    if not best.is_file():
        if Path(config.resume).expanduser() == checkpoint:
            raise ModelError(f"{best} is missing: put the stopped run's {BEST} beside its {LAST}")
        best = fetch_file(config.resume, checkpoint_path(BEST), checkpoint.parent)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(best, folder / BEST)


def continued(config: C, checkpoint: Path, command: str) -> C:
    """Return the stopped run's configuration with this machine's places.

    Args:
        config: What is given now.
        checkpoint: The stopped run's.
        command: The command that trains, for messages.

    Raises:
        ConfigError: An option given now differs from the stopped run's.
        ModelError: The checkpoint is another command's.
    """
    stored = read_checkpoint(checkpoint).get("config")
    items = fields(config)  # type: ignore[arg-type]
    if not isinstance(stored, dict) or not stored.keys() <= {item.name for item in items}:
        raise ModelError(f"{checkpoint} is no checkpoint of {command}")
    before = type(config)(**stored)
    machine = fields_of(Scope.MACHINE)
    for item in items:
        now, then = getattr(config, item.name), getattr(before, item.name)
        if item.name not in machine and now not in (then, item.default):
            raise ConfigError(
                f"resume continues with {item.name}={then}, not {now}: leave {item.name} out, or start a new run"
            )
    here = {item.name: getattr(config, item.name) for item in items if item.name in machine}
    return replace(before, **here)  # type: ignore[type-var]
