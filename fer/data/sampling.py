"""Which training images are used: part of the labels, or equal numbers of each class."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from fer.expressions import EXPRESSIONS


def labelled_part(names: Sequence[str], labels: Tensor, members: Tensor, fraction: float, seed: int) -> Tensor:
    """Choose a stratified part of the training images, as if only they had been labelled.

    The choice ranks names by a hash, so it is the same on every machine, and a smaller part lies inside a larger one.

    Args:
        names: Name of every image in the pool, `(P,)`.
        labels: Class of every image in the pool, `(P,)`.
        members: Places to choose among, `(N,)`.
        fraction: Part of each class, in (0, 1]; at least one image of a class that occurs.
        seed: Which part.

    Returns:
        The chosen places in rising order.
    """
    kept: list[int] = []
    for code in range(len(EXPRESSIONS)):
        places: list[int] = members[labels[members] == code].tolist()
        ranked = sorted(places, key=lambda place: hashlib.sha256(f"{seed}/{names[place]}".encode()).digest())
        kept += ranked[: max(round(fraction * len(ranked)), 1)]
    return torch.tensor(sorted(kept), dtype=torch.int64)


def undersampled(labels: Tensor, members: Tensor, seed: int) -> Tensor:
    """Drop random members until every class that occurs has as many as the rarest.

    Args:
        labels: Class of every image in the pool, `(P,)`.
        members: Places to choose among, `(N,)`.
        seed: Which ones stay.

    Returns:
        The places that stay, in rising order.
    """
    generator = torch.Generator().manual_seed(seed)
    by_class = [members[labels[members] == code] for code in range(len(EXPRESSIONS))]
    fewest = min(len(group) for group in by_class if len(group))
    kept = [group[torch.randperm(len(group), generator=generator)[:fewest]] for group in by_class]
    return torch.cat(kept).sort().values
