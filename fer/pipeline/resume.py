"""Find the stopped training that `resume` names: its run, its options and its newest checkpoint, wherever that lies."""

import hashlib
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock

from fer.config.options import Scope
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.errors import ConfigError, ModelError, quoted_path
from fer.pipeline.fingerprints import training_fingerprint
from fer.pipeline.options import needed_sets
from fer.pipeline.requirements import check_training, ensure_prepared, unprepared
from fer.tracking import store
from fer.tracking.journal import read_head
from fer.tracking.names import CONFIG_FILE
from fer.tracking.opening import OFFLINE, unfinished_offline
from fer.tracking.provenance import unfinished_run
from fer.tracking.stored_checkpoints import stored_checkpoint
from fer.training.checkpoints import BEST, LAST, read_checkpoint
from fer.utils.paths import resolve_data_root

C = TypeVar("C", FinetuneConfig, PretrainConfig)
AUTO = "auto"
"""Value of `resume` that continues the newest unfinished run of equal options, code and data, if there is one."""
DOWNLOADING = ".downloading"


@dataclass(frozen=True)
class Stopped(Generic[C]):
    """What a training has to do.

    Attributes:
        config: Its options; of a continued run what that one did, with this machine's paths.
        run_id: The run to carry on with; empty for a new one.
        checkpoint: The `last.ckpt` to continue from; None for a fresh start.
    """

    config: C
    run_id: str = ""
    checkpoint: Path | None = None


def find_stopped(command: str, config: C) -> Stopped[C]:
    """Find what a configuration's `resume` continues.

    Args:
        command: `finetune` or `pretrain`.
        config: What is given now.

    Raises:
        ConfigError: An option given now differs from the stopped run's.
        ModelError: There is no such run, or its checkpoint is damaged, another command's or an earlier version's.
    """
    if not config.resume:
        return Stopped(config)
    file = Path(config.resume).expanduser()
    if config.resume != AUTO and file.is_file():
        return _from_file(command, config, file)
    run_id = _unfinished(command, config) if config.resume == AUTO else config.resume
    if not run_id:
        return Stopped(config)
    folder = Path(config.output).resolve() / run_id
    tags: Mapping[str, str] = {}
    if not _is_offline(config, run_id):
        store.connect()
        tags = store.find_run(run_id).data.tags
    checkpoint = _newest_checkpoint(run_id, tags, folder)
    if checkpoint is not None:
        content = read_checkpoint(checkpoint).get("config")
        return Stopped(_stored_config(command, config, content, str(checkpoint)), run_id, checkpoint)
    # Stopped before its first checkpoint: its beginning is all there is to continue.
    content = _recorded_config(config, run_id, folder)
    if content is None and config.resume == AUTO:
        # Found by its options, which so are those given now.
        return Stopped(config, run_id)
    return Stopped(_stored_config(command, config, content, f"run {run_id}"), run_id)


def _is_offline(config: C, run_id: str) -> bool:
    return config.offline or run_id.startswith(OFFLINE)


def _from_file(command: str, config: C, file: Path) -> Stopped[C]:
    """Return what a `last.ckpt` somewhere on this machine continues: its run, if the store knows that."""
    content = read_checkpoint(file)
    stored = _stored_config(command, config, content.get("config"), str(file))
    run_id = str(content.get("run_id", ""))
    if run_id and not _is_offline(config, run_id):
        store.connect()
        # One from another store becomes a run of its own here.
        run_id = run_id if store.is_run(run_id) else ""
    return Stopped(stored, run_id, file)


def _unfinished(command: str, config: C) -> str:
    """Return the id of the newest unfinished run of equal options, code and data; empty if there is none."""
    check_training(config)
    root = resolve_data_root(config.data_root)
    sets = needed_sets(config)
    if unprepared(sets, root):
        # No run was recorded here on data that are not there.
        if config.offline:
            return ""
        # A set that is to be prepared may come out as it was on the machine before.
        ensure_prepared(sets, root)
    mark = training_fingerprint(command, config)
    if not config.offline:
        return unfinished_run(mark)
    return unfinished_offline(Path(config.output).resolve(), mark)


