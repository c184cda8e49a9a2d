"""Every method learns: a small network, images that can be told apart, a few seconds."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.data.augment import Augmentation
from fer.data.batches import ViewBatches, ViewSpec, multi_crop
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.objectives.registry import METHODS

AUGMENTATION = Augmentation(flip=0.5, crop_min=0.5, jitter=0.2)
PROTOTYPES = 16


class Small(nn.Module):
    features = 64

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images / 255)


@pytest.fixture(scope="module")
def images() -> PackedImages:
    """Images of 4 x 4 coloured squares."""
    squares = np.random.default_rng(0).integers(0, 256, (256, 4, 4, 3), dtype=np.uint8)
    pixels = squares.repeat(8, axis=1).repeat(8, axis=2)
    rows = tuple(ImageRow(f"{n}.png", "fear", "train", "", "", "", "", 0, 32, 32, "", "") for n in range(256))
    return PackedImages([(Manifest("squares", rows), pixels)], torch.device("cpu"))


def learned(method: str, images: PackedImages, epochs: int) -> tuple[float, float, dict[str, float]]:
    """Train and return the mean loss of the first and the last epoch, and the last step's figures."""
    torch.manual_seed(0)
    config = PretrainConfig(method=method, proj_hidden_dim=128, proj_dim=32, num_prototypes=PROTOTYPES, epsilon=0.03)
    chosen = METHODS[method]
    specs = multi_crop(32, 2, AUGMENTATION) if chosen.multi_crop else (ViewSpec(2, 32, AUGMENTATION),)
    batches = ViewBatches(images=images, indices=images.indices("train"), specs=specs, batch_size=64, seed=0)
    objective = chosen.build(Small(), config, len(batches))
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3)
    losses = []
    for epoch in range(epochs):
        steps = []
        for batch in batches.epoch(epoch):
            loss, figures = objective(*batch.inputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.append(loss.item())
        losses.append(float(np.mean(steps)))
    return losses[0], losses[-1], {key: float(value) for key, value in figures.items()}


def test_simclr_comes_to_find_the_other_view(images):
    first, last, figures = learned("simclr", images, 13)
    assert last < 0.6 * first
    assert figures["contrastive_accuracy"] > 0.5


def test_simsiam_comes_to_predict_without_collapse(images):
    first, last, figures = learned("simsiam", images, 13)
    assert last < first - 0.2
    assert figures["projection_std"] > 0.9


def test_swav_comes_below_the_loss_of_knowing_nothing(images):
    _, last, figures = learned("swav", images, 13)
    assert last < math.log(PROTOTYPES) - 0.3
    assert figures["prototypes_used"] == 1
