"""Training throughput against a ceiling measured in the same run.

The ceiling is the same step on one batch that stays on the device, unchanged: whatever the data path costs shows as a
ratio below 1. What is compared is measured in turns, so that a machine that slows down slows all. On a CPU bf16 is
measured with torch's own convolutions too, without `fer.models.backbones`; in fp32 a frozen backbone too, as
`freeze=backbone` trains it.

    python benchmarks/throughput.py --arch resnet18 --image_size 64
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import repeat
from operator import truediv

import numpy as np
import torch
from torch import nn

from fer.data.augment import Augmentation
from fer.data.batches import Batch, TrainingBatches
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages, packed_side
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec, arch_options, train_small_maps_fast
from fer.objectives.classification import Classification
from fer.training.devices import make_fabric, pick_device
from fer.training.layers import set_backbone_learning

AUGMENTATION = Augmentation(flip=0.5, rotate=10, crop_min=0.75, jitter=0.2, erase=0.25)


def noise_batches(arguments: argparse.Namespace, device: torch.device) -> TrainingBatches:
    """Return batches of noise with the default augmentation, from arrays at the packed size."""
    count = arguments.batch_size * arguments.steps
    side = packed_side(arguments.packed, arguments.image_size)
    rows = tuple(
        ImageRow(f"{n}.png", EXPRESSIONS[n % 7], "train", "", "", "", "", 0, side, side, "", "") for n in range(count)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    images = PackedImages([(Manifest("noise", rows), pixels)], device)
    return TrainingBatches(
        images=images,
        indices=images.indices("train"),
        image_size=arguments.image_size,
        batch_size=arguments.batch_size,
        seed=0,
        augmentation=AUGMENTATION,
    )


class Trainer:
    """A network with its optimizer in one precision: as in training, with torch's own convolutions, or frozen."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        device: torch.device,
        bf16: bool,
        small_maps: bool = True,
        freeze: bool = False,
    ) -> None:
        spec = ModelSpec(arguments.arch, arguments.image_size, arch_options(arguments.arch, arguments.image_size))
        network = Classifier(spec).to(memory_format=torch.channels_last)
        if small_maps:
            train_small_maps_fast(network)
        self.device = device
        self.fabric = make_fabric(device, bf16)
        if freeze:
            set_backbone_learning(network, learns=False)
        objective: nn.Module = Classification(network)
        learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=1e-4)
        self.objective, self.optimizer = self.fabric.setup(objective, optimizer)

    def images_per_second(self, batches: Iterator[Batch]) -> float:
        """Return the median speed over the batches' steps."""
        seconds = []
        images = 0
        started = time.perf_counter()
        for batch in batches:
            loss, _ = self.objective(batch.images, batch.labels)
            self.fabric.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                # Kernels are only queued: without this the clock would stop before they have run.
                torch.cuda.synchronize()
            now = time.perf_counter()
            seconds.append(now - started)
            started = now
            images = len(batch)
        # The first two steps warm up.
        return images / statistics.median(seconds[2:])


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--packed", type=int, default=100, help="side of the packed pictures (RAF-DB: 100)")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12, help="steps of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    return parser.parse_args()


def main() -> None:
    """Measure and print one table."""
    arguments = parse_arguments()
    device = pick_device(arguments.device)
    batches = noise_batches(arguments, device)
    fixed = next(iter(batches.epoch(0)))
    trainers = {
        "fp32": Trainer(arguments, device, bf16=False),
        "bf16": Trainer(arguments, device, bf16=True),
        "fp32, frozen": Trainer(arguments, device, bf16=False, freeze=True),
    }
    if device.type == "cpu":
        trainers["bf16, torch's"] = Trainer(arguments, device, bf16=True, small_maps=False)
    ceilings: dict[str, list[float]] = {name: [] for name in trainers}
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for epoch in range(arguments.rounds):
        for name, trainer in trainers.items():
            ceilings[name].append(trainer.images_per_second(repeat(fixed, arguments.steps)))
            speeds[name].append(trainer.images_per_second(batches.epoch(epoch)))
    print(f"{arguments.arch} at {arguments.image_size} px, batch {arguments.batch_size}, {device}, images/s (median)")
    for name in trainers:
        ceiling = statistics.median(ceilings[name])
        speed = statistics.median(speeds[name])
        ratio = median_ratio(speeds[name], ceilings[name])
        print(f"{name:13} ceiling {ceiling:7.0f}  with data path {speed:7.0f}  ratio {ratio:.2f}")
    for name in trainers:
        if name != "bf16":
            print(f"bf16 / {name}: {median_ratio(speeds['bf16'], speeds[name]):.2f}")
    print(f"fp32, frozen / fp32: {median_ratio(speeds['fp32, frozen'], speeds['fp32']):.2f}")


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios round by round, which a machine that slows down does not change."""
    return statistics.median(map(truediv, numerators, denominators))


if __name__ == "__main__":
    main()
