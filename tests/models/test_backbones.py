import json

import pytest
import torch

from fer.errors import ConfigError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import (
    Classifier,
    Encoder,
    ModelSpec,
    arch_options,
    classification_archs,
    head_names,
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
