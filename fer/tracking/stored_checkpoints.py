"""Find which checkpoint of a run the store holds, and delete it when the training has ended."""

import json
import re
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fer.tracking.faults import ignoring_refusals
from fer.tracking.names import CHECKPOINT, CHECKPOINTS, checkpoint_path
from fer.training.checkpoints import BEST, LAST

KEPT = {checkpoint_path(LAST), checkpoint_path(BEST)}
"""What a finished training keeps bears its own name."""


def stored_checkpoint(tags: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what a run's tag says of the checkpoint that the store holds; None where there is none.

    Whoever may write to the run may have written the tag: it is taken only if it leads nowhere else.
    """
    with suppress(ValueError, RecursionError):
        content = json.loads(tags.get(CHECKPOINT, ""))
        if isinstance(content, dict) and _is_position(content) and _are_files(content.get("files")):
            return content
    return None


def _is_position(content: Mapping[str, Any]) -> bool:
    return all(type(content.get(key)) is int and content[key] >= 0 for key in ("epoch", "step"))


def _are_files(files: Any) -> bool:
    if not isinstance(files, dict) or not {LAST} <= files.keys() <= {LAST, BEST}:
        return False
    return all(isinstance(file, dict) and _is_file(file.get("path"), file.get("sha256")) for file in files.values())


def _is_file(path: Any, digest: Any) -> bool:
    return (
        isinstance(path, str)
        and re.fullmatch(rf"{CHECKPOINTS}/[\w.-]+", path, re.ASCII) is not None
        and ".." not in path
        and isinstance(digest, str)
        and re.fullmatch("[0-9a-f]{64}", digest) is not None
    )


def forget_checkpoints(client: mlflow.MlflowClient, run_id: str) -> None:
    """Delete what a training was to be continued from, as it has ended."""
    run = client.get_run(run_id)
    repository = get_artifact_repository(run.info.artifact_uri)
    if CHECKPOINT in run.data.tags:
        with ignoring_refusals():
            client.delete_tag(run_id, CHECKPOINT)
    # An upload that was cut off has left files that no tag names.
    places = {item.path for item in repository.list_artifacts(CHECKPOINTS)}
    if places and not places & KEPT:
        # The folder with them: stores that have folders would show an empty one.
        delete_files(repository, {CHECKPOINTS})
    else:
        delete_files(repository, places)


def delete_files(repository: Any, places: Set[str]) -> None:
    """Delete artifacts of a run, but not what a finished training keeps."""
    for place in sorted(places - KEPT):
        # A server may forbid it, or may have lost it: it takes space and does no harm.
        with suppress(MlflowException, OSError, NotImplementedError):
            repository.delete_artifacts(place)
