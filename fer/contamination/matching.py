"""Find test images among training images: the same pixels, a near copy, or another picture of the person.

See `fer.contamination.correlation` for how near copies are found.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fer.contamination.correlation import PROGRESS_DELAY, Contents, Hit, search
from fer.contamination.signatures import ImageSignatures, Pixels, image_signatures, read_grey
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
WHOLE_SIDE = 96
"""Shorter side in pixels of whole test pictures."""
THOROUGH_PAIRS = 5_000_000
"""Pairs up to which crops are searched for; beyond them it would take minutes, and only pictures of one framing are."""
ANNOUNCED_PAIRS = 1_000_000
"""Pairs from which a line says that a search begins, since it takes a while."""
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
    test: ImageSignatures, training: ImageSignatures, pictures: Sequence[Pixels] = (), near_copies: bool = True
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
    kinds = dict.fromkeys(_identical_pairs(test, training), IDENTICAL)
    correlations = dict.fromkeys(kinds, 1.0)
    if near_copies and len(test) and len(training):
        for pair, correlation in _near_copies(test, training, pictures):
            # A pair is found in several ways, perhaps; it counts with the best.
            if correlation > correlations.get(pair, -1.0):
                kinds[pair] = NEAR_COPY
                correlations[pair] = correlation
    matches = []
    for pair in sorted(kinds):
        matches.append(_match(test, training, pair, kinds[pair], correlations[pair]))
    return matches + _people(test, training)


def cached_matches(manifest: Manifest, training: ImageSignatures, root: Path) -> list[Match]:
    """Return which tested images occur among training images, searching on the first call for these two.

    Args:
        manifest: The tested images.
        training: The training images.
        root: The data root.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """
    name = f"{manifest.dataset}-{manifest.digest}-{training.dataset}-{training.digest}"
    with translate_disk_errors(root):
        return cached(
            root / "contamination" / f"{name}.json",
            read=_read,
            make=lambda: _search(manifest, training, root),
            write=_write,
            lock=data_lock(root, f"{manifest.dataset}-contamination"),
        )


def whole_images(manifest: Manifest, root: Path) -> list[Pixels]:
    """Return the whole pictures of a manifest, grey, their shorter side 96 px.

    Raises:
        DataError: A picture can no longer be read.
    """
    pictures = []
    for row in manifest.images:
        picture = read_grey(row, root)
        scale = WHOLE_SIDE / min(picture.size)
        width, height = (max(round(side * scale), WHOLE_SIDE) for side in picture.size)
        pictures.append(np.asarray(picture.resize((width, height))))
    return pictures


def _match(
    test: ImageSignatures, training: ImageSignatures, pair: tuple[int, int], kind: str, correlation: float | None
) -> Match:
    tested, trained = pair
    return Match(
        test=str(test.paths[tested]),
        dataset=training.dataset,
        training=str(training.paths[trained]),
        kind=kind,
        correlation=correlation,
    )


def _identical_pairs(test: ImageSignatures, training: ImageSignatures) -> Iterator[tuple[int, int]]:
    """Yield (test, training) indices of images with the same pixels."""
    trained_with: dict[str, list[int]] = {}
    for index, pixels in enumerate(training.pixels.tolist()):
        trained_with.setdefault(pixels, []).append(index)
    for tested, pixels in enumerate(test.pixels.tolist()):
        for trained in trained_with.get(pixels, ()):
            yield tested, trained


def _people(test: ImageSignatures, training: ImageSignatures) -> list[Match]:
    """Return a match for every test image of a person who is in training too."""
    # Names are identities within one set only; a namesake in another is somebody else.
    if test.dataset != training.dataset:
        return []
    first_image: dict[str, int] = {}
    for index, person in enumerate(training.people.tolist()):
        first_image.setdefault(person, index)
    matches = []
    for tested, person in enumerate(test.people.tolist()):
        if person and person in first_image:
            matches.append(_match(test, training, (tested, first_image[person]), PERSON, None))
    return matches


def _near_copies(
    test: ImageSignatures, training: ImageSignatures, pictures: Sequence[Pixels]
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield (test, training) indices of near copies with their correlations, the same pair several times perhaps."""
    count = len(test)
    trained = Contents(torch.from_numpy(training.small), torch.from_numpy(training.large))
    small = _with_mirrored(test.small)
    large = _with_mirrored(test.large)
    # Training pictures cut from whole test pictures.
    progress = tqdm(pictures, "search in test images", disable=None, delay=PROGRESS_DELAY)
    for index, picture in enumerate(progress):
        for hit in search(_with_mirrored(picture[None]), trained, WITHIN, COPY):
            yield (index, hit.content), _rounded(hit)
    # Training pictures framed as test pictures, or a little tighter; the second half of the containers is mirrored.
    for hit in search(large, trained, ALIKE, COPY):
        yield (hit.container % count, hit.content), _rounded(hit)
    # And the reverse; pictures of one framing have been compared above.
    sides = AROUND if len(pictures) else ALIKE[1:]
    containers = torch.from_numpy(training.large)
    for hit in search(containers, Contents(small, large), sides, COPY):
        yield (hit.content % count, hit.container), _rounded(hit)


def _with_mirrored(pictures: Pixels) -> Tensor:
    """Return `(2 N, H, W)` for `(N, H, W)`: networks are trained on mirrored faces too."""
    return torch.from_numpy(np.concatenate([pictures, pictures[:, :, ::-1]]))


def _rounded(hit: Hit) -> float:
    # Rounding errors of float32 can lift a copy above 1.
    return min(round(hit.correlation, 4), 1.0)


def _search(manifest: Manifest, training: ImageSignatures, root: Path) -> list[Match]:
    test = image_signatures(manifest, root)
    if not _distinguishes_copies(test, training):
        return find_matches(test, training, near_copies=False)
    pairs = len(test) * len(training)
    is_thorough = pairs <= THOROUGH_PAIRS
    if pairs >= ANNOUNCED_PAIRS:
        duration = "half a minute" if is_thorough else "a few minutes"
        print(
            f"looking for {len(test)} test images of {test.dataset} among {len(training)} training images of "
            f"{training.dataset}: once for these two, {duration} perhaps"
        )
    return find_matches(test, training, whole_images(manifest, root) if is_thorough else ())


def _distinguishes_copies(test: ImageSignatures, training: ImageSignatures) -> bool:
    """Return whether near copies can be told apart from mere likeness."""
    # Drawn faces come from one pen.
    names = (test.dataset, training.dataset)
    if any(name in DATASETS and DATASETS[name].drawn for name in names):
        return False
    # One person's pictures in one studio resemble each other as copies do; names say more, where both sides have them.
    names_people = all(test.people) and all(training.people)
    return test.dataset != training.dataset or not names_people


def _read(path: Path) -> list[Match] | None:
    """Return what a file holds; None where it is absent, damaged or of another version."""
    try:
        content = read_object(path)
        if content["version"] != VERSION:
            return None
        return [Match(*values) for values in content["matches"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, matches: list[Match]) -> None:
    rows = [astuple(match) for match in matches]
    path.write_text(json.dumps({"version": VERSION, "matches": rows}), encoding="utf-8")
