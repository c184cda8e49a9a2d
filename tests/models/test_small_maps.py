import copy

import pytest
import torch
import torchvision
from torch import nn

from fer.models.small_maps import SmallMapConv2d, train_small_maps_fast


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
