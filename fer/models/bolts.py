"""Projection heads of lightning-bolts, without its warnings; no other module imports it.

Importing this module takes seconds, so whoever needs it does so when it builds something, never at its own import.
"""

import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

# Bolts and its pytorch-lightning warn of their own age, and change the process's filters so that they are heard: a
# filter would not stop them, so the warnings are caught and dropped. The filters are restored at the end.
with warnings.catch_warnings(record=True):
    from pl_bolts.models.self_supervised.byol.models import MLP
    from pl_bolts.models.self_supervised.simclr.simclr_module import Projection


def simclr_head(features: int, hidden: int, out: int) -> nn.Module:
    """Return SimCLR's head: linear, batch norm, ReLU, linear without bias, l2 norm (Chen et al., 2020).

    Args:
        features: Width of its input, `(N, features)`.
        hidden: Width in between.
        out: Width of its output, `(N, out)` with rows of length 1.
    """
    head: nn.Module = _quietly(lambda: Projection(features, hidden, out))
    return head


def mlp(features: int, hidden: int, out: int) -> nn.Module:
    """Return a head of two layers: linear, batch norm, ReLU, linear; `(N, features)` to `(N, out)`.

    It is SwAV's projector (Caron et al., 2020) and, with a narrow `hidden`, SimSiam's predictor (Chen & He, 2021).
    """
    head: nn.Module = _quietly(lambda: MLP(features, hidden, out))
    return head


def simsiam_projector(features: int, hidden: int, out: int) -> nn.Module:
    """Return SimSiam's projector: three linear layers, each with batch norm, the last without ReLU and affine part.

    Chen & He (2021), Exploring Simple Siamese Representation Learning, section 3; bolts' own SimSiam has two layers.
    """
    return nn.Sequential(
        mlp(features, hidden, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out, bias=False),
        nn.BatchNorm1d(out, affine=False),
    )


def _quietly(make: Callable[[], Any]) -> Any:
    # Bolts' constructors warn each time that they are under review.
    with warnings.catch_warnings(record=True):
        return make()
