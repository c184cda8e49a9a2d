import numpy as np
import torch
from torch import nn

from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.evaluation.inference import outputs
from fer.expressions import EXPRESSIONS
from fer.training.devices import full_fp32


class Watching(nn.Module):
    """A network that notes in which precision it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.dtype, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((images.dtype, torch.backends.cudnn.allow_tf32))
        return images.mean((2, 3))


def packed(count: int) -> PackedImages:
    rows = tuple(
        ImageRow(f"{n}.png", EXPRESSIONS[n % 7], "test", "", "", "", "", 0, 8, 8, "", "") for n in range(count)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))


def test_networks_are_asked_in_full_fp32_in_the_order_of_the_images():
    network, images = Watching(), packed(7)
    indices = torch.tensor([5, 0, 3, 6, 1])
    found = outputs(network, images, indices, 8, batch_size=2)
    assert network.seen == [(torch.float32, False)] * 3
    for row, member in zip(found, indices.tolist(), strict=True):
        ((_, pixels),) = images.gather(torch.tensor([member]))
        torch.testing.assert_close(row, pixels[0].float().mean((1, 2)))


def test_what_training_may_round_is_as_before_afterwards():
    before = torch.backends.cudnn.allow_tf32
    try:
        with full_fp32():
            raise KeyError
    except KeyError:
        pass
    assert torch.backends.cudnn.allow_tf32 == before
