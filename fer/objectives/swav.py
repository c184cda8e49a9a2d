"""SwAV: each view predicts to which prototypes the other views were assigned (Caron et al., 2020)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.models.backbones import Encoder
from fer.objectives.features import disabled_autocast, encode_views
from fer.utils.distributed import all_gather, rank_rows

LARGE = 2
"""How many views, the first ones, are large and give assignments."""


class SwAV(nn.Module):
    """The network, its projection head, the prototypes and a queue of earlier images.

    Args:
        network: Maps images `(N, 3, H, W)` to features `(N, features)`.
        proj_hidden_dim: Width of the head.
        proj_dim: Dimensions of embeddings and prototypes.
        num_prototypes: How many there are.
        temperature: Of the softmax over prototypes that predicts.
        epsilon: Entropy of the assignments; smaller ones are sharper.
        iterations: Of Sinkhorn's algorithm.
        freeze_steps: Training steps in which the prototypes stay as drawn.
        queue_size: Earlier images, of all processes, that join each assignment; 0 for none.
        queue_from_step: Training steps before the queue is used; then also it must be full.
    """

    steps: Tensor
    queue: Tensor | None

    def __init__(
        self,
        network: Encoder,
        proj_hidden_dim: int,
        proj_dim: int,
        num_prototypes: int,
        temperature: float,
        epsilon: float,
        iterations: int,
        freeze_steps: int = 0,
        queue_size: int = 0,
        queue_from_step: int = 0,
    ) -> None:
        super().__init__()
        from fer.models.bolts import mlp  # seconds to import

        self.network = network
        self.head = mlp(network.features, proj_hidden_dim, proj_dim)
        self.prototypes = nn.Linear(proj_dim, num_prototypes, bias=False)
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.freeze_steps, self.queue_from_step = freeze_steps, queue_from_step
        # Both are part of a checkpoint, so that a resumed training goes on exactly.
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("queue", torch.zeros(LARGE, queue_size, proj_dim) if queue_size else None)

    def forward(self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and what the assignments look like.

        `prototypes_used` is the share of prototypes that are some image's first choice. `assignment_entropy` is the
        mean over images, 0 when each has one prototype and 1 when it has all alike.

        Args:
            views: Batches `(N, 3, H, W)`, RGB in [0, 255], the two large ones first; row i of all shows image i.
        """
        assert len(views) > 1, "SwAV swaps the assignments of two views"
        if self.training:
            self.steps += 1
        rows = self._embedded(encode_views(self.network, views))
        embeddings = rows.view(len(views), -1, rows.shape[1])
        with disabled_autocast(embeddings):
            scores = embeddings @ self._unit_prototypes().T
            assignments = self._assign(embeddings[:LARGE].detach())
            loss = swapped_loss(scores, assignments, self.temperature)
        return loss, _describe(assignments)

    def project(self, images: Tensor) -> Tensor:
        """Return normalised projections `(N, proj_dim)` of images `(N, 3, H, W)`."""
        return self._embedded(self.network(images))

    def _embedded(self, features: Tensor) -> Tensor:
        return F.normalize(self.head(features).float(), dim=1)

    def _unit_prototypes(self) -> Tensor:
        """Scale the prototypes to length 1 in place and return them, without effect on them while they are frozen."""
        weight = self.prototypes.weight
        with torch.no_grad():
            weight.copy_(F.normalize(weight, dim=1))
        # Frozen ones get a gradient of zeros rather than none: DDP waits for every parameter's gradient. Weight decay
        # only shortens them, which the next step undoes.
        return torch.where(self.steps <= self.freeze_steps, weight.detach(), weight)

    @torch.no_grad()
    def _assign(self, embeddings: Tensor) -> Tensor:
        """Return the assignments `(2, N, K)` of this process's large views, balanced over all processes and the queue.

        Every process does the same computation on the same rows, so that the result is exactly that of one process.
        """
        everyone = all_gather(embeddings.transpose(0, 1)).transpose(0, 1)
        count, total = embeddings.shape[1], everyone.shape[1]
        rows = torch.cat([*self._due_queue(), everyone], dim=1)
        scores = rows @ self.prototypes.weight.T
        assigned = [sinkhorn(view, self.epsilon, self.iterations)[-total:] for view in scores]
        if self.queue is not None and self.training:
            self.queue.copy_(torch.cat([everyone, self.queue], dim=1)[:, : self.queue.shape[1]])
        return torch.stack([rank_rows(view, count) for view in assigned])

    def _due_queue(self) -> list[Tensor]:
        """Return the queue if it is due and full: embeddings have length 1, so only empty rows are zero."""
        if self.queue is None or int(self.steps) <= self.queue_from_step or not self.queue[0, -1].any():
            return []
        return [self.queue]


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return soft assignments of rows to prototypes that use all prototypes alike.

    Sinkhorn and Knopp's algorithm on exp(scores / epsilon), ending with the rows: Caron et al. (2020), Unsupervised
    Learning of Visual Features by Contrasting Cluster Assignments, section 3.1. It works on logarithms in float32, so
    that no exponential can overflow and no column can vanish, however small epsilon is.

    Args:
        scores: `(B, K)`, of any floating type.
        epsilon: Positive; smaller ones give sharper assignments.
        iterations: How often columns and rows are scaled.

    Returns:
        `(B, K)` float32, rows summing to 1, columns to about B / K.
    """
    logarithms = scores.float() / epsilon
    for _ in range(iterations):
        logarithms = logarithms - logarithms.logsumexp(dim=0, keepdim=True)
        logarithms = logarithms - logarithms.logsumexp(dim=1, keepdim=True)
    return logarithms.softmax(dim=1)


def swapped_loss(scores: Tensor, assignments: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy between each large view's assignments and every other view's softmax.

    Caron et al. (2020), equation 2, and section 3.2 for the small views, which predict and are not predicted.

    Args:
        scores: `(V, N, K)` float32, cosines of embeddings and prototypes, the large views first.
        assignments: `(2, N, K)`, rows summing to 1, without gradient.
        temperature: Divides the scores.
    """
    logarithms = F.log_softmax(scores / temperature, dim=2)
    pairs = [(large, view) for large in range(LARGE) for view in range(len(scores)) if view != large]
    terms = [-(assignments[large] * logarithms[view]).sum(dim=1).mean() for large, view in pairs]
    return torch.stack(terms).mean()


def _describe(assignments: Tensor) -> dict[str, Tensor]:
    prototypes = assignments.shape[-1]
    used = torch.zeros(prototypes, device=assignments.device).scatter(0, assignments.argmax(-1).flatten(), 1.0)
    entropy = torch.special.entr(assignments).sum(-1).mean() / math.log(prototypes)
    return {"prototypes_used": used.mean(), "assignment_entropy": entropy}
