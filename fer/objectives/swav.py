"""SwAV: each view predicts to which prototypes the other views were assigned (Caron et al., 2020)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.models.backbones import Encoder
from fer.objectives.features import disabled_autocast, encode_views
from fer.utils.distributed import all_gather, rank_rows

LARGE_VIEWS = 2
"""How many views, the first ones, are large and give assignments."""


class SwAV(nn.Module):
    """The network, its projection head, the prototypes and a queue of earlier images.

    Args:
        network: Maps images `(N, 3, H, W)` to features `(N, features)`.
        config: Gives the width of the head, the number of prototypes, the temperature of the softmax over them, epsilon
            and iterations of Sinkhorn's algorithm, the epochs in which the prototypes stay as drawn, the queue's size
            over all processes, and the epochs before it is used; then also it must be full.
        proj_dim: Dimensions of embeddings and prototypes.
        steps_per_epoch: Turns those epochs into steps.
    """

    steps: Tensor
    queue: Tensor | None

    def __init__(
        self,
        network: Encoder,
        config: PretrainConfig,
        proj_dim: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        from fer.models.bolts import mlp  # seconds to import

        self.network = network
        self.head = mlp(network.features, config.proj_hidden_dim, proj_dim)
        self.prototypes = nn.Linear(proj_dim, config.num_prototypes, bias=False)
        self.config = config
        self.freeze_steps = config.freeze_prototypes_epochs * steps_per_epoch
        self.queue_from_step = config.queue_from_epoch * steps_per_epoch
        # Both are part of a checkpoint, so that a resumed training goes on exactly.
        self.register_buffer("steps", torch.tensor(0))
        queue = None
        if config.queue_size:
            queue = torch.zeros(LARGE_VIEWS, config.queue_size, proj_dim)
        self.register_buffer("queue", queue)

    def forward(self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and two figures of the assignments.

        `prototypes_used` is the fraction of prototypes that are some image's first choice. `assignment_entropy` is the
        mean over images, 0 when each has one prototype and 1 when it has all alike.

        Args:
            views: Batches `(N, 3, H, W)`, RGB in [0, 255], the two large ones first; row i of all shows image i.
        """
        assert len(views) > 1, "SwAV swaps the assignments of two views"
        if self.training:
            self.steps += 1
        projections = self.head(encode_views(self.network, views))
        rows = F.normalize(projections.float(), dim=1)
        embeddings = rows.view(len(views), -1, rows.shape[1])
        with disabled_autocast(embeddings):
            scores = embeddings @ self._unit_prototypes().T
            assignments = self._assign(embeddings[:LARGE_VIEWS].detach())
            loss = swapped_loss(scores, assignments, self.config.temperature)
        return loss, _assignment_figures(assignments)

    def _unit_prototypes(self) -> Tensor:
        """Scale the prototypes to length 1 in place and return them, without a gradient while they are frozen."""
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
        # Images first, because processes are joined along the first dimension.
        images_first = all_gather(embeddings.transpose(0, 1))
        everyone = images_first.transpose(0, 1)
        count = embeddings.shape[1]
        total = everyone.shape[1]
        rows = everyone
        if self.queue is not None:
            # Embeddings have length 1, so only rows that were never filled are zero.
            is_due = int(self.steps) > self.queue_from_step
            if is_due and self.queue[0, -1].any():
                rows = torch.cat([self.queue, everyone], dim=1)
            if self.training:
                size = self.queue.shape[1]
                newest_first = torch.cat([everyone, self.queue], dim=1)
                self.queue.copy_(newest_first[:, :size])
        scores = rows @ self.prototypes.weight.T
        assignments = []
        for view in scores:
            balanced = sinkhorn(
                view,
                self.config.epsilon,
                self.config.sinkhorn_iterations,
            )
            # Only this batch's rows, the last ones, and of them only this process's.
            assignments.append(rank_rows(balanced[-total:], count))
        return torch.stack(assignments)


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return soft assignments of rows to prototypes that use all prototypes alike.

    Sinkhorn and Knopp's algorithm on exp(scores / epsilon), ending with the rows: Caron et al. (2020), Unsupervised
    Learning of Visual Features by Contrasting Cluster Assignments, section 3.1.

    Args:
        scores: `(B, K)`, of any floating type.
        epsilon: Positive; smaller ones give sharper assignments.
        iterations: How often columns and rows are scaled.

    Returns:
        `(B, K)` float32, rows summing to 1, columns to about B / K.
    """
    # On logarithms in float32 no exponential can overflow and no column can vanish, however small epsilon is.
    logarithms = scores.float() / epsilon
    for _ in range(iterations):
        columns = logarithms.logsumexp(dim=0, keepdim=True)
        logarithms = logarithms - columns
        rows = logarithms.logsumexp(dim=1, keepdim=True)
        logarithms = logarithms - rows
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
    terms = []
    for large, targets in enumerate(assignments):
        for view, predictions in enumerate(logarithms):
            if view != large:
                cross_entropy = -(targets * predictions).sum(dim=1)
                terms.append(cross_entropy.mean())
    return torch.stack(terms).mean()


def _assignment_figures(assignments: Tensor) -> dict[str, Tensor]:
    prototypes = assignments.shape[-1]
    first_choices = assignments.argmax(-1).flatten()
    used = torch.zeros(prototypes, device=assignments.device)
    used = used.scatter(0, first_choices, 1.0)
    entropy = torch.special.entr(assignments).sum(-1).mean()
    return {
        "prototypes_used": used.mean(),
        "assignment_entropy": entropy / math.log(prototypes),
    }
