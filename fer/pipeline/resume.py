"""Continue a stopped training: find its checkpoint, and the configuration it was started with."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from fer.config.commands import fields_of
from fer.config.options import Scope
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.errors import ConfigError, ModelError
from fer.tracking.models import fetch_file
from fer.tracking.names import checkpoint_path
from fer.training.checkpoints import BEST, LAST, read_checkpoint

C = TypeVar("C", FinetuneConfig, PretrainConfig)


@contextmanager
def resumed(command: str, config: C) -> Iterator[tuple[C, Path | None]]:
    """Find what a configuration's `resume` continues, for as long as the block lasts.

    Args:
        command: `finetune` or `pretrain`.
        config: What is given now.

    Yields:
        What to do, and the checkpoint to continue from, or None for a fresh start.

    Raises:
        ConfigError: An option given now differs from the stopped run's.
        ModelError: There is no checkpoint, or it is another command's.
    """
    with tempfile.TemporaryDirectory() as downloads:
        checkpoint = _find_checkpoint(config, Path(downloads)) if config.resume else None
        if checkpoint:
            config = _stored_config(command, config, checkpoint)
        yield config, checkpoint


def _find_checkpoint(config: FinetuneConfig | PretrainConfig, downloads: Path) -> Path:
    # A run that was killed outright has its checkpoint in the output folder only.
    local = Path(config.output) / config.resume / LAST
    for path in (Path(config.resume).expanduser(), local):
        if path.is_file():
            return path
    return fetch_file(config.resume, checkpoint_path(LAST), downloads)


def _stored_config(command: str, config: C, checkpoint: Path) -> C:
    """Return the stopped run's configuration with this machine's paths."""
    content = read_checkpoint(checkpoint).get("config")
    items = fields(config)
    if not isinstance(content, dict) or not content.keys() <= {item.name for item in items}:
        raise ModelError(f"{checkpoint} is no checkpoint of {command}")
    stored = type(config)(**content)
    machine_options = fields_of(Scope.MACHINE)
    own = {}
    for item in items:
        given = getattr(config, item.name)
        before = getattr(stored, item.name)
        if item.name in machine_options:
            own[item.name] = given
        elif given not in (before, item.default):
            raise ConfigError(
                f"resume continues with {item.name}={before}, not {given}: leave {item.name} out, or start a new run"
            )
    return replace(stored, **own)


def fetch_best(config: FinetuneConfig, checkpoint: Path, folder: Path) -> None:
    """Put the best epoch so far into a continuation's folder, since no later one may be better.

    Args:
        config: What is given now.
        checkpoint: The stopped run's `last.ckpt`; its `best.ckpt` lies beside it or with the run.
        folder: Of the continuation.

    Raises:
        ModelError: It is gone.
    """
    if not read_checkpoint(checkpoint)["progress"]["best_epoch"]:
        # Stopped within the first epoch: there is none yet.
        return
    best = checkpoint.with_name(BEST)
    if not best.is_file():
        if Path(config.resume).expanduser() == checkpoint:
            raise ModelError(f"{best} is missing: put the stopped run's {BEST} beside its {LAST}")
        best = fetch_file(config.resume, checkpoint_path(BEST), checkpoint.parent)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(best, folder / BEST)
