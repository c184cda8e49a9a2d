"""SimCLR: two views of an image attract, views of different images repel (Chen et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.models.backbones import Encoder
from fer.objectives.features import disabled_autocast, encode_views
from fer.utils.distributed import all_gather_with_grad, rank_offset


class SimCLR(nn.Module):
    """The network, its projection head and the contrastive loss over the global batch.

    Args:
        network: Maps images `(N, 3, H, W)` to features `(N, features)`.
        proj_hidden_dim: Width of the head.
        proj_dim: Dimensions that are compared.
        temperature: Of the softmax; smaller ones weigh near neighbours more.
    """

    def __init__(self, network: Encoder, proj_hidden_dim: int, proj_dim: int, temperature: float) -> None:
        super().__init__()
        from fer.models.bolts import simclr_head  # seconds to import

        self.network = network
        self.head = simclr_head(network.features, proj_hidden_dim, proj_dim)
        self.temperature = temperature

    def forward(self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and how often an image's other view is the nearest of all.

        Args:
            views: Two batches `(N, 3, H, W)`, RGB in [0, 255]; row i of both shows image i.
        """
        assert len(views) == 2, "SimCLR compares two views"
        first, second = self._projected(encode_views(self.network, views)).chunk(2)
        loss, accuracy = nt_xent(first, second, self.temperature)
        return loss, {"contrastive_accuracy": accuracy}

    def project(self, images: Tensor) -> Tensor:
        """Return normalised projections `(N, proj_dim)` of images `(N, 3, H, W)`."""
        return self._projected(self.network(images))

    def _projected(self, features: Tensor) -> Tensor:
        # The head has normalised already, but under autocast with 8 bits.
        return F.normalize(self.head(features).float(), dim=1)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the normalised temperature-scaled cross-entropy and the share of pairs that find each other.

    For each of the 2N views the other view of its image is to be told from the 2N - 2 views of other images: Chen et
    al. (2020), A Simple Framework for Contrastive Learning of Visual Representations, equation 1. N counts the images
    of all processes; the loss is the mean over this process's own views.

    Args:
        first: `(n, d)` float32, rows of length 1.
        second: Likewise, row i of the same image.
        temperature: Divides the cosines.
    """
    count = len(first)
    # One exchange for both views, so that the processes meet once forward and once backward.
    everyone = all_gather_with_grad(torch.stack([first, second], dim=1))
    total = len(everyone)
    with disabled_autocast(first):
        cosines = torch.cat([first, second]) @ everyone.transpose(0, 1).flatten(0, 1).T
        places = rank_offset(count) + torch.arange(count, device=first.device)
        own, partner = torch.cat([places, places + total]), torch.cat([places + total, places])
        logits = (cosines / temperature).scatter(1, own[:, None], float("-inf"))
        loss = F.cross_entropy(logits, partner)
    return loss, (logits.detach().argmax(1) == partner).float().mean()
