import hashlib
import pickle
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fer.errors import ConfigError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models import initial_weights
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD, MODEL_FORMAT, Classifier, Encoder, ModelSpec
from fer.models.catalogue import CATALOGUE
from fer.models.files import save_classifier, save_encoder
from fer.models.initial_weights import (
    InitialWeights,
    check_init,
    load_initial_weights,
    resolve_init,
    weights_from_folder,
)
from tests.models.old_files import save_as_published

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


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(1)
    spec = ModelSpec("resnet18", 32, mean=(0.5, 0.5, 0.5), trained_on=("ferplus",), terms=("research only", "MIT"))
    return Encoder(spec)


def start_from(model: Classifier | Encoder, init: object) -> initial_weights.LoadReport:
    return load_initial_weights(model, resolve_init(str(init), model.spec.arch))


@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "network.backbone.", "model.", "encoder.", "online_network.encoder."]
)
@pytest.mark.parametrize("under", [None, "state_dict", "model"])
def test_a_local_file_loads_under_usual_names_all_but_the_head(classifier, donor, tmp_path, prefix, under):
    state = {prefix + name: tensor for name, tensor in donor.items()}
    torch.save({under: state, "epoch": 3} if under else state, tmp_path / "w.pth")
    head = classifier.backbone.fc.weight.clone()
    report = start_from(classifier, tmp_path / "w.pth")
    assert (report.matched, report.missing, report.unexpected) == (TENSORS - 2, ("fc.weight", "fc.bias"), ())
    assert torch.equal(classifier.backbone.layer4[1].conv2.weight, donor["layer4.1.conv2.weight"])
    assert torch.equal(classifier.backbone.fc.weight, head)


def test_an_encoder_has_no_head_to_miss(encoder, donor, tmp_path):
    torch.save(donor, tmp_path / "w.pth")
    report = start_from(encoder, tmp_path / "w.pth")
    assert (report.matched, report.missing, report.unexpected) == (TENSORS - 2, (), ("fc.weight", "fc.bias"))
    assert "0 missing, 2 unexpected" in str(report)


def test_safetensors_load_too(classifier, donor, tmp_path):
    save_file(donor, tmp_path / "w.safetensors")
    assert start_from(classifier, tmp_path / "w.safetensors").matched == TENSORS - 2


def test_a_file_says_what_had_no_place(classifier, donor, tmp_path):
    torch.save(donor | {"projector.weight": torch.zeros(3)}, tmp_path / "w.pth")
    report = start_from(classifier, tmp_path / "w.pth")
    assert report.unexpected == ("projector.weight",)
    assert "1 unexpected" in str(report)


def test_a_foreign_head_of_seven_classes_starts_fresh_and_ones_own_does_not(classifier, tmp_path):
    theirs = Classifier(ModelSpec("resnet18", 32, mean=(0.5, 0.5, 0.5)))
    fresh = classifier.backbone.fc.weight.clone()
    torch.save(theirs.backbone.state_dict(), tmp_path / "w.pth")
    report = start_from(classifier, tmp_path / "w.pth")
    assert torch.equal(classifier.backbone.fc.weight, fresh)
    assert report.missing == ("fc.weight", "fc.bias")
    assert "nothing says which of its outputs is which expression" in str(report)
    torch.save({"spec": theirs.spec.to_dict(), "model": theirs.state_dict()}, tmp_path / "best.ckpt")
    report = start_from(classifier, tmp_path / "best.ckpt")
    assert torch.equal(classifier.backbone.fc.weight, theirs.backbone.fc.weight)
    assert (report.missing, report.notes) == ((), ())


@pytest.mark.parametrize(("network", "average"), [("model", "model_ema"), ("state_dict", "state_dict_ema")])
def test_a_moving_average_beside_the_network_is_named(classifier, donor, tmp_path, network, average):
    follows = {name: torch.zeros_like(tensor) for name, tensor in donor.items()}
    torch.save({network: donor, average: follows, "optimizer": {"state": {}}}, tmp_path / "w.pth")
    report = start_from(classifier, tmp_path / "w.pth")
    assert torch.equal(classifier.backbone.conv1.weight, donor["conv1.weight"])
    assert f"not taken: the moving average in {average};" in str(report)


def test_a_file_that_does_not_say_how_pixels_were_normalised_is_said_to(classifier, donor, tmp_path):
    torch.save(donor, tmp_path / "w.pth")
    assert start_from(classifier, tmp_path / "w.pth").notes == (initial_weights.UNKNOWN_PIXELS,)