def _newest_checkpoint(run_id: str, tags: Mapping[str, str], folder: Path) -> Path | None:
    """Return the newest `last.ckpt` of a run, here or downloaded from the store; its `best.ckpt` lies beside it."""
    local = folder / LAST
    stored = stored_checkpoint(tags)
    if stored is None:
        return local if local.is_file() else None
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes of one training look at once.
    with FileLock(folder / DOWNLOADING):
        if _position(local) < (stored["epoch"], stored["step"]):
            _download(run_id, stored["files"], folder)
    return local


def _position(checkpoint: Path) -> tuple[int, int]:
    """Return the finished epochs of a checkpoint, and the steps of the next one; none where it is of no use."""
    if checkpoint.is_file():
        try:
            progress = read_checkpoint(checkpoint)["progress"]
            return progress["epoch"], progress["step"]
        except ModelError as error:
            # A loss of power may leave a file whose content had not yet reached the disk.
            print(f"{error}; the store's checkpoint takes its place", file=sys.stderr)
    return -1, 0


def _download(run_id: str, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Download a checkpoint's files into a folder, whose own are replaced when all have come undamaged."""
    with tempfile.TemporaryDirectory(prefix=DOWNLOADING, dir=folder) as scratch:
        fetched = {name: _fetch(run_id, file, Path(scratch, name)) for name, file in files.items()}
        # The best epoch first: a checkpoint without it would be of no use.
        for name in (BEST, LAST):
            if name in fetched:
                fetched[name].replace(folder / name)


def _fetch(run_id: str, file: Mapping[str, Any], scratch: Path) -> Path:
    """Download one of them into an empty folder and return its place.

    Raises:
        ModelError: It is not there, or not what was uploaded.
    """
    fetched = store.fetch_file(run_id, file["path"], scratch)
    with fetched.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file["sha256"]:
        raise ModelError(f"{file['path']} of run {run_id} is damaged: its content is not what was uploaded")
    return fetched


def _recorded_config(config: C, run_id: str, folder: Path) -> Any:
    """Return the options that a run without a checkpoint recorded when it began."""
    content = read_head(folder).get("config")
    if content is not None:
        return content
    if _is_offline(config, run_id):
        raise ModelError(f"there is no run {run_id} in {quoted_path(folder.parent)}")
    return store.read_json_artifact(run_id, CONFIG_FILE, dict)


def _stored_config(command: str, config: C, content: Any, source: str) -> C:
    """Return a stopped run's configuration with this machine's paths, and with other tests where they are given.

    Args:
        command: The command that continues it.
        config: What is given now.
        content: The stored options.
        source: Where they stood.
    """
    items = fields(config)
    # The two trainings have options of their own, by which their checkpoints are told apart.
    if not isinstance(content, dict) or not content.keys() <= {item.name for item in items}:
        raise ModelError(f"{source} is nothing that {command} can continue")
    listed = {item.name for item in items if isinstance(item.default, tuple)}
    values: dict[str, Any] = {key: tuple(value) if key in listed else value for key, value in content.items()}
    stored = type(config)(**values)
    own = {}
    for item in items:
        given = getattr(config, item.name)
        before = getattr(stored, item.name)
        choices = item.metadata["choices"]
        if choices and before not in choices:
            raise ModelError(
                f"{source} was written by an earlier version of fer, with {item.name}={before}: start a new run"
            )
        own[item.name] = _given_or_stored(item, given, before)
    return type(config)(**own)


def _given_or_stored(item: Field[Any], given: Any, before: Any) -> Any:
    """Return an option of a continued run.

    Args:
        item: The option.
        given: What is given now.
        before: What the stopped run had.

    Raises:
        ConfigError: They contradict each other.
    """
    scope = item.metadata["scope"]
    # An option left at its default was probably not given at all.
    is_default = given == item.default
    if scope is Scope.MACHINE or (scope is Scope.TESTED and not is_default):
        return given
    if scope is not Scope.TESTED and not is_default and given != before:
        raise ConfigError(
            f"resume continues with {item.name}={before}, not {given}: leave {item.name} out, or start a new run"
        )
    return before
