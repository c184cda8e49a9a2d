"""All that a store holds of a training, so that two trainings can be compared."""

import hashlib
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow.entities import DatasetInput, LoggedModel, Run

from tests.training.killed import differences

OWN_METRICS = ("images_per_second",)
"""Ends of the keys of metrics that no two trainings share."""
OWN_TAGS = ("fer.attempt", "fer.resumed_from", "fer.spooled_as", "fer.registered", "mlflow.")
"""Beginnings of the tags that tell of one run and its processes."""
OWN_OPTIONS = ("resume", "output", "offline", "tracking_patience", "checkpoint_minutes")
SAME_FILES = (".csv", "report.json", ".safetensors")
"""Ends of the names of files that hold nothing of the run's own, and so are equal to the byte."""


def runs_of(client: mlflow.MlflowClient, command: str = "") -> list[Run]:
    """Return the runs of a command in a store, or all of them; the latest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, f"tags.`fer.command` = '{command}'" if command else ""))


def only_run(client: mlflow.MlflowClient, command: str) -> Run:
    """Return the one run of a command that a store holds; no other run is left open there."""
    runs = runs_of(client)
    described = [(run.info.run_id, run.info.status, run.data.tags) for run in runs]
    assert [run.data.tags.get("fer.command") for run in runs] == [command], described
    return runs[0]


def read_record(client: mlflow.MlflowClient, run: Run, scratch: Path) -> dict[str, Any]:
    """Return what a store holds of a finished run, by the names of its parts, all but what is the run's own.

    Args:
        client: Of the store.
        run: The run.
        scratch: A new folder for downloads.
    """
    run_id = run.info.run_id
    scratch.mkdir(parents=True)
    files = _files(Path(client.download_artifacts(run_id, "", str(scratch))))
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    outputs = run.outputs.model_outputs if run.outputs else []
    inputs = run.inputs.dataset_inputs if run.inputs else []
    best = files.get("checkpoints/best.ckpt")
    return {
        "status": run.info.status,
        "history": _history(client, run),
        "params": {key: value for key, value in run.data.params.items() if key not in OWN_OPTIONS},
        "tags": {
            key: value.replace(run_id, "") for key, value in run.data.tags.items() if not key.startswith(OWN_TAGS)
        },
        "describes": "mlflow.note.content" in run.data.tags,
        "inputs": sorted(_input(item) for item in inputs),
        "artifacts": _contents(files),
        "models": [_model(model, scratch / "model") for model in models],
        "outputs": len(outputs),
        "output is the model": [output.model_id for output in outputs] == [model.model_id for model in models],
        "versions": _versions(client, run_id),
        "best": _own_left_out(torch.load(best, weights_only=True)) if best else {},
    }


def differing(record: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the parts in which two records differ, with what each holds; empty for equal ones."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in record.keys() | other.keys():
        mine, yours = record.get(key), other.get(key)
        if key == "best":
            # Tensors are compared bit by bit, and only their names can be told.
            names = differences(mine, yours)
            found |= {f"best{name}": (None, None) for name in names}
        elif isinstance(mine, dict) and isinstance(yours, dict):
            found |= {f"{key}/{inner}": pair for inner, pair in differing(mine, yours).items()}
        elif mine != yours:
            found[key] = (mine, yours)
    return found


def _history(client: mlflow.MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of every point by key, in the order of time."""
    history = {}
    for key in run.data.metrics:
        if not key.startswith("system/") and not key.endswith(OWN_METRICS):
            points = client.get_metric_history(run.info.run_id, key)
            points.sort(key=lambda point: (point.timestamp, point.step))
            history[key] = [(point.step, point.value) for point in points]
    return history


def _input(item: DatasetInput) -> tuple[str, str, str]:
    return item.dataset.name, item.dataset.digest, " ".join(tag.value for tag in item.tags)


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _contents(files: dict[str, Path]) -> dict[str, str]:
    """Return the digest of each file that equal trainings share; of others that they are there."""
    contents = {}
    for name, path in files.items():
        # A picture of a run bears the time at which that began.
        shown = name.partition("+")[0] if name.startswith("images/") else name
        same = name.endswith(SAME_FILES)
        contents[shown] = hashlib.sha256(path.read_bytes()).hexdigest() if same else "there"
    return contents


def _model(model: LoggedModel, folder: Path) -> dict[str, Any]:
    uri = f"models:/{model.model_id}"
    files = _files(Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))))
    figures = [(metric.key, metric.value, metric.dataset_name) for metric in model.metrics or ()]
    # The folder of code is named by its content.
    return {"status": str(model.status), "files": _contents(files), "figures": sorted(figures)}


def _versions(client: mlflow.MlflowClient, run_id: str) -> list[tuple[str, str, bool]]:
    versions = []
    for registered in client.search_registered_models():
        for version in client.search_model_versions(f"name = '{registered.name}'"):
            champion = registered.aliases.get("champion") == version.version
            versions.append((f"{registered.name}/{version.version}", "terms" in version.tags, champion))
            assert version.run_id == run_id, version
    return versions


def _own_left_out(checkpoint: dict[str, Any]) -> dict[str, Any]:
    config = {key: value for key, value in checkpoint["config"].items() if key not in OWN_OPTIONS}
    return {**checkpoint, "config": config, "run_id": ""}
