"""Find where one picture stands inside another by normalised cross-correlation over positions and sizes.

Grey pictures; a window's mean and contrast are divided out, so that neither brightness nor contrast matters. Lewis,
"Fast Normalized Cross-Correlation", 1995, gives the measure; the search goes from coarse to fine.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

SMALL, LARGE = 16, 48
"""Sides in pixels at which windows are compared, first and finally."""
SHORTLIST = 0.86
"""Correlation at 16 px from which a pair is looked at closely; what copies reach is measured in the benchmark."""
FLAT = 1.0
"""Standard deviation in grey levels up to which a window shows nothing that could be recognised."""
WINDOWS_AT_ONCE, CONTENTS_AT_ONCE, PAIRS_AT_ONCE = 1200, 1024, 64
"""Windows and contents compared at once (their products should fit a processor's cache), and pairs refined at once."""
DIRECTIONS = 64
"""Principal directions by which most pairs are ruled out before their whole windows are compared."""
PROGRESS_DELAY = 5
"""Seconds after which a bar shows how far the search is."""
ROUNDS = (
    (0.03, 1.0, 3, 0.8),
    (0.02, 0.75, 2, 0.9),
    (0.01, 0.4, 1, 0.92),
    (0.005, 0.2, 1, 0.0),
)
"""Rounds in which size and position of a match are improved by steps.

Each has the step of the size (relative), the step of the position in pixels (at 48 px), every how many pixels the
pictures are compared, and the correlation that a pair must reach to go on.
"""


class Hit(NamedTuple):
    """A pair whose pictures show the same.

    Attributes:
        container: Index of the picture that was searched.
        content: Index of the picture found in it.
        correlation: Theirs at 48 px, at the best position and size.
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
        # Eigenvectors in the order of their eigenvalues: the last ones hold most of the contents.
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
    is_flat = length <= FLAT * windows.shape[-1] ** 0.5
    return torch.where(is_flat, 0, centred / length.clamp(min=1e-6))


def search(
    containers: Tensor,
    contents: Contents,
    sides: Sequence[int],
    threshold: float,
) -> Iterator[Hit]:
    """Find contents in containers.

    Args:
        containers: `(N, H, W)`, grey in [0, 255].
        contents: The pictures to find.
        sides: Sides to which a container's shorter one is brought while a content has 16 pixels: 16 compares whole
            pictures, 32 finds what fills half of the container.
        threshold: Correlation at 48 px from which a pair is a hit; below 0.92 pairs are given up early and missed.

    Yields:
        Hits, one per pair at most.
    """
    windows_each = sum((side - SMALL + 1) ** 2 for side in sides)
    at_once = max(WINDOWS_AT_ONCE // windows_each, 1)
    starts = range(0, len(containers), at_once)
    for start in tqdm(starts, "compare images", disable=None, delay=PROGRESS_DELAY):
        chunk = containers[start : start + at_once].unsqueeze(1).float()
        windows, positions = _windows(chunk, sides)
        pairs, best_windows = _shortlist(windows, contents)
        near = positions[best_windows]
        correlations = _refined(chunk, contents, pairs, near)
        for index in (correlations >= threshold).nonzero().flatten().tolist():
            picture, content = pairs[index].tolist()
            yield Hit(start + picture, content, correlations[index].item())


def _resized(pictures: Tensor, side: int) -> Tensor:
    """Return `(N, 1, H, W)` brought to this shorter side, antialiased."""
    height, width = pictures.shape[-2:]
    shorter = min(height, width)
    size = [max(round(length * side / shorter), side) for length in (height, width)]
    return F.interpolate(pictures, size, mode="bilinear", antialias=True)


def _windows(pictures: Tensor, sides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return all windows `(N, W, 256)`, normalised, and `(W, 3)` their side, top and left."""
    windows = []
    positions = []
    for side in sides:
        resized = _resized(pictures, side)
        of_side = F.unfold(resized, SMALL).transpose(1, 2)
        windows.append(unit(of_side))
        tops, lefts = (torch.arange(length - SMALL + 1) for length in resized.shape[-2:])
        corners = torch.cartesian_prod(tops, lefts)
        positions.append(F.pad(corners, (1, 0), value=side))
    return torch.cat(windows, 1), torch.cat(positions)


def _shortlist(windows: Tensor, contents: Contents) -> tuple[Tensor, Tensor]:
    """Return `(P, 2)` the pairs that correlate by `SHORTLIST` somewhere, and `(P,)` their best windows."""
    pictures, count = windows.shape[:2]
    short = contents.shortened(windows).flatten(0, 1)
    possible_parts = []
    # First by the short vectors: all pairs by the whole ones took three times as long (23,402 faces in 84 pictures).
    for part in torch.split(contents.short, CONTENTS_AT_ONCE):
        bounds = (short @ part.T).view(pictures, count, -1)
        possible_parts.append(bounds.amax(1) >= SHORTLIST)
    possible = torch.cat(possible_parts, 1)
    pairs = [torch.empty(0, 2, dtype=torch.long)]
    best_windows = [torch.empty(0, dtype=torch.long)]
    for picture in possible.any(1).nonzero().flatten().tolist():
        indices = possible[picture].nonzero().flatten()
        best, window = (contents.units[indices] @ windows[picture].T).max(1)
        is_near = best >= SHORTLIST
        pairs.append(F.pad(indices[is_near, None], (1, 0), value=picture))
        best_windows.append(window[is_near])
    return torch.cat(pairs), torch.cat(best_windows)


def _refined(
    pictures: Tensor,
    contents: Contents,
    pairs: Tensor,
    positions: Tensor,
) -> Tensor:
    """Return `(P,)` the best correlations of pairs at 48 px near their positions; -1 where a pair was given up."""
    correlations = torch.full((len(pairs),), -1.0)
    for side in sorted(set(positions[:, 0].tolist())):
        resized = _resized(pictures, side * LARGE // SMALL)
        of_side = (positions[:, 0] == side).nonzero().flatten()
        # In parts, because every pair brings a copy of its whole picture along.
        for part in torch.split(of_side, PAIRS_AT_ONCE):
            picture, content = pairs[part].unbind(1)
            # From (top, left) of the window to (x, y) of its centre, in pixels of the resized picture.
            centres = positions[part, 1:].flip(1) * (LARGE / SMALL) + LARGE / 2
            wanted = contents.large[content].float()
            correlations[part] = _best_correlations(resized[picture], wanted, centres)
    return correlations


def _best_correlations(pictures: Tensor, wanted: Tensor, centres: Tensor) -> Tensor:
    """Return `(P,)` the best correlation by steps of size and position from these centres; -1 where it was given up.

    Args:
        pictures: `(P, 1, H, W)`, in which a content has 48 pixels.
        wanted: `(P, 48, 48)`.
        centres: `(P, 2)` x and y in pixels.
    """
    correlations = torch.full((len(centres),), -1.0)
    # Pairs still going, and their windows: size, x and y.
    going = torch.arange(len(centres))
    windows = F.pad(centres, (1, 0), value=1.0)
    directions = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    for scale, pixels, stride, enough in ROUNDS:
        if not len(going):
            break
        steps = directions * torch.tensor([scale, pixels, pixels])
        tried = windows[:, None] + steps
        best, step = _correlations(pictures[going], wanted[going], tried, stride).max(1)
        # Most pairs differ plainly once they are aligned roughly: they are spared the finer rounds.
        is_kept = best >= enough
        correlations[going] = torch.where(is_kept, best, -1.0)
        windows = tried[torch.arange(len(tried)), step][is_kept]
        going = going[is_kept]
    return correlations


def _correlations(pictures: Tensor, wanted: Tensor, windows: Tensor, stride: int) -> Tensor:
    """Return `(P, S)` the correlation of `(P, 48, 48)` with windows `(P, S, 3)`: size, and x and y of the centre."""
    pairs, samples = windows.shape[:2]
    height, width = pictures.shape[-2:]
    pixels = torch.arange(stride // 2, LARGE, stride)
    offsets = windows[:, :, :1] * (pixels - (LARGE - 1) / 2)
    # `grid_sample` takes positions in [-1, 1].
    x = 2 * (windows[:, :, 1:2] + offsets) / width - 1
    y = 2 * (windows[:, :, 2:3] + offsets) / height - 1
    shape = (pairs, samples, len(pixels), len(pixels))
    grid_x = x[:, :, None, :].expand(shape)
    grid_y = y[:, :, :, None].expand(shape)
    grid = torch.stack([grid_x, grid_y], -1)
    taken = F.grid_sample(
        pictures,
        grid.flatten(1, 2),
        padding_mode="border",
        align_corners=False,
    )
    taken = taken.view(pairs, samples, len(pixels) ** 2)
    known = unit(wanted[:, pixels][:, :, pixels].flatten(1))
    # What is sought has no mean, so the windows' means need not be taken away.
    products = torch.einsum("psk,pk->ps", taken, known)
    deviation = taken.std(-1, correction=0).clamp(min=FLAT)
    return products / (len(pixels) * deviation)
