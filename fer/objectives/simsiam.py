"""SimSiam: each view predicts the other's projection, through which no gradient flows (Chen & He, 2021)."""

import torch.nn.functional as F
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.models.backbones import Encoder
from fer.objectives.features import encode_views, feature_std


class SimSiam(nn.Module):
    """One network with a projector, and a predictor of the other view's projection.

    Both views go through the same network. Only the gradient distinguishes them: none flows into the projection that is
    predicted. Without that stop, or without the predictor, all projections would become equal.

    Args:
        network: Maps images `(N, 3, H, W)` to features `(N, features)`.
        config: Gives `proj_hidden_dim`.
        proj_dim: Dimensions that are compared; the predictor's bottleneck has a quarter of them.
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
        from fer.models.bolts import mlp, simsiam_projector  # seconds to import

        self.network = network
        self.projector = simsiam_projector(
            network.features,
            config.proj_hidden_dim,
            proj_dim,
        )
        bottleneck = max(proj_dim // 4, 1)
        self.predictor = mlp(proj_dim, bottleneck, proj_dim)

    def forward(self, views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in [-1, 1], and `feature_std` of the projections: near 1 when healthy, 0 when collapsed.

        Args:
            views: Two batches `(N, 3, H, W)`, RGB in [0, 255]; row i of both shows image i.
        """
        assert len(views) == 2, "SimSiam compares two views"
        projections = self.projector(encode_views(self.network, views))
        predictions = self.predictor(projections)
        first, second = projections.float().chunk(2)
        to_second, to_first = predictions.float().chunk(2)
        loss = symmetric_loss(to_second, to_first, first, second)
        std = feature_std(projections.detach())
        return loss, {"projection_std": std}


def symmetric_loss(
    to_second: Tensor,
    to_first: Tensor,
    first: Tensor,
    second: Tensor,
) -> Tensor:
    """Return the negative mean cosine between predictions and the projections they aim at, in [-1, 1].

    Chen & He (2021), Exploring Simple Siamese Representation Learning, equation 4. No gradient reaches the projections.

    Args:
        to_second: `(N, d)` float32, predicted from the first view.
        to_first: Predicted from the second view.
        first: Projections of the first view.
        second: Projections of the second view.
    """
    forth = F.cosine_similarity(to_second, second.detach(), dim=1)
    back = F.cosine_similarity(to_first, first.detach(), dim=1)
    return -(forth.mean() + back.mean()) / 2
