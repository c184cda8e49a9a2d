import copy
import json

import pytest
import torch
import torchvision
from torch import nn

from fer.errors import ConfigError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import (
    Classifier,
    Encoder,
    ModelSpec,
    SmallMapConv2d,
    arch_options,
    classification_archs,
    head_names,
    train_small_maps_fast,
)

SMALL = {
    "resnet18": 32, "mobilenet_v3_small": 32, "squeezenet1_1": 32, "vit_b_16": 32, "googlenet": 64, "densenet121": 32,
    "efficientnet_b0": 32, "alexnet": 64, "shufflenet_v2_x0_5": 32, "swin_t": 32, "convnext_tiny": 32,
}  # fmt: skip


@pytest.mark.parametrize("arch", SMALL)
def test_any_classification_backbone_gives_seven_scores(arch):
    size = SMALL[arch]
    classifier = Classifier(ModelSpec(arch, size, arch_options(arch, size))).eval()
    with torch.inference_mode():
        assert classifier(torch.rand(2, 3, size, size) * 255).shape == (2, 7)
    assert {name.split(".")[-1] for name in head_names(classifier.backbone)} <= {"weight", "bias"}
    assert 1 <= len(head_names(classifier.backbone)) <= 2


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "vit_b_16", "densenet121", "convnext_tiny"])
def test_an_encoder_is_the_classifier_without_its_last_layer(arch):
    size = SMALL[arch]
    spec = ModelSpec(arch, size, arch_options(arch, size))
    classifier, encoder = Classifier(spec).eval(), Encoder(spec).eval()
    encoder.backbone.load_state_dict(classifier.backbone.state_dict(), strict=False)
    last = [part for part in classifier.backbone.modules() if isinstance(part, torch.nn.Linear)][-1]
    images = torch.rand(2, 3, size, size) * 255
    with torch.inference_mode():
        features = encoder(images)
        assert features.shape == (2, encoder.features)
        assert torch.allclose(last(features), classifier(images), atol=1e-5)


def test_an_arch_without_a_linear_head_has_no_encoder():
    with pytest.raises(ConfigError, match="squeezenet1_1 does not end in a linear layer"):
        Encoder(ModelSpec("squeezenet1_1", 32))


def test_every_classification_model_of_torchvision_is_offered():
    assert {"resnet50", "vit_b_16", "maxvit_t", "regnet_y_400mf"} <= set(classification_archs())
    assert not {"fcn_resnet50", "fasterrcnn_resnet50_fpn", "raft_large"} & set(classification_archs())


def test_pixels_are_normalised_inside_the_model():
    spec = ModelSpec("resnet18", 32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    classifier = Classifier(spec).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        by_hand = (images - torch.tensor(spec.mean).view(1, 3, 1, 1)) / torch.tensor(spec.std).view(1, 3, 1, 1)
        torch.testing.assert_close(classifier(images * 255), classifier.backbone(by_hand), rtol=1e-4, atol=1e-4)


def test_unknown_archs_and_sizes_are_refused_with_the_cure():
    with pytest.raises(ConfigError, match="'resnet50'"):
        arch_options("resnet5O", 224)
    with pytest.raises(ConfigError, match="multiple of 16"):
        arch_options("vit_b_16", 100)


def test_a_specification_survives_json_and_refuses_another_order():
    spec = ModelSpec("resnet18", 64, trained_on=("raf",), terms=("research only",))
    assert ModelSpec.from_dict(spec.to_dict(), "here") == spec
    other = spec.to_dict() | {"expressions": list(reversed(EXPRESSIONS))}
    with pytest.raises(ModelError, match="orders its expressions"):
        ModelSpec.from_dict(other, "here")
    with pytest.raises(ModelError, match="here"):
        ModelSpec.from_dict({"layers": 3}, "here")


def test_a_specification_carries_prior_and_temperature():
    spec = ModelSpec("resnet18", 64, training_counts=(4,) * 7, training_prior=(1 / 7,) * 7, temperature=1.7)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict())), "here") == spec


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"temperature": float("nan")}, {"temperature": "hot"}, {"training_prior": [0.5, 0.5]},
     {"training_prior": [-1.0] * 7}, {"training_prior": [None] * 7}],
)  # fmt: skip
def test_a_temperature_or_prior_that_is_none_is_refused(wrong):
    with pytest.raises(ModelError, match="here"):
        ModelSpec.from_dict(ModelSpec("resnet18", 64).to_dict() | wrong, "here")


def test_an_unknown_framing_is_refused():
    with pytest.raises(ModelError, match="framing must be detect or none, not 'auto'"):
        ModelSpec.from_dict(ModelSpec("resnet18", 64, framing="auto").to_dict(), "here")


@pytest.mark.parametrize("crop_size", [-1, 65])
def test_faces_are_never_cut_larger_than_the_network_takes_them(crop_size):
    assert ModelSpec("resnet18", 64).crop_size == 64
    assert ModelSpec.from_dict(ModelSpec("resnet18", 64, crop_size=48).to_dict(), "here").crop_size == 48
    with pytest.raises(ModelError, match="crop_size must"):
        ModelSpec.from_dict(ModelSpec("resnet18", 64, crop_size=crop_size).to_dict(), "here")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def both(layer: nn.Conv2d) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return a layer and its fast copy."""
    fast = nn.Sequential(copy.deepcopy(layer))
    train_small_maps_fast(fast)
    assert type(fast[0]) is SmallMapConv2d
    return layer, fast[0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (2, 4), (5, 5), (6, 7)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0), (7, 2, 3), (5, 4, 2), ((3, 1), (2, 1), (1, 0))],
)
def test_output_and_gradients_are_those_of_a_convolution(kernel, stride, padding, size, bias):
    plain, fast = both(nn.Conv2d(5, 4, kernel, stride, padding, bias=bias).double())
    images = torch.randn(3, 5, *size, dtype=torch.float64)
    results = []
    for layer in (plain, fast):
        own = images.clone().requires_grad_()
        output = layer(own)
        output.sin().sum().backward()
        results.append([output, own.grad, *(parameter.grad for parameter in layer.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_testing_is_the_convolution_itself():
    plain, fast = both(nn.Conv2d(8, 8, 3, padding=1))
    images = torch.randn(4, 8, 2, 2)
    assert torch.equal(fast.eval()(images), plain(images))
    with torch.no_grad():
        assert torch.equal(fast.train()(images), plain(images))


def test_a_network_keeps_its_tensors_and_learns_the_same():
    plain = torchvision.models.resnet18(num_classes=7)
    fast = copy.deepcopy(plain)
    train_small_maps_fast(fast)
    assert list(fast.state_dict()) == list(plain.state_dict())
    images = torch.randn(8, 3, 64, 64)
    for network in (plain, fast):
        network(images).square().mean().backward()
    for (name, expected), found in zip(plain.named_parameters(), fast.parameters(), strict=True):
        difference = (found.grad - expected.grad).norm() / expected.grad.norm().clamp(min=1e-6)
        assert difference < 1e-3, name


def test_bf16_is_used_where_autocast_asks_for_it():
    plain, fast = both(nn.Conv2d(16, 16, 3, padding=1, bias=False))
    images = torch.randn(4, 16, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = plain(images), fast(images)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_left_alone(layer):
    network = nn.Sequential(layer)
    train_small_maps_fast(network)
    assert type(network[0]) is nn.Conv2d
