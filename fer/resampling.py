"""Images and persons drawn again: what the bootstrap and the randomisation test draw.

Functions of arrays, with no framework; N images of C classes show G persons.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer.metrics import Floats, Interval, Ints

CELLS = 2_000_000
"""Numbers held at once while persons are drawn."""


def person_interval(
    correct: NDArray[np.bool_],
    clusters: ArrayLike,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval | None:
    """Return the percentile bootstrap interval of accuracy over persons, or None for fewer than two of them.

    A person's pictures resemble each other, so an interval that takes them for independent images is too narrow.
    Davison & Hinkley (1997), Bootstrap Methods and their Application, section 3.8.

    Args:
        correct: Whether each image is answered rightly, `(N,)` booleans.
        clusters: Who is on it, `(N,)`.
        draws: Of the bootstrap.
        seed: Seed of the draws.
        confidence: Coverage, in (0, 1).

    Raises:
        ValueError: The lengths differ, or `confidence` is not in (0, 1).
    """
    right = np.asarray(correct, dtype=np.int64)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    who = person_numbers(clusters, len(right))
    images = np.bincount(who)
    if len(images) < 2:
        return None
    hits = np.bincount(who, weights=right)
    resamples = _drawn_persons(len(images), draws, np.random.default_rng(seed))
    shares = np.concatenate([(weights @ hits) / (weights @ images) for weights in resamples])
    low, high = np.quantile(shares, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def person_numbers(clusters: ArrayLike, images: int) -> Ints:
    """Return each image's person as a number from 0, int64 `(N,)`.

    Raises:
        ValueError: `clusters` does not name one person an image.
    """
    found = np.asarray(clusters)
    if found.shape != (images,):
        raise ValueError(f"clusters must name the person of each of {images} images, not {found.shape}")
    return np.unique(found, return_inverse=True)[1]


def by_person_and_class(who: Ints, place: Ints, classes: int, weights: Ints) -> Floats:
    """Sum the weights of images by person and class, `(G, C)`.

    Args:
        who: Person of each image, `(N,)`.
        place: Class of each image, likewise.
        classes: C.
        weights: What is summed, likewise.
    """
    cells = np.bincount(who * classes + place, weights=weights, minlength=(int(who.max()) + 1) * classes)
    return cells.astype(np.float64).reshape(-1, classes)


def by_image(
    gain: Ints, place: Ints, classes: int, draws: int, generator: np.random.Generator
) -> tuple[float, Floats, Floats]:
    """Return a difference of mean-class accuracies, `draws` of it bootstrapped, and `draws` with answers swapped.

    Only numbers of images by class are drawn: of images that A alone, B alone, or both or neither answer rightly.

    Args:
        gain: 1 where A alone is right, -1 where B alone is, else 0, `(N,)`.
        place: Class of each image, `(N,)` in [0, classes), each of which occurs.
        classes: C.
        draws: How many.
        generator: Draws.
    """
    plus, minus = (np.bincount(place[gain == sign], minlength=classes) for sign in (1, -1))
    images = np.bincount(place, minlength=classes)
    shares = np.stack([plus, minus, images - plus - minus], axis=1) / images[:, None]
    drawn = generator.multinomial(images, shares, size=(draws, classes))
    heads = generator.binomial(plus + minus, 0.5, size=(draws, classes))
    return (
        float(((plus - minus) / images).mean()),
        ((drawn[..., 0] - drawn[..., 1]) / images).mean(axis=1),
        ((2 * heads - plus - minus) / images).mean(axis=1),
    )


def by_person(
    gains: Floats, images: Floats, draws: int, generator: np.random.Generator
) -> tuple[float, Floats, Floats]:
    """Return the same of whole persons.

    Args:
        gains: Sum of the gain over each person's images of each class, `(G, C)`.
        images: Number of those images, likewise; each class occurs.
        draws: How many.
        generator: Draws.
    """
    shares = (gains / images.sum(axis=0)).mean(axis=1)
    drawn, swapped = [], []
    for weights in _drawn_persons(len(gains), draws, generator):
        counts = weights @ images
        # A rare class may be absent from a draw, and then does not count.
        drawn.append((weights @ gains / counts.clip(1)).sum(axis=1) / (counts > 0).sum(axis=1))
        swapped.append((2 * generator.integers(0, 2, size=weights.shape) - 1) @ shares)
    return float(shares.sum()), np.concatenate(drawn), np.concatenate(swapped)


def _drawn_persons(persons: int, draws: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Yield how often each person is drawn, `(some of the draws, G)`."""
    most = max(1, CELLS // persons)
    for start in range(0, draws, most):
        size = min(most, draws - start)
        yield generator.multinomial(persons, np.full(persons, 1 / persons), size=size).astype(np.float64)
