from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.contamination import matching, signatures
from fer.contamination.matching import Match
from fer.contamination.signatures import ImageSignatures
from fer.data.datasets.raf import RAF
from fer.data.images import inspect
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import pack
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError
from fer.utils.paths import manifest_path
from tests.contamination.copies import known, texture


@pytest.fixture
def own(raw_trees: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    """(data root, training split) of a prepared set of the test's own."""
    return tmp_path, prepare(RAF, raw_trees / "raf", tmp_path).manifest.of("train")


def same(one: ImageSignatures, other: ImageSignatures) -> bool:
    names = ("paths", "people", "pixels", "small", "large")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def refuse(*_: object) -> None:
    raise AssertionError("a picture was read")


def test_an_image_is_known_by_its_pixels_its_person_and_what_networks_see_of_it(
    prepared: tuple[Path, dict[str, Prepared]],
) -> None:
    root, manifest = prepared[0], prepared[1]["kdef"].manifest.of("test")
    seen = signatures.image_signatures(manifest, root)
    assert seen.paths.tolist() == [row.path for row in manifest.images]
    assert seen.people.tolist() == [row.person for row in manifest.images]
    assert seen.pixels.tolist() == [inspect(root / row.path).pixels for row in manifest.images]
    grey = [Image.fromarray(pixels).convert("L") for pixels in pack(manifest, root, 48)]
    assert np.array_equal(seen.large, np.stack([np.asarray(picture) for picture in grey]))
    assert seen.small.shape == (len(manifest.images), 16, 16) and seen.small.dtype == np.uint8


def test_pictures_are_read_once_for_one_content(own, monkeypatch: pytest.MonkeyPatch) -> None:
    root, train = own
    first = signatures.image_signatures(train, root)
    monkeypatch.setattr(signatures, "open_within_budget", refuse)
    assert same(signatures.image_signatures(train, root), first)
    with pytest.raises(AssertionError, match="read"):
        signatures.image_signatures(Manifest("raf", train.images[1:]), root)


@pytest.mark.parametrize(
    "damage", ["truncated", "emptied", "overwritten", "of another version", "an array", "fewer", "not pixels"]
)
def test_a_damaged_cache_is_made_again(own, damage: str) -> None:
    root, train = own
    first = signatures.image_signatures(train, root)
    (path,) = (root / "signatures").iterdir()
    content = path.read_bytes()
    arrays = {name: getattr(first, name) for name in ("paths", "people", "pixels", "small", "large")}
    edited = {
        "of another version": arrays | {"version": signatures.VERSION + 1},
        "fewer": {name: array[1:] for name, array in arrays.items()} | {"version": signatures.VERSION},
        "not pixels": arrays | {"version": signatures.VERSION, "small": first.small.astype(float)},
    }
    if damage in edited:
        np.savez(path, **edited[damage])
    elif damage == "an array":
        with path.open("wb") as file:
            np.save(file, first.small)
    else:
        path.write_bytes({"truncated": content[: len(content) // 2], "emptied": b"", "overwritten": b"x" * 99}[damage])
    assert same(signatures.image_signatures(train, root), first)
    assert path.read_bytes() == content


def test_an_interrupted_writing_leaves_nothing_behind(own, monkeypatch: pytest.MonkeyPatch) -> None:
    root, train = own

    def interrupted(file, **arrays) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", interrupted)
        with pytest.raises(KeyboardInterrupt):
            signatures.image_signatures(train, root)
    assert list((root / "signatures").iterdir()) == []
    assert len(signatures.image_signatures(train, root)) == len(train.images)


def test_a_training_split_is_known_by_its_digest_from_the_cache_or_from_the_data_root(own) -> None:
    root, train = own
    assert signatures.load_signatures("raf", "0" * 36, root) is None
    assert signatures.load_signatures("kdef", train.digest, root) is None
    made = signatures.load_signatures("raf", train.digest, root)
    assert made is not None and made.paths.tolist() == [row.path for row in train.images]
    manifest_path(root, "raf").unlink()
    kept = signatures.load_signatures("raf", train.digest, root)
    assert kept is not None and same(kept, made)


def test_a_picture_that_is_gone_is_named_with_the_cure(own) -> None:
    root, train = own
    (root / train.images[3].path).unlink()
    with pytest.raises(DataError, match=rf"^{train.images[3].path}: missing file; run prepare again"):
        signatures.image_signatures(train, root)
    assert read_manifest(manifest_path(root, "raf")).of("train").digest == train.digest


def test_matches_are_kept_and_damaged_or_older_ones_made_again(own, monkeypatch: pytest.MonkeyPatch) -> None:
    root, train = own
    training = known("ferplus", [texture(0)])
    searched = []

    def find_matches(*_: object, **__: object) -> list[Match]:
        searched.append(1)
        return [Match("a", "ferplus", "b", "near-copy", 0.97), Match("a", "ferplus", "c", "person", None)]

    monkeypatch.setattr(matching, "find_matches", find_matches)
    first = matching.cached_matches(train, training, root)
    assert matching.cached_matches(train, training, root) == first == find_matches() and len(searched) == 2
    (path,) = (root / "contamination").iterdir()
    edited = '{"version": 1, "matches": [["a", "ferplus", "b", "near-copy", "much"]]}'
    for damage in ('{"version": 1, "matches": [["a"', '{"version": 0, "matches": []}', "[]", edited):
        path.write_text(damage)
        assert matching.cached_matches(train, training, root) == first
    assert len(searched) == 6


@pytest.mark.parametrize(
    ("test", "training", "looked_for"),
    [("raf", "ferplus", True), ("drawn-wikimedia", "drawn-raf", False), ("kdef", "kdef", False), ("kdef", "raf", True)],
)
def test_near_copies_are_looked_for_where_likeness_means_something(
    own, monkeypatch: pytest.MonkeyPatch, test: str, training: str, looked_for: bool
) -> None:
    root, train = own
    people = {"person": "F01"} if test == "kdef" else {}
    tested = Manifest(test, tuple(replace(row, **people) for row in train.images[:3]))
    prints = known(training, [texture(0)], ["F02"] if training == "kdef" else None)
    asked = []
    monkeypatch.setattr(matching, "find_matches", lambda *_, near_copies=True: asked.append(near_copies) or [])
    matching.cached_matches(tested, prints, root)
    assert asked == [looked_for]
