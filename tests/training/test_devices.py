import pytest
import torch

from fer.errors import ConfigError
from fer.models.backbones import Classifier, ModelSpec, arch_options
from fer.training import devices
from fer.training.devices import has_depthwise, strides_over_one_pixel, use_bf16

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    return Classifier(ModelSpec("resnet18", 16))


def test_what_is_asked_for_is_given(network):
    assert use_bf16("bf16", CPU, network, 32)
    assert not use_bf16("fp32", CPU, network, 16)


def test_auto_takes_bf16_where_it_is_faster_and_right(network, monkeypatch):
    monkeypatch.setattr(devices, "bf16_is_faster", lambda device, network: True)
    assert use_bf16("auto", CPU, network, 32)
    assert not use_bf16("auto", CPU, network, 16)
    assert use_bf16("auto", torch.device("cuda"), network, 16), "only CPUs compute it wrongly"


def test_wrong_gradients_are_refused_with_the_cure(network):
    with pytest.raises(ConfigError, match="give precision=fp32 or larger pictures"):
        use_bf16("bf16", CPU, network, 16)


def test_depthwise_convolutions_are_recognised():
    assert has_depthwise(Classifier(ModelSpec("mobilenet_v3_small", 32)))
    assert not has_depthwise(Classifier(ModelSpec("resnet18", 32)))


@pytest.mark.parametrize(
    ("arch", "side", "seen"), [("resnet18", 16, True), ("resnet18", 21, False), ("vit_b_16", 16, False)]
)
def test_a_stride_over_a_single_pixel_is_noticed(arch, side, seen):
    network = Classifier(ModelSpec(arch, side, arch_options(arch, side)))
    assert strides_over_one_pixel(network, side) is seen
    assert network.training
