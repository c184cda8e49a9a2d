"""Small trainings that one process or two can run, to be compared."""

import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fer.config.training import PretrainConfig
from fer.objectives.classification import Classification, scale_weights
from fer.objectives.simclr import SimCLR
from fer.objectives.swav import SwAV
from fer.utils.distributed import all_gather, all_gather_with_grad, rank_rows

IMAGES, STEPS = 6, 5
TRAININGS = ("simclr", "swav", "swav-queue", "weighted", "weighted-smoothed")
LABELS = torch.tensor([3, 3, 3, 3, 1, 2])
"""The second process sees the rare classes, whose weights are the largest."""


SMALL = PretrainConfig(
    proj_hidden_dim=8, num_prototypes=4, temperature=0.1, epsilon=0.05, sinkhorn_iterations=3,
    queue_from_epoch=0, freeze_prototypes_epochs=0,
)  # fmt: skip
"""Heads of a few units; the steps of an epoch are given as 1, so that epochs are steps."""


class Tiny(nn.Module):
    """A network without batch norm, so that an image's features do not depend on its batch."""

    features = 16

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.calls: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(tuple(images.shape))
        return self.body((images - 128) / 64)


def project(objective: nn.Module, images: Tensor) -> Tensor:
    """Normalised projections `(N, proj_dim)` of images."""
    head = objective.projector if hasattr(objective, "projector") else objective.head
    return F.normalize(head(objective.network(images)).float(), dim=1)


def draw(seed: int, images: int = IMAGES, sizes: tuple[int, ...] = (8, 8)) -> list[Tensor]:
    """Views of random patterns, of the given sizes, in [0, 255]."""
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(images, 3, 3, 3, generator=generator)
    noise = [0.2 * torch.rand(images, 3, size, size, generator=generator) for size in sizes]
    return [255 * (0.8 * F.interpolate(pattern, size=n.shape[-2:], mode="bilinear") + n) for n in noise]


def make(name: str) -> nn.Module:
    """An objective with fixed weights. Its head's batch norm is that of evaluation, for the reason `Tiny` has none.

    The head is the plain layers inside bolts' class, so that the two processes need not import bolts.
    """
    torch.manual_seed(0)
    if name.startswith("weighted"):
        weights = scale_weights([1.0, 4.0, 9.0, 0.5, 1.0, 1.0, 1.0], torch.bincount(LABELS, minlength=7).tolist())
        smoothing = 0.1 if name == "weighted-smoothed" else 0.0
        return Classification(nn.Sequential(Tiny(), nn.Linear(16, 7)), weights, smoothing)
    if name == "simclr":
        objective: nn.Module = SimCLR(Tiny(), replace(SMALL, temperature=0.2), proj_dim=5, steps_per_epoch=1)
    else:
        queue_size = 2 * IMAGES if name == "swav-queue" else 0
        freeze = 1 if name == "swav-queue" else 0
        config = replace(SMALL, queue_size=queue_size, queue_from_epoch=1, freeze_prototypes_epochs=freeze)
        objective = SwAV(Tiny(), config, proj_dim=5, steps_per_epoch=1)
    objective.head = objective.head.model.eval()
    return objective


def trained(name: str, objective: nn.Module, rank: int = 0, world: int = 1) -> dict[str, object]:
    """Train on this rank's share of every batch; return losses, the last gradients and the state."""
    model = DistributedDataParallel(objective) if world > 1 else objective
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.3)
    each, losses = IMAGES // world, []
    for step in range(STEPS):
        views = draw(step, sizes=(8, 8, 6) if name.startswith("swav") else (8, 8))
        part = slice(rank * each, (rank + 1) * each)
        labelled = name.startswith("weighted")
        loss, _ = model(views[0][part], LABELS[part]) if labelled else model([view[part] for view in views])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    gradients = {key: value.grad for key, value in objective.named_parameters()}
    return {"losses": losses, "gradients": gradients, "state": objective.state_dict()}


def gather_case(rank: int) -> dict[str, Tensor]:
    """What gathering gives for rows that name their rank, and the gradient of a loss that differs by rank."""
    rows = (10.0 * rank + torch.arange(6.0).view(2, 3)).requires_grad_()
    joined = all_gather_with_grad(rows)
    (joined * rank_weights(rank)).sum().backward()
    plain = all_gather(rows)
    return {"joined": joined.detach(), "plain": plain, "own": rank_rows(plain, 2), "gradient": rows.grad}


def rank_weights(rank: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(rank))


def work(rank: int, folder: str) -> None:
    """Be one of two processes, and leave the results in the folder."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    address = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    stored = torch.load(Path(folder) / "objectives.pt", weights_only=False)
    results: dict[str, object] = {name: trained(name, objective, rank, 2) for name, objective in stored.items()}
    results["gathering"] = gather_case(rank)
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
