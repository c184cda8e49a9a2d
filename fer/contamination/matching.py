"""Test images that a model has seen in training: the same file, a near copy of it, or another picture of the person."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fer.contamination.correlation import PATIENCE, Contents, Hit, search
from fer.contamination.signatures import ImageSignatures, Pixels, grey, image_signatures
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import Manifest
from fer.portable.json_files import read_object
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
WHOLE = 96
"""Shorter side in pixels of whole test pictures."""
THOROUGH_PAIRS = 5_000_000
"""Pairs up to which crops are searched for; beyond them it would take minutes, and only pictures of one framing are."""


@dataclass(frozen=True)
class Match:
    """A test image and the training image that gives it away.

    Attributes:
        test: The test image's place under the data root.
        dataset: The training set's name.
        training: The training image's place.
        kind: `identical` (the same pixels), `near-copy` (recompressed, cropped, mirrored or of other brightness) or
            `person` (another picture of the same person).
        correlation: Of the grey pictures, 1 for identical ones; None where persons were compared.
    """

    test: str
    dataset: str
    training: str
    kind: str
    correlation: float | None


def is_thorough(test: ImageSignatures, training: ImageSignatures) -> bool:
    """Return whether the sets are small enough to search for crops."""
    return len(test) * len(training) <= THOROUGH_PAIRS


def whole_images(manifest: Manifest, root: Path) -> list[Pixels]:
    """Return the whole pictures of a manifest, grey, their shorter side 96 px.

    Raises:
        DataError: A picture can no longer be read.
    """
    found = []
    for row in manifest.images:
        picture = grey(row, root)
        scale = WHOLE / min(picture.size)
        size = (max(round(picture.width * scale), WHOLE), max(round(picture.height * scale), WHOLE))
        found.append(np.asarray(picture.resize(size)))
    return found


def find_matches(
    test: ImageSignatures, training: ImageSignatures, pictures: Sequence[Pixels] = (), near_copies: bool = True
) -> list[Match]:
    """Return what gives test images away.

    Every pair of identical pictures and of near copies is listed, and for each person on both sides of one data set
    the first training image.

    Args:
        test: The tested images.
        training: The training images.
        pictures: The tested images whole, as `whole_images` gives them. With them training pictures that
            are crops of test pictures are found and the reverse; without them copies of about the same framing only.
        near_copies: Whether to look for them at all.
    """
    pairs = {pair: Match(*_names(test, training, *pair), IDENTICAL, 1.0) for pair in _identical(test, training)}
    for (seen, known), correlation in _near_copies(test, training, pictures) if near_copies else ():
        present = pairs.get((seen, known))
        if present is None or (present.correlation or 0.0) < correlation:
            pairs[seen, known] = Match(*_names(test, training, seen, known), NEAR_COPY, correlation)
    return [*(pairs[key] for key in sorted(pairs)), *_people(test, training)]


def _names(test: ImageSignatures, training: ImageSignatures, seen: int, known: int) -> tuple[str, str, str]:
    return str(test.paths[seen]), training.dataset, str(training.paths[known])


def _identical(test: ImageSignatures, training: ImageSignatures) -> Iterator[tuple[int, int]]:
    places: dict[str, list[int]] = {}
    for known, pixels in enumerate(training.pixels.tolist()):
        places.setdefault(pixels, []).append(known)
    for seen, pixels in enumerate(test.pixels.tolist()):
        yield from ((seen, known) for known in places.get(pixels, ()))


def _people(test: ImageSignatures, training: ImageSignatures) -> Iterator[Match]:
    """Yield a match for every test image of a person who is in training too; names are identities within one set."""
    if test.dataset != training.dataset:
        return
    first = {person: known for known, person in reversed(list(enumerate(training.people.tolist()))) if person}
    for seen, person in enumerate(test.people.tolist()):
        if person in first:
            yield Match(*_names(test, training, seen, first[person]), PERSON, None)


def _near_copies(
    test: ImageSignatures, training: ImageSignatures, pictures: Sequence[Pixels]
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield (test, training) indices of near copies with their correlations, the same pair several times perhaps."""
    if not len(test) or not len(training):
        return
    count, known = len(test), Contents(torch.from_numpy(training.small), torch.from_numpy(training.large))
    small, large = _with_mirrored(test.small), _with_mirrored(test.large)
    for index, picture in enumerate(tqdm(pictures, "look into test images", disable=None, delay=PATIENCE)):
        for hit in search(_with_mirrored(picture[None]), known, WITHIN, COPY):
            yield (index, hit.content), _rounded(hit)
    for hit in search(large, known, ALIKE, COPY):
        yield (hit.container % count, hit.content), _rounded(hit)
    around = torch.from_numpy(training.large)
    for hit in search(around, Contents(small, large), AROUND if len(pictures) else ALIKE[1:], COPY):
        yield (hit.content % count, hit.container), _rounded(hit)


def _with_mirrored(pictures: Pixels) -> Tensor:
    """Return `(2 N, H, W)` for `(N, H, W)`: networks are trained on mirrored faces too."""
    return torch.from_numpy(np.concatenate([pictures, pictures[:, :, ::-1]]))


def _rounded(hit: Hit) -> float:
    return min(round(hit.correlation, 4), 1.0)


SEARCH = 1
"""Raised whenever another search would find other pairs, so that older results are made again."""
LONG = 1_000_000
"""Pairs from which a line says what is being done."""


def cached_matches(manifest: Manifest, training: ImageSignatures, root: Path) -> list[Match]:
    """Return which tested images occur among training images, looking on the first call for these two.

    Args:
        manifest: The tested images.
        training: The training images.
        root: The data root.

    Raises:
        DataError: A picture can no longer be read, or the disk is full.
    """
    name = f"{manifest.dataset}-{manifest.digest}-{training.dataset}-{training.digest}"
    path = root / "contamination" / f"{name}.json"
    with translate_disk_errors(root):
        if (kept := _read(path)) is not None:
            return kept
        path.parent.mkdir(parents=True, exist_ok=True)
        with data_lock(root, f"{manifest.dataset}-contamination"):
            if (kept := _read(path)) is not None:
                return kept
            found = _look(manifest, training, root)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps({"search": SEARCH, "matches": [astuple(match) for match in found]}))
            partial.replace(path)
    return found


def _look(manifest: Manifest, training: ImageSignatures, root: Path) -> list[Match]:
    test = image_signatures(manifest, root)
    if not _has_near_copies(test, training):
        return find_matches(test, training, near_copies=False)
    thorough = is_thorough(test, training)
    if len(test) * len(training) >= LONG:
        print(
            f"looking for {len(test)} test images of {test.dataset} among {len(training)} training images of "
            f"{training.dataset}: once for these two, {'half a minute' if thorough else 'a few minutes'} perhaps"
        )
    return find_matches(test, training, whole_images(manifest, root) if thorough else ())


def _has_near_copies(test: ImageSignatures, training: ImageSignatures) -> bool:
    """Return whether near copies can be told apart from mere likeness.

    Drawn faces come from one pen. And one person's pictures in one studio resemble each other as copies do: where both
    sides tell their people, those say more.
    """
    if any(name in DATASETS and DATASETS[name].drawn for name in (test.dataset, training.dataset)):
        return False
    return test.dataset != training.dataset or not (all(test.people) and all(training.people))


def _read(path: Path) -> list[Match] | None:
    """Return what a file holds; None where it is missing, damaged or of another search."""
    try:
        content = read_object(path)
        return [Match(*values) for values in content["matches"]] if content["search"] == SEARCH else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
