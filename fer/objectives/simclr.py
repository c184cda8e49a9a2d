"""SimCLR: two views of an image attract, views of different images repel (Chen et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.models.backbones import Encoder
from fer.objectives.features import disabled_autocast, encode_views
from fer.utils.distributed import all_gather_with_grad, rank_offset


class SimCLR(nn.Module):
    """The network, its projection head and the contrastive loss over the global batch.

    Args:
        network: Maps images `(N, 3, H, W)` to features `(N, features)`.
        config: Gives `proj_hidden_dim` and `temperature`.
        proj_dim: Dimensions that are compared.
        steps_per_epoch: Not used.
    """

    def __init__(
        self,
        network: Encoder,
        config: PretrainConfig,
        proj_dim: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        from fer.models.bolts import simclr_head  # seconds to import

        self.network = network
        self.head = simclr_head(network.features, config.proj_hidden_dim, proj_dim)
        self.temperature = config.temperature

    def forward(self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the fraction of views whose nearest is their image's other view.

        Args:
            views: Two batches `(N, 3, H, W)`, RGB in [0, 255]; row i of both shows image i.
        """
        assert len(views) == 2, "SimCLR compares two views"
        projections = self.head(encode_views(self.network, views))
        # The head has normalised already, but under autocast with 8 bits.
        first, second = F.normalize(projections.float(), dim=1).chunk(2)
        loss, accuracy = nt_xent(first, second, self.temperature)
        return loss, {"contrastive_accuracy": accuracy}


def nt_xent(
    first: Tensor,
    second: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Return the normalised temperature-scaled cross-entropy and the fraction of views nearest to their partner.

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
        # Columns are all processes' first views, then their second ones.
        columns = everyone.transpose(0, 1).flatten(0, 1)
        cosines = torch.cat([first, second]) @ columns.T
        rows = torch.arange(count, device=first.device)
        indices = rank_offset(count) + rows
        own = torch.cat([indices, indices + total])
        partner = torch.cat([indices + total, indices])
        # A view is no candidate for itself.
        logits = cosines / temperature
        logits = logits.scatter(1, own[:, None], float("-inf"))
        loss = F.cross_entropy(logits, partner)
    nearest = logits.detach().argmax(1)
    return loss, (nearest == partner).float().mean()
