import numpy as np
import pytest
import torch
from torch import Tensor

from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec, arch_options
from fer.prediction.explain import BASELINE_BLUR, blur, integrated_gradients, saliency_map

CPU = torch.device("cpu")
SIDE = 48
FEAR = EXPRESSIONS.index("fear")


def noise(seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def looks_at(rows: slice, columns: slice, sign: int = 1):
    """A network that says fear the louder the more its part of the picture varies, and looks at nothing else."""

    def network(images: Tensor) -> Tensor:
        part = images[:, :, rows, columns] / 255
        scores = torch.zeros(len(images), len(EXPRESSIONS))
        scores[:, FEAR] = sign * 20 * (part - part.mean((2, 3), keepdim=True)).square().mean((1, 2, 3))
        return scores

    return network


@pytest.mark.parametrize("top", [0, SIDE // 2])
@pytest.mark.parametrize("left", [0, SIDE // 2])
def test_the_map_points_at_the_only_part_that_decides(top: int, left: int) -> None:
    rows, columns = slice(top, top + SIDE // 2), slice(left, left + SIDE // 2)
    network = looks_at(rows, columns)
    inside = integrated_gradients(network, noise(1), "fear", CPU)[rows, columns].abs().sum()
    assert inside == pytest.approx(float(integrated_gradients(network, noise(1), "fear", CPU).abs().sum()), rel=1e-6)
    found = saliency_map(network, noise(1), "fear", CPU)
    assert found.shape == (SIDE, SIDE) and found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 1)
    assert found[rows, columns].sum() > 0.85 * found.sum()  # smoothing reaches over the border


def test_what_speaks_against_an_expression_is_not_shown() -> None:
    network = looks_at(slice(None), slice(0, SIDE // 2), sign=-1)
    assert integrated_gradients(network, noise(2), "fear", CPU).sum() < -0.1
    assert saliency_map(network, noise(2), "fear", CPU).sum() < saliency_map(network, noise(2), "anger", CPU).sum()


def test_the_attributions_sum_to_the_gain_over_the_blurred_face() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(8 * 15 * 15, 7)
    )

    def network(images: Tensor) -> Tensor:
        return smooth((images - 128) / 64)

    images = torch.from_numpy(noise(3)).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        gain = network(images).log_softmax(1) - network(blur(images, BASELINE_BLUR)).log_softmax(1)
    found = integrated_gradients(network, noise(3), "fear", CPU)
    assert abs(float(gain[0, FEAR])) > 0.01
    assert float(found.sum()) == pytest.approx(float(gain[0, FEAR]), rel=1e-3)


def test_a_network_that_looks_at_nothing_gives_an_empty_map() -> None:
    found = saliency_map(lambda images: 0 * images.mean((2, 3)).repeat(1, 3)[:, :7], noise(4), "fear", CPU)
    assert found.shape == (SIDE, SIDE)
    assert not found.any()


@pytest.mark.parametrize(
    ("arch", "side", "loud"), [("squeezenet1_1", 32, 0.1), ("shufflenet_v2_x0_5", 33, 100.0), ("vit_b_16", 32, 0.1)]
)
def test_any_backbone_is_explained_at_any_size(
    arch: str, side: int, loud: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer.prediction.explain.STEPS", 2)
    torch.manual_seed(0)
    network = Classifier(ModelSpec(arch, side, arch_options(arch, side))).eval()
    head = [module for module in network.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)][-1]
    torch.manual_seed(0)
    torch.nn.init.normal_(head.weight, std=loud)  # untrained, some say next to nothing: no evidence at all
    found = saliency_map(network, noise(5, side), "happiness", CPU)
    assert found.shape == (side, side)
    assert np.isfinite(found).all() and found.min() >= 0
    assert found.max() == 1, "something speaks for any expression"


def test_gradients_of_the_weights_are_left_alone() -> None:
    torch.manual_seed(0)
    network = Classifier(ModelSpec("squeezenet1_1", 32)).eval()
    saliency_map(network, noise(6, 32), "happiness", CPU)
    assert all(weight.grad is None for weight in network.parameters())