@pytest.mark.parametrize("content", [{"a": torch.zeros(2)}, {"epoch": 3}, [1, 2], None], ids=str)
def test_a_file_that_matches_nothing_is_refused(classifier, tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth"):
        start_from(classifier, tmp_path / "w.pth")


def test_another_architecture_is_refused(classifier, tmp_path):
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds weights of resnet50, not of resnet18: give arch=resnet50"):
        start_from(classifier, tmp_path / "w.pth")


def test_weights_of_another_expression_order_are_refused(classifier, donor, tmp_path):
    content = {"model": donor, "spec": {"format": MODEL_FORMAT, "expressions": list(EXPRESSIONS[::-1])}}
    torch.save(content, tmp_path / "w.ckpt")
    with pytest.raises(ModelError, match="orders its expressions"):
        start_from(classifier, tmp_path / "w.ckpt")


class Harm:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_in_a_file_does_not_run(classifier, tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Harm(), protocol=2))
    torch.save({"x": Harm()}, tmp_path / "v.pth")
    for name in ("w.pth", "v.pth"):
        with pytest.raises(ModelError, match=r"no weights file.*print"):
            start_from(classifier, tmp_path / name)
    assert "code ran" not in capsys.readouterr().out


def test_from_scratch_nothing_changes(classifier):
    before = classifier.backbone.conv1.weight.clone()
    report = start_from(classifier, "scratch")
    assert (report.matched, str(report)) == (0, "weights: scratch")
    assert torch.equal(classifier.backbone.conv1.weight, before)


def test_a_training_checkpoint_brings_its_past(classifier, encoder, tmp_path):
    torch.save({"spec": encoder.spec.to_dict(), "model": encoder.state_dict()}, tmp_path / "best.ckpt")
    start = resolve_init(str(tmp_path / "best.ckpt"), "resnet18")
    assert (start.trained_on, start.terms, start.mean) == (("ferplus",), "research only; MIT", (0.5, 0.5, 0.5))
    assert load_initial_weights(classifier, start).matched == TENSORS - 2


# The catalogue


@pytest.fixture
def served_entry(served, donor, tmp_path, monkeypatch):
    """Put a small file in an entry's real form on a server, and the entry in the catalogue's place."""

    def serve(name: str, sha256: str = ""):
        save_as_published(name, donor, tmp_path / "made")
        served.content = (tmp_path / "made").read_bytes()
        entry = replace(CATALOGUE[name], arch="resnet18", address=served.address, sha256=sha256)
        monkeypatch.setitem(CATALOGUE, name, entry)
        return entry

    return serve


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_entry_is_downloaded_once_and_its_backbone_loads(served_entry, served, cached, classifier, donor, name):
    entry = served_entry(name)
    for _ in range(2):
        start = resolve_init(name, "resnet18")
        report = load_initial_weights(classifier, start)
        assert (report.matched, report.missing) == (TENSORS - 2, ("fc.weight", "fc.bias"))
        for key, tensor in classifier.backbone.state_dict().items():
            assert key.startswith("fc.") or torch.equal(tensor, donor[key])
    assert len(served.asked) == 1
    assert entry.path.is_file()
    assert (start.mean, start.std) == (entry.mean, entry.std)
    assert name in start.origin
    assert entry.terms in start.terms
    assert start.trained_on == (), "no entry was made with a data set of this project"


@pytest.mark.parametrize("name", ["simsiam-faces", "simclr-faces", "swav-imagenet", "faces-flickr", "simsiam-imagenet"])
def test_such_a_file_loads_from_anywhere_by_its_path(classifier, donor, tmp_path, name):
    save_as_published(name, donor, tmp_path / "copy.ckpt")
    assert start_from(classifier, tmp_path / "copy.ckpt").matched == TENSORS - 2
    assert torch.equal(classifier.backbone.conv1.weight, donor["conv1.weight"])


def test_what_an_entrys_heads_leave_over_is_reported(served_entry, cached, classifier):
    served_entry("swav-imagenet")
    report = start_from(classifier, "swav-imagenet")
    assert {"model.projection_head.0.weight", "model.prototypes.weight"} <= set(report.unexpected)


def test_an_entry_of_another_architecture_is_refused_before_any_download(served_entry, served, cached):
    served_entry("simclr-imagenet")
    with pytest.raises(ModelError, match="simclr-imagenet holds weights of resnet18, not of resnet50: give arch="):
        resolve_init("simclr-imagenet", "resnet50")
    assert served.asked == []


def test_an_entry_put_in_the_cache_by_hand_is_verified(served_entry, served, cached, donor):
    entry = served_entry("simclr-faces", sha256="0" * 64)
    entry.path.write_bytes(served.content)
    with pytest.raises(ModelError, match="sha256"):
        resolve_init("simclr-faces", "resnet18")
    served_entry("simclr-faces", sha256=hashlib.sha256(served.content).hexdigest())
    entry.path.write_bytes(served.content)
    assert resolve_init("simclr-faces", "resnet18").state
    assert served.asked == []


# torchvision's


