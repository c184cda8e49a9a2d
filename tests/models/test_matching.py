"""Networks are found in files of all the namings that people have."""

import pytest
import torch
import torchvision

from fer.errors import ModelError
from fer.models.backbones import Classifier, Encoder, ModelSpec, classification_archs
from fer.models.initial_weights import InitialWeights, LoadReport, load_initial_weights, resolve_init
from fer.models.matching import USUAL_ARCHS, best_network, networks_of
from fer.models.weight_files import tensors_of

TRAINED, FOLLOWING = 1.0, 2.0
"""What the tensors of the wanted network are filled with, and those of one that follows it."""
BODY = 120
"""Tensors of a ResNet-18 without its head."""
PAIRS = {
    "MoCo": ("module.encoder_q.", "module.encoder_k."),
    "MoCo v3": ("module.base_encoder.", "module.momentum_encoder."),
    "BYOL of bolts": ("online_network.encoder.", "target_network.encoder."),
    "BYOL of OpenMMLab": ("online_net.0.", "target_net.0."),
    "solo-learn": ("backbone.", "momentum_backbone."),
    "lightly": ("backbone.", "backbone_momentum."),
    "lightly's DINO": ("teacher_backbone.", "student_backbone."),
    "timm": ("", "ema_model."),
    "student and average": ("student.", "student_ema."),
    "trained beside a teacher": ("backbone.", "teacher.backbone."),
    "never heard of": ("what.ever-comes.0.", "target.ever-comes.0."),
}


@pytest.fixture(scope="module")
def resnet() -> dict[str, torch.Tensor]:
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(ModelSpec("resnet18", 32))


