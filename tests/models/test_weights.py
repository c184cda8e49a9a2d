import pickle
import urllib.error

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fer.errors import ConfigError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.weights import check_init, start_from

TENSORS = 122  # of a ResNet-18; 2 of them are the head


@pytest.fixture(scope="module")
def donor() -> dict[str, torch.Tensor]:
    """ResNet-18 for ImageNet's 1,000 classes."""
    torch.manual_seed(5)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(ModelSpec("resnet18", 32))


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "network.trunk."])
@pytest.mark.parametrize("under", [None, "state_dict", "model"])
def test_a_local_file_loads_under_usual_names_all_but_the_head(classifier, donor, tmp_path, prefix, under):
    state = {prefix + name: tensor for name, tensor in donor.items()}
    torch.save({under: state, "epoch": 3} if under else state, tmp_path / "w.pth")
    head = classifier.trunk.fc.weight.clone()
    report = start_from(classifier, str(tmp_path / "w.pth"))
    assert (report.matched, report.missing, report.unexpected) == (TENSORS - 2, ("fc.weight", "fc.bias"), ())
    assert torch.equal(classifier.trunk.layer4[1].conv2.weight, donor["layer4.1.conv2.weight"])
    assert torch.equal(classifier.trunk.fc.weight, head)


def test_safetensors_load_too(classifier, donor, tmp_path):
    save_file(donor, tmp_path / "w.safetensors")
    assert start_from(classifier, str(tmp_path / "w.safetensors")).matched == TENSORS - 2


def test_a_file_says_what_had_no_place(classifier, donor, tmp_path):
    torch.save(donor | {"projector.weight": torch.zeros(3)}, tmp_path / "w.pth")
    report = start_from(classifier, str(tmp_path / "w.pth"))
    assert report.unexpected == ("projector.weight",)
    assert "1 unexpected" in str(report)


@pytest.mark.parametrize("content", [{"a": torch.zeros(2)}, {"epoch": 3}, [1, 2], None], ids=str)
def test_a_file_that_matches_nothing_is_refused(classifier, tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth"):
        start_from(classifier, str(tmp_path / "w.pth"))


def test_another_architecture_is_refused(classifier, tmp_path):
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds no weights of resnet18"):
        start_from(classifier, str(tmp_path / "w.pth"))


def test_weights_of_another_expression_order_are_refused(classifier, donor, tmp_path):
    content = {"model": donor, "spec": {"expressions": list(EXPRESSIONS[::-1])}}
    torch.save(content, tmp_path / "w.ckpt")
    with pytest.raises(ModelError, match="orders its expressions"):
        start_from(classifier, str(tmp_path / "w.ckpt"))


class Harm:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_in_a_file_does_not_run(classifier, tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Harm(), protocol=2))
    torch.save({"x": Harm()}, tmp_path / "v.pth")
    for name in ("w.pth", "v.pth"):
        with pytest.raises(ModelError, match="no weights file"):
            start_from(classifier, str(tmp_path / name))
    assert "code ran" not in capsys.readouterr().out


def test_imagenet_weights_come_from_the_cache(classifier, donor, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    name = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    (tmp_path / "checkpoints").mkdir()
    torch.save(donor, tmp_path / "checkpoints" / name)
    report = start_from(classifier, "supervised-imagenet")
    assert report.matched == TENSORS - 2
    assert "research" in report.terms


def test_without_network_the_file_and_its_place_are_named(classifier, tmp_path, monkeypatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    before = classifier.trunk.conv1.weight.clone()
    with pytest.raises(ModelError, match=r"put https://.*resnet18.*scratch") as error:
        start_from(classifier, "supervised-imagenet")
    assert str(tmp_path / "checkpoints") in str(error.value)
    assert torch.equal(classifier.trunk.conv1.weight, before)


def test_an_unknown_starting_point_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'supervised-imagenet'"):
        check_init("supervised-imagnet")