@pytest.fixture
def torchvisions(monkeypatch):
    """Make torchvision believe that its ResNet-18 weights are at an address."""

    def believe(address: str) -> None:
        real = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        initial_weights = SimpleNamespace(url=address, transforms=real.transforms, meta=real.meta)
        choices = SimpleNamespace(IMAGENET1K_V1=initial_weights, DEFAULT=initial_weights)
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda arch: choices)

    return believe


def test_imagenet_weights_are_downloaded_verified_and_kept(classifier, donor, served, cached, torchvisions, tmp_path):
    torch.save(donor, tmp_path / "made")
    served.content = (tmp_path / "made").read_bytes()
    file = f"resnet18-{hashlib.sha256(served.content).hexdigest()[:8]}.pth"
    torchvisions(served.address.replace("file.pth", file))
    for _ in range(2):
        start = resolve_init("supervised-imagenet", "resnet18")
        assert load_initial_weights(classifier, start).matched == TENSORS - 2
    assert len(served.asked) == 1
    assert (cached / file).is_file()
    assert "research" in start.terms
    assert (start.mean, start.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_imagenet_weights_that_are_damaged_are_refused(served, cached, torchvisions):
    served.content = b"damaged"
    torchvisions(served.address.replace("file.pth", "resnet18-f37072fd.pth"))
    with pytest.raises(ModelError, match="not f37072fd"):
        resolve_init("supervised-imagenet", "resnet18")
    assert not (cached / "resnet18-f37072fd.pth").exists()


def test_without_network_the_file_and_its_place_are_named(cached, torchvisions):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        torchvisions(f"http://127.0.0.1:{free.getsockname()[1]}/resnet18-f37072fd.pth")
        with pytest.raises(ModelError, match=r"put http://.*resnet18.*scratch") as error:
            resolve_init("supervised-imagenet", "resnet18")
    assert str(cached / "resnet18-f37072fd.pth") in str(error.value)


def test_every_architecture_has_imagenet_weights_with_a_place_and_pixels(cached):
    for arch in torchvision.models.list_models(module=torchvision.models):
        found, place = initial_weights.supervised_file(arch)
        assert place.parent == cached
        assert len(found.transforms().mean) == len(found.transforms().std) == 3


# Folders


@pytest.mark.parametrize("kind", [Classifier, Encoder])
def test_a_saved_encoder_is_a_start_for_both_kinds_of_model(encoder, tmp_path, kind):
    save_encoder(encoder, tmp_path / "deep" / "down", "simclr")
    start = weights_from_folder(tmp_path)
    assert (start.mean, start.std) == ((0.5, 0.5, 0.5), IMAGENET_STD)
    assert (start.terms, start.trained_on) == ("research only; MIT", ("ferplus",))
    model = kind(ModelSpec("resnet18", 64))
    assert load_initial_weights(model, start).matched == TENSORS - 2
    assert torch.equal(model.backbone.conv1.weight, encoder.backbone.conv1.weight)


def test_a_saved_classifier_gives_its_backbone(classifier, tmp_path):
    save_classifier(classifier, tmp_path)
    model = Encoder(ModelSpec("resnet18", 32))
    report = start_from(model, tmp_path)
    assert (report.matched, report.missing) == (TENSORS - 2, ())
    assert torch.equal(model.backbone.conv1.weight, classifier.backbone.conv1.weight)


def test_a_folder_of_another_architecture_is_refused_with_the_right_one(encoder, tmp_path):
    save_encoder(encoder, tmp_path, "swav")
    with pytest.raises(ModelError, match="holds weights of resnet18, not of squeezenet1_1: give arch=resnet18"):
        load_initial_weights(Classifier(ModelSpec("squeezenet1_1", 32)), weights_from_folder(tmp_path))


def test_a_folder_must_hold_one_model(classifier, encoder, tmp_path):
    with pytest.raises(ModelError, match=r"encoder\.safetensors"):
        weights_from_folder(tmp_path)
    save_classifier(classifier, tmp_path / "a")
    save_encoder(encoder, tmp_path / "b", "swav")
    with pytest.raises(ModelError, match="holds 2 models"):
        weights_from_folder(tmp_path)


# Names


@pytest.mark.parametrize("init", ["scratch", "simsiam-faces", "runs:/abc", "models:/fer@champion", "."])
def test_every_kind_of_starting_point_is_accepted(init):
    check_init(init)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("supervised-imagnet", "supervised-imagenet"), ("simclr-face", "simclr-faces"), ("scatch", "scratch")],
)
def test_an_unknown_starting_point_is_refused_with_the_nearest_name(written, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        check_init(written)
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        resolve_init(written, "resnet18")


def test_a_start_says_where_it_came_from(classifier, donor):
    report = load_initial_weights(classifier, InitialWeights("a friend", donor, terms="research only"))
    assert str(report).startswith("weights: a friend: 120 tensors matched, 2 missing (fc.weight, fc.bias)")
