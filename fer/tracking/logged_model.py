"""Log a classifier as an MLflow model that needs nothing of this project."""

import base64
import hashlib
import importlib.metadata
import io
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from PIL import Image

from fer import portable, serving
from fer.data.framing import PACKAGE, center_face_version, center_face_weights
from fer.expressions import EXPRESSIONS
from fer.portable.classifier import SPEC
from fer.portable.predictions import BOX
from fer.tracking.names import LOAD_SECONDS, MODEL, MODEL_BYTES

MLMODEL = "MLmodel"
"""The file by which MLflow knows a model's folder."""
REQUIREMENTS = ("mlflow", "torch", "torchvision", "safetensors", "onnxruntime", "pillow", "numpy", "pandas")
SPEC_METADATA = ("arch", "image_size", "crop_size", "framing", "expressions", "trained_on", "terms")
"""Fields of the specification that the file MLmodel repeats."""
CREDIT = "CenterFace (Xu, Yan, Yang, Sun & Ye, 2019; MIT, github.com/Star-Clouds/CenterFace)"


def log_model(run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
    """Log a classifier with its detector as a self-contained MLflow model and return the logged model's id.

    Its size and the seconds it takes to load, torch being imported, become the tags `fer.model_bytes` and
    `fer.load_seconds`.

    Args:
        run_id: The open run it belongs to.
        folder: What `save_classifier` wrote.
        tags: Tags of the logged model, such as its terms and its validation score; the file MLmodel holds them too.

    Raises:
        DataError: The detector's weights are not installed.
    """
    active = mlflow.active_run()
    assert active is not None and active.info.run_id == run_id
    # uv's environments have no pip, which MLflow mentions at every model.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name, _no_bytecode():
        temporary = Path(name)
        package = _copy_package(temporary)
        detector = _write_detector(temporary / "detector")
        info = mlflow.pyfunc.log_model(
            name=MODEL,
            python_model=serving.__file__,
            code_paths=[str(package)],
            model_config={"package": package.name},
            artifacts={"classifier": str(folder), "detector": str(detector)},
            signature=_signature(),
            input_example=_example(),
            pip_requirements=[_pinned_requirement(package) for package in REQUIREMENTS],
            metadata=_metadata(folder, tags),
        )
    mlflow.set_logged_model_tags(info.model_id, {**tags, **_measure(info.model_id)})
    return str(info.model_id)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Keep Python from writing `__pycache__`: MLflow tries a model out where it lies, and then uploads all of it."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _copy_package(folder: Path) -> Path:
    """Copy `fer.portable` under a name that is a digest of its content.

    MLflow imports by name, once a process: of two models under one name the second would run the first one's code.
    """
    source = Path(portable.__file__).parent
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.glob("*.py"))))
    target = folder / f"fer_model_{content.hexdigest()[:8]}"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def _write_detector(folder: Path) -> Path:
    """Write the detector's weights and the licence of the package they come from into a new folder."""
    folder.mkdir()
    (folder / serving.DETECTOR).write_bytes(center_face_weights())
    licence = importlib.metadata.distribution(PACKAGE).read_text("LICENSE") or ""
    (folder / "LICENSE").write_text(f"{CREDIT}, from {center_face_version()}:\n\n{licence}", encoding="utf-8")
    return folder


def _pinned_requirement(package: str) -> str:
    """Return a requirement without the local part of a version, such as `+cpu`, which no index offers."""
    return f"{package}=={importlib.metadata.version(package).split('+')[0]}"


def _signature() -> ModelSignature:
    # Were the column required, MLflow would answer a table without it by an error of its own.
    inputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, serving.COLUMN, required=False)]
    numbers = [ColSpec(DataType.double, name, required=False) for name in (*EXPRESSIONS, *BOX, "face_score")]
    # All but the row's number is null where a picture gives no prediction.
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.long, "input_row"),
        ColSpec(DataType.string, "expression", required=False),
        *numbers,
        ColSpec(DataType.string, "error", required=False),
    ]
    params = ParamSchema([ParamSpec("framing", DataType.string, "auto")])
    return ModelSignature(Schema(inputs), Schema(outputs), params)


def _example() -> tuple[Any, dict[str, str]]:
    """Return a grey picture as base64, taken whole: it shows the input's form and nobody's face."""
    import pandas

    content = io.BytesIO()
    Image.new("RGB", (48, 48), (128, 128, 128)).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    return pandas.DataFrame({serving.COLUMN: [text]}), {"framing": "none"}


def _metadata(folder: Path, tags: Mapping[str, str]) -> dict[str, Any]:
    spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    shown = {key: spec[key] for key in SPEC_METADATA}
    return {**tags, **shown, "detector": f"{CREDIT}, from {center_face_version()}"}


def _measure(model_id: str) -> dict[str, str]:
    """Return tags of a model's size and of the time it takes to load, measured on a fresh download."""
    # A download of its own: what is registered counts, not what lies on this machine.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=folder))
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        start = time.perf_counter()
        mlflow.pyfunc.load_model(str(path))
        seconds = time.perf_counter() - start
    return {MODEL_BYTES: str(size), LOAD_SECONDS: f"{seconds:.2f}"}


def log_card(model_id: str, files: Mapping[str, str]) -> None:
    """Add a card to a logged model, so that it comes along whenever the model is downloaded.

    Args:
        model_id: The logged model.
        files: Texts by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        mlflow.MlflowClient().log_model_artifacts(model_id, folder)


def remove_machine_paths(folder: Path) -> None:
    """Make the paths in a model's file MLmodel relative to the model's folder.

    MLflow notes there where each file lay on the machine that logged the model. It reads none of these paths, except
    for the last part of the code's.

    Args:
        folder: A model's folder; without a file MLmodel it stays as it is.
    """
    file = folder / MLMODEL
    if not file.is_file():
        return
    model = Model.load(file)
    model.artifact_path = "."
    for flavor in model.flavors.values():
        for artifact in (flavor.get("artifacts") or {}).values():
            artifact["uri"] = artifact["path"]
        if code := flavor.get("model_code_path"):
            flavor["model_code_path"] = Path(code).name
    model.save(file)
