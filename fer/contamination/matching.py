"""Find test images among training images: the same pixels, a near copy, or another picture of the person.

See `fer.contamination.correlation` for how near copies are found.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fer.contamination.correlation import PROGRESS_DELAY, Contents, Hit, search
from fer.contamination.signatures import ImageSignatures, Names, Pixels, image_signatures, whole_images
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import Manifest
from fer.portable.json_files import read_object
from fer.utils.atomic import cached
from fer.utils.paths import data_lock, translate_disk_errors

IDENTICAL, NEAR_COPY, PERSON = "identical", "near-copy", "person"
COPY = 0.95
"""Correlation at 48 px of a near copy.

Measured (`benchmarks/contamination.py`): crops of the Wikimedia pictures, recompressed and with other brightness,
reach 0.97 to 1; of the 84 pictures and FER+'s training faces the best pair without a common origin reaches 0.93.
"""
ALIKE = (16, 17, 18)
"""Sides searched for pictures of one framing: a copy shifted or enlarged by up to an eighth is found."""
WITHIN = (16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 32)
"""Sides searched for a training picture cut from a test picture: from half its shorter side to all of it."""
AROUND = (16, 17, 18, 19, 20, 21, 23)
"""Sides searched for a test picture cut from a training picture: from 70 % of its side."""
THOROUGH_PAIRS = 5_000_000
"""Pairs up to which crops are searched for; beyond them it would take minutes, and only pictures of one framing are."""
VERSION = 1
"""Of a cached file: raised whenever a search would find other pairs, so that it is made again."""


@dataclass(frozen=True)
class Match:
    """A test image and the training image that it is, copies or shares a person with.

    Attributes:
        test: Path of the test image under the data root.
        dataset: The training set's name.
        training: Path of the training image.
        kind: `identical` (the same pixels), `near-copy` (recompressed, cropped, mirrored or of other brightness) or
            `person` (another picture of the same person).
        correlation: Of the grey pictures, 1 for identical ones; None where persons were compared.
    """

    test: str
    dataset: str
    training: str
    kind: str
    correlation: float | None


def find_matches(
    test: ImageSignatures,
    training: ImageSignatures,
    pictures: Sequence[Pixels] = (),
    near_copies: bool = True,
) -> list[Match]:
    """Return the test images that training has seen.

    Every pair of identical pictures and of near copies is listed, and for each person on both sides of one data set
    the first training image.

    Args:
        test: The tested images.
        training: The training images.
        pictures: The tested images whole, as `whole_images` gives them. With them training pictures that are crops of
            test pictures are found and the reverse; without them copies of about the same framing only.
        near_copies: Whether to look for them at all.
    """
    correlations = dict.fromkeys(_equal_pairs(test.pixels, training.pixels), 1.0)
    # What has the same pixels needs no search, and is told apart from a near copy of correlation 1.
    identical = set(correlations)
    if near_copies and len(test) and len(training):
        for pair, correlation in _near_copies(test, training, pictures):
            # A pair is found in several ways, perhaps; it counts with the best.
            correlations[pair] = max(correlation, correlations.get(pair, -1.0))
    kinds: list[tuple[tuple[int, int], str, float | None]] = []
    for pair in sorted(correlations):
        kinds.append((pair, IDENTICAL if pair in identical else NEAR_COPY, correlations[pair]))
    # Names are identities within one set only; a namesake in another is somebody else.
    if test.dataset == training.dataset:
        # One image stands for a person: all would multiply the list. Reversed, since the last of equal keys stays.
        first_images = dict(reversed(_equal_pairs(test.people, training.people)))
        kinds += [((tested, first_images[tested]), PERSON, None) for tested in sorted(first_images)]
    matches = []
    for (tested, trained), kind, correlation_or_none in kinds:
        paths = (str(test.paths[tested]), training.dataset, str(training.paths[trained]))
        matches.append(Match(*paths, kind, correlation_or_none))
    return matches


def cached_matches(manifest: Manifest, training: ImageSignatures, root: Path) -> list[Match]:
    """Return which tested images occur among training images, searching on the first call for these two.

    Args:
        manifest: The tested images.
        training: The training images.
        root: The data root.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """

    def search_all() -> list[Match]:
        test = image_signatures(manifest, root)
        if not _distinguishes_copies(test, training):
            return find_matches(test, training, near_copies=False)
        is_thorough = len(test) * len(training) <= THOROUGH_PAIRS
        pictures = whole_images(manifest, root) if is_thorough else ()
        return find_matches(test, training, pictures)

    name = f"{manifest.dataset}-{manifest.digest}-{training.dataset}-{training.digest}"
    with translate_disk_errors(root):
        return cached(
            root / "contamination" / f"{name}.json",
            read=_read,
            make=search_all,
            write=_write,
            lock=data_lock(root, f"{manifest.dataset}-contamination"),
        )


def _distinguishes_copies(test: ImageSignatures, training: ImageSignatures) -> bool:
    """Return whether near copies can be told apart from mere likeness."""
    # Drawn faces come from one pen.
    names = (test.dataset, training.dataset)
    if any(name in DATASETS and DATASETS[name].drawn for name in names):
        return False
    # One person's pictures in one studio resemble each other as copies do; names say more, where both sides have them.
    names_people = all(test.people) and all(training.people)
    return test.dataset != training.dataset or not names_people


def _equal_pairs(tested: Names, trained: Names) -> list[tuple[int, int]]:
    """Return the (test, training) indices of equal texts that are not empty, in order."""
    places: dict[str, list[int]] = {}
    for index, text in enumerate(trained.tolist()):
        places.setdefault(text, []).append(index)
    pairs = []
    for index, text in enumerate(tested.tolist()):
        pairs += [(index, place) for place in places.get(text, ()) if text]
    return pairs


def _near_copies(
    test: ImageSignatures,
    training: ImageSignatures,
    pictures: Sequence[Pixels],
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield (test, training) indices of near copies with their correlations, the same pair several times perhaps."""
    count = len(test)
    trained = Contents(torch.from_numpy(training.small), torch.from_numpy(training.large))
    tested = Contents(_with_mirrored(test.small), _with_mirrored(test.large))
    # Training pictures cut from whole test pictures.
    progress = tqdm(pictures, "search in test images", disable=None, delay=PROGRESS_DELAY)
    for index, picture in enumerate(progress):
        for hit in search(_with_mirrored(picture[None]), trained, WITHIN, COPY):
            yield (index, hit.content), _rounded(hit)
    # Training pictures framed as test pictures, or a little tighter; the second half of the containers is mirrored.
    for hit in search(tested.large, trained, ALIKE, COPY):
        yield (hit.container % count, hit.content), _rounded(hit)
    # And the reverse; pictures of one framing have been compared above.
    sides = AROUND if len(pictures) else ALIKE[1:]
    for hit in search(trained.large, tested, sides, COPY):
        yield (hit.content % count, hit.container), _rounded(hit)


def _with_mirrored(pictures: Pixels) -> Tensor:
    """Return `(2 N, H, W)` for `(N, H, W)`: networks are trained on mirrored faces too."""
    return torch.from_numpy(np.concatenate([pictures, pictures[:, :, ::-1]]))


def _rounded(hit: Hit) -> float:
    # Rounding errors of float32 can lift a copy above 1.
    return min(round(hit.correlation, 4), 1.0)


def _read(path: Path) -> list[Match] | None:
    """Return what a file holds; None where it is absent, damaged or of another version."""
    try:
        content = read_object(path)
        if content["version"] == VERSION:
            return [_match(values) for values in content["matches"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _match(values: Any) -> Match:
    """Return a match of a file.

    Raises:
        TypeError: It is none.
    """
    match = Match(*values)
    texts = (match.test, match.dataset, match.training, match.kind)
    if not all(isinstance(text, str) for text in texts) or not isinstance(match.correlation, float | int | None):
        raise TypeError
    return match


def _write(path: Path, matches: list[Match]) -> None:
    rows = [astuple(match) for match in matches]
    path.write_text(json.dumps({"version": VERSION, "matches": rows}), encoding="utf-8")