def filled(state: dict[str, torch.Tensor], value: float, prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors without the head, under a prefix."""
    body = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    return {prefix + name: torch.full_like(tensor, value) for name, tensor in body.items()}


def load(model: Classifier | Encoder, state: dict[str, torch.Tensor]) -> LoadReport:
    return load_initial_weights(model, InitialWeights("file.pth", state))


def loaded_value(model: Classifier | Encoder) -> float:
    state = model.backbone.state_dict()
    (value,) = {float(state[name].unique()) for name in ("conv1.weight", "layer4.1.bn2.running_var")}
    return value


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("naming", PAIRS)
def test_the_trained_network_is_taken_and_not_its_average(classifier, resnet, naming, is_last):
    wanted, other = PAIRS[naming]
    parts = [filled(resnet, TRAINED, wanted), filled(resnet, FOLLOWING, other)]
    first, second = reversed(parts) if is_last else parts
    report = load(classifier, first | second | {"projector.weight": torch.zeros(2)})
    assert loaded_value(classifier) == TRAINED
    assert (report.prefix, report.matched, report.missing) == (wanted, BODY, ("fc.weight", "fc.bias"))
    assert len(report.unexpected) == BODY + 1
    assert f"not taken: {other.removesuffix('.')}" in str(report)
    if wanted:
        assert f"{BODY} tensors matched under {wanted.removesuffix('.')}, 2 missing (fc.weight, fc.bias)" in str(report)


@pytest.mark.parametrize("prefix", [other for _, other in PAIRS.values()])
def test_an_average_that_is_alone_is_taken(classifier, resnet, prefix):
    report = load(classifier, filled(resnet, FOLLOWING, prefix))
    assert (report.prefix, report.unexpected, report.notes) == (prefix, (), ())
    assert loaded_value(classifier) == FOLLOWING


def test_dinos_own_checkpoint_gives_its_teacher(classifier, resnet, tmp_path):
    content = {
        "student": filled(resnet, FOLLOWING, "module.backbone."),
        "teacher": filled(resnet, TRAINED, "backbone."),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 100,
    }
    torch.save(content, tmp_path / "checkpoint.pth")
    report = load_initial_weights(classifier, resolve_init(str(tmp_path / "checkpoint.pth"), "resnet18"))
    assert loaded_value(classifier) == TRAINED
    assert (report.prefix, report.notes[0]) == ("teacher.backbone.", "not taken: student.module.backbone")


@pytest.mark.parametrize("keys", [("net",), ("model_state_dict",), ("encoder",), ("a", "base_model", "trunk")])
def test_tensors_are_found_in_dicts_of_any_name(classifier, resnet, tmp_path, keys):
    content = filled(resnet, TRAINED, "block.")
    for key in reversed(keys):
        content = {key: content, "step": 3}
    report = load(classifier, tensors_of(content, tmp_path))
    assert (report.matched, report.prefix) == (BODY, ".".join([*keys, "block."]))


def test_a_dict_called_model_that_holds_settings_is_passed_over(classifier, resnet, tmp_path):
    state = tensors_of({"model": {"depth": 18}, "net": filled(resnet, TRAINED)}, tmp_path)
    assert load(classifier, state).prefix == "net."


def test_what_a_moving_average_keeps_beside_the_model_is_not_read(classifier, resnet, tmp_path):
    content = {"state_dict_ema": filled(resnet, FOLLOWING), "state_dict": filled(resnet, TRAINED)}
    report = load(classifier, tensors_of(content, tmp_path))
    assert (loaded_value(classifier), report.unexpected) == (TRAINED, ())


def test_of_two_networks_the_one_of_the_right_architecture_is_taken(classifier, resnet):
    deeper = torchvision.models.resnet34(weights=None).state_dict()
    report = load(classifier, filled(deeper, FOLLOWING, "net.") | filled(resnet, TRAINED, "momentum.net."))
    assert (report.prefix, report.notes) == ("momentum.net.", ())


ARCHS = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet50",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32",
)  # fmt: skip


@pytest.mark.parametrize("arch", ARCHS)
def test_every_family_is_found_with_its_head_and_without(arch):
    options = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}
    # What torchvision computes for RegNet's widths needs values.
    with torch.device("cpu" if arch.startswith("regnet") else "meta"):
        backbone = torchvision.models.get_model(arch, weights=None, num_classes=7, **options)
    whole = backbone.state_dict()
    head = [name for name, _ in backbone.named_children()][-1]
    bare = {name: tensor for name, tensor in whole.items() if not name.startswith(f"{head}.")}
    for state in (whole, bare):
        network = best_network(networks_of(backbone, {f"a.{name}": tensor for name, tensor in state.items()}))
        assert (network.prefix, network.fault, network.fitting) == ("a.", "", len(state))


@pytest.mark.parametrize("own", ["resnet18", "resnet50"])
@pytest.mark.parametrize("theirs", ["resnet34", "resnet101", "mobilenet_v2", "vit_b_32"])
def test_another_usual_architecture_is_refused_with_its_name(own, theirs):
    with torch.device("meta"):
        state = torchvision.models.get_model(theirs, weights=None).state_dict()
    sentence = rf"^file\.pth holds weights of {theirs}, not of {own}: give arch={theirs}$"
    with pytest.raises(ModelError, match=sentence):
        load(Classifier(ModelSpec(own, 32)), {f"module.{name}": tensor for name, tensor in state.items()})


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ("resnet152", r"it also has module\.layer2\.4\.conv1\.weight, for which there is no place"),
        ("wide_resnet50_2", r"module\.layer1\.0\.conv1\.weight has another shape \(128 x 64 x 1 x 1\)"),
        ("vgg11", r"none of its names \(the first is 'module\.features\.0\.weight'\)"),
    ],
)
def test_a_rare_one_is_refused_with_what_differs(theirs, reason):
    with torch.device("meta"):
        state = torchvision.models.get_model(theirs, weights=None).state_dict()
    with pytest.raises(ModelError, match=rf"^file\.pth holds no weights of resnet50: {reason}$"):
        load(Classifier(ModelSpec("resnet50", 32)), {f"module.{name}": tensor for name, tensor in state.items()})


@pytest.mark.parametrize(
    ("theirs", "own"),
    [("resnet50", "resnet101"), ("swin_t", "swin_s"), ("convnext_tiny", "convnext_small")],
)
def test_a_shallower_network_is_no_start_for_a_deeper_one_with_all_its_names(theirs, own):
    with torch.device("meta"):
        state = torchvision.models.get_model(theirs, weights=None).state_dict()
    with pytest.raises(ModelError, match=rf"^file\.pth holds weights of {theirs}, not of {own}: give arch={theirs}$"):
        load(Classifier(ModelSpec(own, 32)), state)


@pytest.mark.parametrize("lost", ["layer2.1.conv1.weight", "layer3.0.bn1.running_mean", "bn1.bias"])
def test_a_file_with_a_gap_is_refused(classifier, resnet, lost):
    state = {f"net.{name}": tensor for name, tensor in resnet.items() if name != lost}
    with pytest.raises(ModelError, match=rf"holds no weights of resnet18: it lacks net\.{lost} and 0 more tensors$"):
        load(classifier, state)


def test_counters_of_batch_norm_may_be_absent_as_in_old_files(classifier, resnet):
    state = {name: tensor for name, tensor in resnet.items() if not name.endswith("num_batches_tracked")}
    assert "fc.weight" in load(classifier, state).missing


def test_half_a_file_is_refused(classifier, resnet):
    half = {name: tensor for name, tensor in resnet.items() if not name.startswith("layer4")}
    with pytest.raises(ModelError, match=r"none of its names \(the first is 'conv1\.weight'\)"):
        load(classifier, half)


def test_architectures_compared_with_are_torchvisions():
    assert {*USUAL_ARCHS} <= {*classification_archs()}
