import json
import os
import sys
from collections import OrderedDict

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from fer.errors import ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import (
    ENCODER_SPEC,
    ENCODER_WEIGHTS,
    SPEC,
    WEIGHTS,
    load_classifier,
    load_encoder,
    read_folder,
    save_classifier,
    save_encoder,
)
from fer.models.weight_files import read_file, tensors_of
from tests.models.old_files import lightning_content, pretending


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


def test_an_encoder_comes_from_its_folder_a_classifiers_or_a_checkpoint_of_either(tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec("mobilenet_v2", 32)
    classifier, images = Classifier(spec).eval(), torch.rand(2, 3, 32, 32) * 255
    encoder = Encoder(spec).eval()
    encoder.load_state_dict({name: classifier.state_dict()[name] for name in encoder.state_dict()})
    save_encoder(encoder, tmp_path / "encoder", "simclr")
    save_classifier(classifier, tmp_path / "classifier")
    for name, network in (("last.ckpt", encoder), ("best.ckpt", classifier)):
        torch.save({"spec": spec.to_dict(), "model": network.state_dict()}, tmp_path / name)
    for name in ("encoder", "classifier", "last.ckpt", "best.ckpt"):
        loaded = load_encoder(tmp_path / name)
        assert loaded.features == 1280 and not loaded.training
        with torch.inference_mode():
            assert torch.equal(loaded(images), encoder(images)), name


def test_an_encoder_of_which_a_tensor_is_missing_is_refused(tmp_path):
    save_encoder(Encoder(ModelSpec("mobilenet_v2", 32)), tmp_path, "simclr")
    state = load_file(tmp_path / ENCODER_WEIGHTS)
    del state["features.0.0.weight"]
    save_file(state, tmp_path / ENCODER_WEIGHTS)
    with pytest.raises(ModelError, match=r"do not fit mobilenet_v2: .*features\.0\.0\.weight"):
        load_encoder(tmp_path)
    with pytest.raises(ModelError, match="there is no model at"):
        load_encoder(tmp_path / "nowhere")


def test_a_model_with_another_order_of_expressions_is_refused(classifier, tmp_path):
    save_classifier(classifier, tmp_path)
    spec = json.loads((tmp_path / SPEC).read_text())
    (tmp_path / SPEC).write_text(json.dumps(spec | {"expressions": sorted(EXPRESSIONS)}))
    with pytest.raises(ModelError, match="orders its expressions as anger"):
        load_classifier(tmp_path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_is_refused_with_the_cure(classifier, tmp_path, version):
    save_classifier(classifier, tmp_path)
    spec = json.loads((tmp_path / SPEC).read_text()) | {"format": version}
    (tmp_path / SPEC).write_text(json.dumps(spec))
    torch.save({"spec": spec, "model": classifier.state_dict()}, tmp_path / "best.ckpt")
    for path in (tmp_path, tmp_path / "best.ckpt"):
        with pytest.raises(ModelError, match="written by another version of fer: train the model again"):
            load_classifier(path)


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
        "crop_size", "training_images", "pretraining_images", "format",
    }  # fmt: skip
    spec, state = read_folder(tmp_path)
    assert spec == encoder.spec
    assert all(torch.equal(state[name], tensor) for name, tensor in encoder.backbone.state_dict().items())


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_a_damaged_description_is_named(tmp_path, text):
    save_encoder(Encoder(ModelSpec("resnet18", 32)), tmp_path, "swav")
    (tmp_path / ENCODER_SPEC).write_text(text)
    with pytest.raises(ModelError, match=f"{ENCODER_SPEC} is damaged"):
        read_folder(tmp_path)


STATE = {"model.conv1.weight": torch.arange(6.0).reshape(2, 3), "model.bn1.bias": torch.ones(2)}
FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old form"])


@FORMS
def test_a_lightning_checkpoint_of_2020_gives_its_tensors_without_lightning(tmp_path, monkeypatch, zipped):
    with lightning_content(STATE) as content:
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    for name in ("pytorch_lightning", "pl_bolts"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it would fail
    content = read_file(tmp_path / "w.ckpt")
    state = tensors_of(content, tmp_path / "w.ckpt")
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in STATE.items())
    assert type(content["hyper_parameters"]) is OrderedDict
    assert content["hyper_parameters"]["gpus"] == 1
    assert not vars(content["hyper_parameters"]["arguments"])


def test_todays_lightning_uses_the_same_names(tmp_path):
    parsing = pytest.importorskip("pytorch_lightning.utilities.parsing")
    from pytorch_lightning.callbacks import ModelCheckpoint

    content = {
        "state_dict": STATE,
        "hyper_parameters": parsing.AttributeDict(lr=0.1),
        "callbacks": {ModelCheckpoint: 1},
    }
    torch.save(content, tmp_path / "w.ckpt")
    assert read_file(tmp_path / "w.ckpt")["hyper_parameters"] == {"lr": 0.1}


@FORMS
def test_whatever_else_a_file_refers_to_is_refused_by_name(tmp_path, zipped):
    with pretending("somebody.nets.Net") as made:
        content = {"state_dict": STATE, "net": made["Net"]()}
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"refers to somebody\.nets\.Net, and only"):
        read_file(tmp_path / "w.ckpt")


class Harm:
    def __init__(self, sign: str) -> None:
        self.sign = sign

    def __reduce__(self):
        return (os.mkdir, (self.sign,))


@FORMS
def test_a_call_in_a_file_is_refused_by_name_and_does_not_run(tmp_path, zipped):
    content = {"state_dict": STATE, "x": Harm(str(tmp_path / "done"))}
    torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"refers to posix\.mkdir"):
        read_file(tmp_path / "w.ckpt")
    assert not (tmp_path / "done").exists()


def test_stand_ins_hold_for_the_reading_only(tmp_path):
    with lightning_content(STATE) as content:
        torch.save(content, tmp_path / "w.ckpt")
    before = set(torch.serialization.get_safe_globals())
    read_file(tmp_path / "w.ckpt")
    assert set(torch.serialization.get_safe_globals()) == before


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    assert tensors_of(read_file(tmp_path / "w.safetensors"), tmp_path).keys() == STATE.keys()


@pytest.mark.parametrize("content", [b"", b"weights", b"<html>Sign in</html>"])
@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors"])
def test_what_is_no_weights_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is no weights file") as error:
        read_file(tmp_path / name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        read_file(tmp_path / "nowhere.pth")
