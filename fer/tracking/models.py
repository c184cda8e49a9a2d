"""Log classifiers as MLflow models that need nothing of this project, and find and download models."""

import base64
import hashlib
import importlib.metadata
import io
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from PIL import Image

from fer import portable, serving
from fer.data.framing import PACKAGE, center_face_version, center_face_weights
from fer.errors import ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, Encoder
from fer.portable.predictions import BOX, SPEC
from fer.tracking import store
from fer.tracking.names import ENCODER, MODEL
from fer.tracking.naming import MODELS, RUN, logged_model_name, no_model
from fer.tracking.runs import TrackedRun
from fer.utils.paths import expand_home

N = TypeVar("N", Classifier, Encoder)
REQUIREMENTS = ("mlflow", "torch", "torchvision", "safetensors", "onnxruntime", "pillow", "numpy", "pandas")
SPEC_METADATA = ("arch", "image_size", "crop_size", "framing", "expressions", "trained_on", "terms")
"""Fields of the specification that the file MLmodel repeats."""
CREDIT = "CenterFace (Xu, Yan, Yang, Sun & Ye, 2019; MIT, github.com/Star-Clouds/CenterFace)"


def log_model(run: TrackedRun, folder: Path, tags: Mapping[str, str], run_name: str) -> None:
    """Log a classifier with its detector as the self-contained MLflow model of a run.

    Args:
        run: The open run; its `model_id` stands for the model's id until the store gives it one.
        folder: What `save_classifier` wrote.
        tags: Tags of the logged model, such as its terms and its validation score; the file MLmodel holds them too.
        run_name: The run's name, which the logged model bears too.

    Raises:
        DataError: The detector's weights are not installed.
    """
    # uv's environments have no pip, which MLflow mentions at every model.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name, _no_bytecode():
        temporary = Path(name)
        package = _copy_package(temporary)
        # The file MLmodel says where each part lay; strangers who read it need not learn this machine's folders.
        classifier = shutil.copytree(folder, temporary / "classifier")
        code = shutil.copy(serving.__file__, temporary)
        detector = _write_detector(temporary / "detector")
        # Saved here and uploaded by the run's outbox: MLflow's `log_model` would wait for the server meanwhile.
        described = Model(
            run_id=run.id,
            model_id=run.model_id,
            model_uuid=run.model_id,
            artifact_path=f"{MODELS}{run.model_id}",
            metadata=_metadata(folder, tags),
        )
        saved = temporary / "model"
        mlflow.pyfunc.save_model(
            path=str(saved),
            mlflow_model=described,
            python_model=code,
            code_paths=[str(package)],
            model_config={"package": package.name},
            artifacts={"classifier": str(classifier), "detector": str(detector)},
            signature=_signature(),
            input_example=_example(),
            pip_requirements=[_pinned(package) for package in REQUIREMENTS],
        )
        for cache in list(saved.rglob("__pycache__")):
            shutil.rmtree(cache)
        run.model(saved, logged_model_name(run_name), tags)


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
    """Copy `fer.portable` under a name that is a digest of its content."""
    # MLflow imports by name, once a process: of two models under one name the second would run the first one's code.
    source = Path(portable.__file__).parent
    files = sorted(source.glob("*.py"))
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files))
    target = folder / f"fer_model_{content.hexdigest()[:8]}"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def _write_detector(folder: Path) -> Path:
    """Write the detector's weights and the licence of the package they come from into a new folder."""
    folder.mkdir()
    (folder / serving.DETECTOR).write_bytes(center_face_weights())
    # The MIT licence asks for its text beside every copy.
    licence = importlib.metadata.distribution(PACKAGE).read_text("LICENSE") or ""
    text = f"{CREDIT}, from {center_face_version()}:\n\n{licence}"
    (folder / "LICENSE").write_text(text, encoding="utf-8")
    return folder


def _pinned(package: str) -> str:
    """Return a requirement without the local part of a version, such as `+cpu`, which no index offers."""
    return f"{package}=={importlib.metadata.version(package).split('+')[0]}"


def _signature() -> ModelSignature:
    # Were the column required, MLflow would answer a table without it by an error of its own.
    inputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, serving.COLUMN, required=False)]
    # All but the row's number is null where a picture gives no prediction.
    numbers = (*EXPRESSIONS, *BOX, "face_score")
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.long, "input_row"),
        ColSpec(DataType.string, "expression", required=False),
        *[ColSpec(DataType.double, name, required=False) for name in numbers],
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


@dataclass(frozen=True)
class FetchedModel:
    """A model on this machine.

    Attributes:
        path: Its folder or file.
        model_id: The logged model's id, or empty for a file.
        run_id: The run it came from, or empty.
    """

    path: Path
    model_id: str = ""
    run_id: str = ""


def fetch_network(address: str, folder: Path, load: Callable[[Path], N]) -> tuple[N, FetchedModel]:
    """Download a classifier or an encoder and return it, in evaluation mode, with its place and origin.

    Args:
        address: As of `fetch_model`.
        folder: Where downloads go.
        load: `load_classifier` or `load_encoder`.

    Raises:
        ModelError: There is no such model, or it is none of this project.
    """
    fetched = fetch_model(address, folder)
    try:
        return load(fetched.path), fetched
    except ModelError as error:
        # It names a folder that soon is gone, and that nobody asked for.
        raise ModelError(str(error).replace(str(fetched.path), address)) from None


def fetch_model(address: str, folder: Path) -> FetchedModel:
    """Download a model.

    Args:
        address: `models:/<name>@<alias>`, `models:/<name>/<version>`, `runs:/<id>` (the model that run logged,
            or the encoder it pre-trained), `runs:/<id>/<artifact>`, or a path.
        folder: Where downloads go.

    Raises:
        ModelError: There is no such model.
    """
    if not address.startswith((MODELS, RUN)):
        return FetchedModel(expand_home(address))
    store.connect()
    try:
        locate = _locate_in_run if address.startswith(RUN) else _locate_in_registry
        model_id, run_id, uri = locate(address)
        path = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise no_model(address, error) from None
    return FetchedModel(Path(path), model_id, run_id)


def _locate_in_run(address: str) -> tuple[str, str, str]:
    """Return a logged model's id, its run's id, and an address that MLflow can download."""
    client = mlflow.MlflowClient()
    run_id, _, artifact = address.removeprefix(RUN).partition("/")
    outputs = client.get_run(run_id).outputs
    if artifact not in ("", MODEL):
        return "", run_id, address
    if outputs and outputs.model_outputs:
        # Not through `runs:/<id>/model`: MLflow then searches all models of the experiment for it, page by page.
        model_id = outputs.model_outputs[-1].model_id
        return model_id, run_id, f"{MODELS}{model_id}"
    if client.list_artifacts(run_id, ENCODER):
        return "", run_id, f"{RUN}{run_id}/{ENCODER}"
    raise MlflowException(f"run {run_id} logged neither a model nor an encoder")


def _locate_in_registry(address: str) -> tuple[str, str, str]:
    """Return a logged model's id, its run's id, and an address that MLflow can download."""
    client = mlflow.MlflowClient()
    name, at, alias = address.removeprefix(MODELS).partition("@")
    if at:
        version = client.get_model_version_by_alias(name, alias)
    elif "/" in name:
        version = client.get_model_version(*name.split("/", 1))
    else:
        logged = client.get_logged_model(name)
        return name, logged.source_run_id or "", address
    # The database store leaves `model_id` empty; the source says it.
    source = version.source or ""
    model_id = source.removeprefix(MODELS) if source.startswith(MODELS) else ""
    return model_id, version.run_id or "", address
