"""Where one picture stands inside another: normalised cross-correlation slid over places and sizes.

Grey pictures; a window's mean and contrast are divided out, so that neither brightness nor contrast matters. Lewis,
"Fast Normalized Cross-Correlation", 1995, gives the measure; the search goes from coarse to fine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor
from tqdm import tqdm

SMALL, LARGE = 16, 48
"""Sides in pixels at which windows are compared, first and finally."""
SHORTLIST = 0.86
"""Correlation at 16 px from which a pair is looked at closely; what copies reach is measured in the benchmark."""
FLAT = 1.0
"""Standard deviation in grey levels up to which a window shows nothing that could be known again."""
DIRECTIONS = 64
"""Principal directions of the contents in which pairs are told apart at first."""
ROUNDS = ((0.03, 1.0, 3, 0.8), (0.02, 0.75, 2, 0.9), (0.01, 0.4, 1, 0.92), (0.005, 0.2, 1, 0.0))
"""Steps of size (a share) and place (pixels at 48 px) by which a match is improved, every how many pixels it is then
compared, and what it must reach to go on."""
WINDOWS, CONTENTS, CLOSE = 1200, 1024, 64
"""How many windows and contents are compared at once (the products should fit a processor's cache), and how many pairs
are looked at closely at once."""
PATIENCE = 5
"""Seconds after which a bar shows how far the search is."""


@dataclass(frozen=True)
class Hit:
    """A pair whose pictures show the same.

    Attributes:
        container: Index of the picture that was searched.
        content: Index of the picture that was found in it.
        correlation: Theirs at 48 px, at the best place and size.
    """

    container: int
    content: int
    correlation: float


class Contents:
    """Pictures to be found in others.

    Args:
        small: `(N, 16, 16)`, grey in [0, 255].
        large: `(N, 48, 48)`, likewise.
    """

    def __init__(self, small: Tensor, large: Tensor) -> None:
        self.large = large
        self.units = unit(small.float().flatten(1))
        _, directions = torch.linalg.eigh(self.units.T @ self.units)
        self.directions = directions[:, -DIRECTIONS:]
        self.short = self.shortened(self.units)

    def shortened(self, units: Tensor) -> Tensor:
        """Return `(..., 65)` for `(..., 256)`: the principal directions, and the length of what they leave out.

        By Cauchy and Schwarz the product of two of them is never less than that of the vectors themselves, so a pair
        it rejects is no match, at a quarter of the work.
        """
        kept = units @ self.directions
        rest = (units.square().sum(-1) - kept.square().sum(-1)).clamp(min=0).sqrt()
        return torch.cat([kept, rest.unsqueeze(-1)], -1)


def unit(windows: Tensor) -> Tensor:
    """Return windows `(..., P)` with their mean taken away and length 1; flat ones are 0 and so match nothing."""
    centred = windows - windows.mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    return torch.where(length > FLAT * windows.shape[-1] ** 0.5, centred / length.clamp(min=1e-6), 0)


def search(containers: Tensor, contents: Contents, sides: Sequence[int], threshold: float) -> Iterator[Hit]:
    """Find contents in containers.

    Args:
        containers: `(N, H, W)`, grey in [0, 255].
        contents: What to find.
        sides: Sides to which a container's shorter one is brought while a content has 16 pixels: 16 compares wholes,
            32 finds what fills half of the container.
        threshold: Correlation at 48 px from which a pair is a hit; below 0.92 pairs are given up early and missed.

    Yields:
        Hits, one per pair at most.
    """
    at_once = max(WINDOWS // sum((side - SMALL + 1) ** 2 for side in sides), 1)
    for start in tqdm(range(0, len(containers), at_once), "compare images", disable=None, delay=PATIENCE):
        chunk = containers[start : start + at_once].unsqueeze(1).float()
        windows, places = _windows(chunk, sides)
        pairs, which = _shortlist(windows, contents)
        for pair, correlation in _looked_at(chunk, contents, pairs, places[which], threshold):
            yield Hit(start + pair[0], pair[1], correlation)


def _resized(pictures: Tensor, side: int) -> Tensor:
    """Return `(N, 1, H, W)` brought to this shorter side, antialiased."""
    height, width = pictures.shape[-2:]
    shorter = min(height, width)
    size = [max(round(length * side / shorter), side) for length in (height, width)]
    return functional.interpolate(pictures, size, mode="bilinear", antialias=True)


def _windows(pictures: Tensor, sides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return all windows `(N, W, 256)`, normalised, and `(W, 3)` their side, top and left."""
    found, places = [], []
    for side in sides:
        resized = _resized(pictures, side)
        found.append(unit(functional.unfold(resized, SMALL).transpose(1, 2)))
        tops, lefts = (torch.arange(length - SMALL + 1) for length in resized.shape[-2:])
        grid = torch.cartesian_prod(tops, lefts)
        places.append(torch.cat([torch.full((len(grid), 1), side), grid], 1))
    return torch.cat(found, 1), torch.cat(places)


def _shortlist(windows: Tensor, contents: Contents) -> tuple[Tensor, Tensor]:
    """Return `(P, 2)` the pairs that correlate by `SHORTLIST` somewhere, in order, and `(P,)` their best windows."""
    pictures, count = windows.shape[:2]
    short = contents.shortened(windows).flatten(0, 1)
    parts = torch.split(contents.short, CONTENTS)
    possible = torch.cat([(short @ part.T).view(pictures, count, -1).amax(1) >= SHORTLIST for part in parts], 1)
    pairs, windows_of = [], []
    for picture in possible.any(1).nonzero().flatten().tolist():
        candidates = possible[picture].nonzero().flatten()
        best, which = (contents.units[candidates] @ windows[picture].T).max(1)
        near = best >= SHORTLIST
        pairs.append(functional.pad(candidates[near, None], (1, 0), value=picture))
        windows_of.append(which[near])
    if not pairs:
        return torch.empty(0, 2, dtype=torch.long), torch.empty(0, dtype=torch.long)
    return torch.cat(pairs), torch.cat(windows_of)


def _looked_at(
    pictures: Tensor, contents: Contents, pairs: Tensor, places: Tensor, threshold: float
) -> Iterator[tuple[list[int], float]]:
    """Yield the pairs that reach the threshold at 48 px, searched for around their places, and their correlation."""
    for side in sorted(set(places[:, 0].tolist())):
        resized = _resized(pictures, side * LARGE // SMALL)
        chosen = places[:, 0] == side
        # The centre of the window, in pixels of the resized picture.
        centres = places[chosen][:, 1:].flip(1) * (LARGE / SMALL) + LARGE / 2
        for part, around in zip(torch.split(pairs[chosen], CLOSE), torch.split(centres, CLOSE), strict=True):
            wanted = contents.large[part[:, 1]].float()
            reached = _improved(resized[part[:, 0]], wanted, around)
            for index in (reached >= threshold).nonzero().flatten().tolist():
                yield part[index].tolist(), reached[index].item()


def _improved(pictures: Tensor, wanted: Tensor, centres: Tensor) -> Tensor:
    """Return `(P,)` the best correlation found by steps of size and place from these centres; -1 where it was given up.

    Args:
        pictures: `(P, 1, H, W)`, in which a content has 48 pixels.
        wanted: `(P, 48, 48)`.
        centres: `(P, 2)` x and y in pixels.
    """
    reached = torch.full((len(centres),), -1.0)
    going, state = torch.arange(len(centres)), functional.pad(centres, (1, 0), value=1.0)
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    for scale, pixels, stride, enough in ROUNDS:
        if not len(going):
            break
        tried = state[:, None] + steps * torch.tensor([scale, pixels, pixels])
        best, which = _alike(pictures[going], wanted[going], tried, stride).max(1)
        kept = best >= enough
        state = tried[torch.arange(len(tried)), which][kept]
        reached[going] = torch.where(kept, best, -1.0)
        going = going[kept]
    return reached


def _alike(pictures: Tensor, wanted: Tensor, windows: Tensor, stride: int) -> Tensor:
    """Return `(P, S)` the correlation of `(P, 48, 48)` with windows `(P, S, 3)`: size, and x and y of the centre."""
    pairs, samples = windows.shape[:2]
    height, width = pictures.shape[-2:]
    pixels = torch.arange(stride // 2, LARGE, stride)
    along = windows[:, :, :1] * (pixels - (LARGE - 1) / 2)
    x = 2 * (windows[:, :, 1:2] + along) / width - 1
    y = 2 * (windows[:, :, 2:3] + along) / height - 1
    shape = (pairs, samples, len(pixels), len(pixels))
    grid = torch.stack([x[:, :, None, :].expand(shape), y[:, :, :, None].expand(shape)], -1).flatten(1, 2)
    taken = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    taken = taken.view(pairs, samples, len(pixels) ** 2)
    known = unit(wanted[:, pixels][:, :, pixels].flatten(1))
    # What is sought has no mean, so the windows' means need not be taken away.
    return torch.einsum("psk,pk->ps", taken, known) / (len(pixels) * taken.std(-1, correction=0).clamp(min=FLAT))
