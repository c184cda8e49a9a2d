import base64
import io
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fer.errors import ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier, save_classifier
from fer.tracking.registry import fetch_model, log_model, register

TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(ModelSpec("squeezenet1_1", 32, trained_on=("drawn-raf",))).eval()


@pytest.fixture
def logged(client, classifier, tmp_path):
    save_classifier(classifier, tmp_path / "classifier")
    with mlflow.start_run() as run:
        return run.info.run_id, log_model(run.info.run_id, tmp_path / "classifier", TAGS)


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    content = io.BytesIO()
    image.save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_model_predicts_as_the_classifier_does(logged, classifier):
    _, model_id = logged
    model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    pictures = [picture(seed) for seed in range(3)]
    table = model.predict(pd.DataFrame({"image": [encoded(image) for image in pictures]}))
    assert list(table.columns) == ["input_row", "expression", *EXPRESSIONS, "error"]
    images = torch.from_numpy(np.stack([np.asarray(image) for image in pictures])).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = classifier(images).softmax(1).numpy()
    np.testing.assert_allclose(table[list(EXPRESSIONS)].astype(float), expected, atol=1e-5)
    assert table["expression"].tolist() == [EXPRESSIONS[n] for n in expected.argmax(1)]


def test_a_row_that_is_no_picture_has_its_own_error_and_harms_no_other(logged):
    model = mlflow.pyfunc.load_model(f"models:/{logged[1]}")
    good = encoded(picture(1))
    rows = [good, "not base64!", base64.b64encode(b"no picture").decode(), "", f"data:image/png;base64,{good}"]
    table = model.predict(pd.DataFrame({"image": rows}))
    assert table["input_row"].tolist() == [0, 1, 2, 3, 4]
    assert [bool(error) for error in table["error"]] == [False, True, True, True, False]
    assert table.loc[0, list(EXPRESSIONS)].tolist() == table.loc[4, list(EXPRESSIONS)].tolist()
    bad = table.loc[[1, 2, 3], ["expression", *EXPRESSIONS]]
    assert bad.map(lambda value: value is None).all().all(), "nulls, not NaN"


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_pictures_of_any_mode_are_read(logged, mode):
    model = mlflow.pyfunc.load_model(f"models:/{logged[1]}")
    kind = "TIFF" if mode == "CMYK" else "PNG"
    table = model.predict(pd.DataFrame({"image": [encoded(picture(2, (40, 20)).convert(mode), kind)]}))
    assert table["error"][0] is None
    assert sum(table.loc[0, list(EXPRESSIONS)]) == pytest.approx(1, abs=1e-5)


def test_the_models_folder_holds_no_pickle_and_no_lock_file(logged, tmp_path):
    folder = mlflow.artifacts.download_artifacts(f"models:/{logged[1]}", dst_path=str(tmp_path / "model"))
    names = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert {"MLmodel", "serving.py", "model.safetensors", "model.json", "requirements.txt"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".lock")) or name == "pyproject.toml"]
    requirements = (tmp_path / "model" / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in requirements)
    assert not [line for line in requirements if "lightning" in line or line.startswith("fer")]
    assert folder


def test_the_downloaded_model_needs_nothing_of_this_project(logged, tmp_path):
    mlflow.artifacts.download_artifacts(f"models:/{logged[1]}", dst_path=str(tmp_path / "model"))
    code = (
        "import sys, mlflow, pandas\n"
        "sys.modules['fer'] = sys.modules['lightning'] = sys.modules['pl_bolts'] = None\n"
        f"model = mlflow.pyfunc.load_model({str(tmp_path / 'model')!r})\n"
        f"print(model.predict(pandas.DataFrame({{'image': [{encoded(picture(1))!r}]}}))['expression'][0])\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in EXPRESSIONS


def test_a_model_is_found_by_run_version_alias_and_id(logged, classifier, tmp_path):
    run_id, model_id = logged
    register("fer-demo", model_id, 0.5, TAGS, promote=False)
    for number, address in enumerate(
        (f"runs:/{run_id}", "models:/fer-demo/1", "models:/fer-demo@champion", f"models:/{model_id}")
    ):
        fetched = fetch_model(address, tmp_path / str(number))
        assert (fetched.model_id, fetched.run_id) == (model_id, run_id), address
        assert load_classifier(fetched.path).spec == classifier.spec


@pytest.mark.parametrize("address", ["models:/nobody@champion", "runs:/" + "0" * 32, "models:/m-" + "0" * 32])
def test_a_model_that_is_not_there_is_one_sentence(client, tmp_path, address):
    with pytest.raises(ModelError, match="there is no model at") as error:
        fetch_model(address, tmp_path)
    assert "\n" not in str(error.value)


def test_a_misspelt_model_is_answered_with_the_nearest_name(logged, tmp_path):
    register("fer-demo", logged[1], 0.5, TAGS, promote=False)
    with pytest.raises(ModelError, match="did you mean 'fer-demo'"):
        fetch_model("models:/fer-dmeo@champion", tmp_path)


def test_the_champion_moves_only_on_a_better_score_measured_alike(client, logged):
    def champion() -> str:
        return str(client.get_model_version_by_alias("fer-demo", "champion").version)

    def again(score: float, promote: bool = False, **changes: str) -> str:
        return register("fer-demo", logged[1], score, {**TAGS, **changes}, promote).message

    assert "first" in again(0.5)
    assert champion() == "1"
    assert "stays" in again(0.4)
    assert "stays" in again(0.5)
    assert "cannot be compared" in again(0.9, validation_digest="v2")
    assert "cannot be compared" in again(0.9, protocol="other")
    assert champion() == "1"
    again(0.6)
    assert champion() == "6"
    assert "promote" in again(0.1, promote=True)
    assert champion() == "7"
