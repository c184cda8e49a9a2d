"""Choose the training images: a part of the labels, or equally many of each class."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from fer.expressions import EXPRESSIONS


def select_label_fraction(names: Sequence[str], labels: Tensor, indices: Tensor, fraction: float, seed: int) -> Tensor:
    """Choose a stratified part of the training images, as if only they had been labelled.

    Args:
        names: Name of every packed image, `(P,)`.
        labels: Class of every packed image, `(P,)`.
        indices: Images to choose among, `(N,)`.
        fraction: Part of each class, in (0, 1]; at least one image of a class that occurs.
        seed: Which part.

    Returns:
        The chosen indices, rising.
    """

    def rank(index: int) -> bytes:
        # By a hash of the name, so that the part is the same on every machine and a smaller one lies inside a larger.
        return hashlib.sha256(f"{seed}/{names[index]}".encode()).digest()

    kept: list[int] = []
    for label in range(len(EXPRESSIONS)):
        ranked = sorted(indices[labels[indices] == label].tolist(), key=rank)
        kept += ranked[: max(round(fraction * len(ranked)), 1)]
    return torch.tensor(sorted(kept), dtype=torch.int64)


def undersample(labels: Tensor, indices: Tensor, seed: int) -> Tensor:
    """Drop random images until every class that occurs has as many as the rarest.

    Args:
        labels: Class of every packed image, `(P,)`.
        indices: Images to choose among, `(N,)`.
        seed: Which ones stay.

    Returns:
        The indices that stay, rising.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = [indices[labels[indices] == label] for label in range(len(EXPRESSIONS))]
    fewest = min(len(group) for group in groups if len(group))
    kept = [group[torch.randperm(len(group), generator=generator)[:fewest]] for group in groups]
    return torch.cat(kept).sort().values
