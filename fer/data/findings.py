"""What was found of a test set among training images, kept under the data root, because looking may take minutes."""

import json
from dataclasses import astuple
from pathlib import Path

from fer.data.contamination import Match, find, is_thorough, wholes
from fer.data.manifest import Manifest
from fer.data.places import disk_faults_said, locked
from fer.data.registry import DATASETS
from fer.data.thumbprints import Thumbprints, thumbprints
from fer.portable.json_files import read_object

SEARCH = 1
"""Raised whenever another search would find other pairs, so that older findings are made again."""
LONG = 1_000_000
"""Pairs from which a line says what is being done."""


def findings(manifest: Manifest, training: Thumbprints, root: Path) -> list[Match]:
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
    with disk_faults_said(root):
        if (kept := _read(path)) is not None:
            return kept
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(root, f"{manifest.dataset}-contamination"):
            if (kept := _read(path)) is not None:
                return kept
            found = _look(manifest, training, root)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps({"search": SEARCH, "matches": [astuple(match) for match in found]}))
            partial.replace(path)
    return found


def _look(manifest: Manifest, training: Thumbprints, root: Path) -> list[Match]:
    test = thumbprints(manifest, root)
    if not _has_near_copies(test, training):
        return find(test, training, near_copies=False)
    thorough = is_thorough(test, training)
    if len(test) * len(training) >= LONG:
        print(
            f"looking for {len(test)} test images of {test.dataset} among {len(training)} training images of "
            f"{training.dataset}: once for these two, {'half a minute' if thorough else 'a few minutes'} perhaps"
        )
    return find(test, training, wholes(manifest, root) if thorough else ())


def _has_near_copies(test: Thumbprints, training: Thumbprints) -> bool:
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
