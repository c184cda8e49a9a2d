"""Logging a classifier as an MLflow model that needs nothing of this project."""

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
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from PIL import Image

from fer import portable, serving
from fer.data.detector import PACKAGE, center_face_version, center_face_weights
from fer.expressions import EXPRESSIONS
from fer.portable.answers import BOX
from fer.portable.classifier import SPEC
from fer.tracking.names import MODEL

REQUIREMENTS = ("mlflow", "torch", "torchvision", "safetensors", "onnxruntime", "pillow", "numpy", "pandas")
SAID = ("arch", "image_size", "crop_size", "framing", "expressions", "trained_on", "terms")
"""What the file MLmodel repeats of the specification."""
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
        package = _package(Path(name))
        info = mlflow.pyfunc.log_model(
            name=MODEL,
            python_model=serving.__file__,
            code_paths=[str(package)],
            model_config={"package": package.name},
            artifacts={"classifier": str(folder), "detector": str(_detector(Path(name)))},
            signature=_signature(),
            input_example=_example(),
            pip_requirements=[f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in REQUIREMENTS],
            metadata=_metadata(folder, tags),
        )
    mlflow.set_logged_model_tags(info.model_id, {**tags, **_measured(info.model_id)})
    return str(info.model_id)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Keep Python from writing `__pycache__`: MLflow tries a model out where it lies, and then uploads all of it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _package(folder: Path) -> Path:
    """Return a copy of `fer.portable` whose name tells its content.

    MLflow imports by name, once a process: of two models under one name the second would run the first one's code.
    """
    source = Path(portable.__file__).parent
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.glob("*.py"))))
    target = folder / f"fer_model_{content.hexdigest()[:8]}"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def _detector(folder: Path) -> Path:
    """Return a folder with the detector's weights and the licence of the package they come from."""
    place = folder / "detector"
    place.mkdir()
    (place / serving.DETECTOR).write_bytes(center_face_weights())
    licence = importlib.metadata.distribution(PACKAGE).read_text("LICENSE") or ""
    (place / "LICENSE").write_text(f"{CREDIT}, from {center_face_version()}:\n\n{licence}", encoding="utf-8")
    return place


def _signature() -> ModelSignature:
    # Were the column required, MLflow would answer a table without it by an error of its own.
    inputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, serving.COLUMN, required=False)]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.long, "input_row")]
    outputs += [ColSpec(DataType.string, "expression", required=False)]
    outputs += [ColSpec(DataType.double, name, required=False) for name in (*EXPRESSIONS, *BOX, "face_score")]
    outputs += [ColSpec(DataType.string, "error", required=False)]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema([ParamSpec("framing", DataType.string, "auto")]))


def _example() -> tuple[Any, dict[str, str]]:
    """Return a grey picture as base64, taken whole: it shows the input's form and nobody's face."""
    import pandas

    content = io.BytesIO()
    Image.new("RGB", (48, 48), (128, 128, 128)).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    return pandas.DataFrame({serving.COLUMN: [text]}), {"framing": "none"}


def _metadata(folder: Path, tags: Mapping[str, str]) -> dict[str, Any]:
    spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    return {**tags, **{key: spec[key] for key in SAID}, "detector": f"{CREDIT}, from {center_face_version()}"}


def _measured(model_id: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=folder))
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        started = time.perf_counter()
        mlflow.pyfunc.load_model(str(path))
        return {"fer.model_bytes": str(size), "fer.load_seconds": f"{time.perf_counter() - started:.2f}"}
