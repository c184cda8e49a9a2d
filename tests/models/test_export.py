import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fer.errors import ConfigError, Interrupted, ModelError
from fer.expressions import EXPRESSIONS
from fer.models import export as exporting
from fer.models.backbones import Classifier, ModelSpec, arch_options
from fer.models.export import TOLERANCE, export

ENDINGS = {"onnx": "model.onnx", "torch": "model.pt2"}
ALONE = """
import json, sys
sys.modules["fer"] = None
import numpy, onnxruntime, torch
images = numpy.load("images.npy")
session = onnxruntime.InferenceSession("model.onnx")
extra = {"metadata.json": ""}
program = torch.export.load("model.pt2", extra_files=extra)
found = {"onnx": [], "torch": []}
for count in (1, 5):
    found["onnx"].append(session.run(["probabilities"], {"images": images[:count]})[0].tolist())
    found["torch"].append(program.module()(torch.from_numpy(images[:count])).tolist())
print(json.dumps({"answers": found, "onnx": session.get_modelmeta().custom_metadata_map,
                  "torch": json.loads(extra["metadata.json"]), "input": session.get_inputs()[0].shape,
                  "output": session.get_outputs()[0].shape}))
"""


KEYS = ("expressions", "crop_size", "image_size", "temperature", "terms")
"""Metadata that are no text, and stand in an ONNX file as JSON."""


def classifier_of(arch: str, side: int = 32, **changes: object) -> Classifier:
    torch.manual_seed(0)
    return Classifier(ModelSpec(arch, side, arch_options(arch, side), **changes)).eval()


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> SimpleNamespace:
    """A classifier with unusual normalisation and temperature, in both formats, as a program without `fer` sees it."""
    folder = tmp_path_factory.mktemp("exported")
    classifier = classifier_of(
        "squeezenet1_1", 40, crop_size=32, mean=(0.2, 0.5, 0.9), std=(0.1, 0.2, 0.3), temperature=0.4,
        terms=("nur für Forschung",), trained_on=("raf",), framing="none",
    )  # fmt: skip
    exported = {form: export(classifier, form, folder / name, "models:/fer/3") for form, name in ENDINGS.items()}
    images = 255 * np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)
    np.save(folder / "images.npy", images)
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(
        classifier=classifier, exported=exported, images=images, folder=folder, alone=json.loads(done.stdout)
    )


@pytest.mark.parametrize("form", ENDINGS)
def test_a_program_without_this_project_gets_the_models_probabilities(written, form):
    with torch.inference_mode():
        enlarged = F.interpolate(torch.from_numpy(written.images), (40, 40), mode="bilinear")
        scores = written.classifier(enlarged) / 0.4
    expected = scores.softmax(1).numpy()
    one, all_five = written.alone["answers"][form]
    np.testing.assert_allclose(all_five, expected, atol=TOLERANCE)
    np.testing.assert_allclose(one, expected[:1], atol=TOLERANCE)
    assert written.exported[form].difference <= TOLERANCE


@pytest.mark.parametrize("form", ENDINGS)
def test_a_file_says_what_it_is(written, form):
    said = written.alone[form]
    if form == "onnx":  # its metadata are text
        said = said | {key: json.loads(said[key]) for key in KEYS}
    assert said["expressions"] == list(EXPRESSIONS)
    assert (said["crop_size"], said["image_size"], said["temperature"], said["framing"]) == (32, 40, 0.4, "none")
    assert "(batch, 3, 32, 32), RGB in [0, 255]" in said["input"]
    assert said["terms"] == ["nur für Forschung"]
    assert said["source"] == "models:/fer/3"


def test_the_onnx_file_is_valid_in_itself_and_leaves_the_batch_open(written):
    assert written.alone["input"] == ["batch", 3, 32, 32]
    assert written.alone["output"] == ["batch", 7]
    model = onnx.load(written.folder / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert written.exported["onnx"].form == f"ONNX opset {model.opset_import[0].version}"
    assert {path.name for path in written.folder.iterdir()} == {*ENDINGS.values(), "images.npy"}


class Shuffling(nn.Module):
    """A small network of ShuffleNet's and Swin's kind: its shapes are computed from the batch's."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped, self.last = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Linear(8, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.grouped(images)
        batch, channels, height, width = found.shape
        found = found.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, -1, height, width)
        windows = found.view(batch, -1, 2, height // 2, 2, width // 2).permute(0, 3, 5, 1, 2, 4).reshape(-1, 8, 2, 2)
        return self.last(windows.relu().sum((2, 3)).view(batch, -1, 8).mean(1))


@pytest.mark.parametrize("form", ENDINGS)
def test_shapes_computed_from_the_batch_stay_open(form, tmp_path):
    classifier = classifier_of("squeezenet1_1")
    classifier.backbone = Shuffling()
    assert export(classifier, form, tmp_path / ENDINGS[form], "x").difference <= TOLERANCE


ARCHS = ("resnet18", "shufflenet_v2_x0_5", "googlenet", "swin_t", "vit_b_16", "efficientnet_b0", "densenet121")


@pytest.mark.slow
@pytest.mark.parametrize("form", ENDINGS)
@pytest.mark.parametrize("arch", ARCHS)
def test_every_kind_of_architecture_answers_alike(arch, form, tmp_path):
    assert export(classifier_of(arch), form, tmp_path / ENDINGS[form], "x").difference <= TOLERANCE


@pytest.mark.parametrize("wrong", [1 / 7, float("nan")])
def test_a_file_that_answers_otherwise_is_an_error(monkeypatch, tmp_path, wrong):
    monkeypatch.setattr(exporting, "_write_torch", lambda *_: ("", lambda images: torch.full((len(images), 7), wrong)))
    with pytest.raises(ModelError, match="predictions differ from the model's by up to"):
        export(classifier_of("squeezenet1_1"), "torch", tmp_path / "model.pt2", "x")


def test_what_cannot_be_exported_is_one_sentence(tmp_path):
    class Odd(Classifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * float(images.sum().item() > 0)

    with pytest.raises(ModelError, match=r"^squeezenet1_1 cannot be exported with format=torch: ") as error:
        export(Odd(ModelSpec("squeezenet1_1", 32)), "torch", Path(tmp_path / "model.pt2"), "x")
    assert "\n" not in str(error.value)


def test_a_signal_stays_one_however_the_exporter_wraps_it(monkeypatch, tmp_path):
    def wrapping(*_: object) -> None:
        try:
            raise Interrupted(15)
        except Interrupted as stop:
            raise RuntimeError("\x1b[96mstep 2\x1b[0m failed") from stop

    monkeypatch.setattr(exporting, "_write_torch", wrapping)
    with pytest.raises(Interrupted) as stop:
        export(classifier_of("squeezenet1_1"), "torch", tmp_path / "model.pt2", "x")
    assert stop.value.signum == 15


def test_without_the_extra_one_sentence_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs onnxscript: .*`uv sync --extra export`.*format=torch"):
        exporting.check_packages("onnx")
    exporting.check_packages("torch")
