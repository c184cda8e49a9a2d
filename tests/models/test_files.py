import json

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from fer.errors import ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import (
    ENCODER_SPEC,
    ENCODER_WEIGHTS,
    SPEC,
    WEIGHTS,
    load_classifier,
    read_folder,
    save_classifier,
    save_encoder,
)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(ModelSpec("squeezenet1_1", 32, trained_on=("raf",), terms=("research only",))).eval()


def test_a_saved_classifier_comes_back_equal(classifier, tmp_path):
    save_classifier(classifier, tmp_path / "deep" / "down")
    loaded = load_classifier(tmp_path)
    assert loaded.spec == classifier.spec
    assert not loaded.training
    images = torch.rand(2, 3, 32, 32) * 255
    with torch.inference_mode():
        assert torch.equal(loaded(images), classifier(images))


def test_a_checkpoint_comes_back_equal(classifier, tmp_path):
    torch.save({"spec": classifier.spec.to_dict(), "model": classifier.state_dict()}, tmp_path / "best.ckpt")
    loaded = load_classifier(tmp_path / "best.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), classifier.parameters(), strict=True))


def test_a_model_with_another_order_of_expressions_is_refused(classifier, tmp_path):
    save_classifier(classifier, tmp_path)
    spec = json.loads((tmp_path / SPEC).read_text())
    (tmp_path / SPEC).write_text(json.dumps(spec | {"expressions": sorted(EXPRESSIONS)}))
    with pytest.raises(ModelError, match="orders its expressions as anger"):
        load_classifier(tmp_path)


def test_faults_are_named(classifier, tmp_path):
    with pytest.raises(ModelError, match="there is no model"):
        load_classifier(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=WEIGHTS):
        load_classifier(tmp_path)
    spec = classifier.spec.to_dict()
    for content in ({"model": classifier.state_dict()}, {"spec": spec}, {"spec": 3, "model": {}}):
        torch.save(content, tmp_path / "foreign.ckpt")
        with pytest.raises(ModelError, match="no checkpoint of this project"):
            load_classifier(tmp_path / "foreign.ckpt")
    torch.save({"spec": spec | {"expressions": None}, "model": classifier.state_dict()}, tmp_path / "foreign.ckpt")
    with pytest.raises(ModelError, match="does not describe a model"):
        load_classifier(tmp_path / "foreign.ckpt")
    save_classifier(classifier, tmp_path / "m")
    (tmp_path / "m" / SPEC).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        load_classifier(tmp_path / "m")
    other = classifier.spec.to_dict() | {"arch": "resnet18"}
    (tmp_path / "m" / SPEC).write_text(json.dumps(other))
    with pytest.raises(ModelError, match="do not fit resnet18"):
        load_classifier(tmp_path / "m")


def test_a_saved_encoder_is_torchvisions_without_its_head(tmp_path):
    encoder = Encoder(ModelSpec("resnet18", 32, trained_on=("raf",), terms=("research only",)))
    save_encoder(encoder, tmp_path / "encoder", "simsiam")
    bare = torchvision.models.resnet18(weights=None)
    missing = bare.load_state_dict(load_file(tmp_path / "encoder" / ENCODER_WEIGHTS), strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == (["fc.weight", "fc.bias"], [])
    described = json.loads((tmp_path / "encoder" / ENCODER_SPEC).read_text())
    assert described["method"] == "simsiam"
    assert {*described} == {
        "arch", "image_size", "arch_options", "mean", "std", "trained_on", "terms", "method", "framing",
        "crop_size", "training_images", "pretraining_images",
    }  # fmt: skip
    spec, state = read_folder(tmp_path)
    assert spec == encoder.spec
    assert all(torch.equal(state[name], tensor) for name, tensor in encoder.trunk.state_dict().items())


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_a_damaged_description_is_named(tmp_path, text):
    save_encoder(Encoder(ModelSpec("resnet18", 32)), tmp_path, "swav")
    (tmp_path / ENCODER_SPEC).write_text(text)
    with pytest.raises(ModelError, match=f"{ENCODER_SPEC} is damaged"):
        read_folder(tmp_path)
