import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer.data import packing
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.manifest import Manifest
from fer.data.packing import pack, packed_side, select_label_fraction, undersample
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError
from fer.portable.images import read_rgb


@pytest.fixture
def own(raw_trees: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    """(data root, manifest) of a prepared set of the test's own."""
    return tmp_path, prepare(WIKIMEDIA, raw_trees / "wikimedia", tmp_path).manifest


def packs(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "packed").iterdir())


@pytest.mark.parametrize(("native", "size", "side"), [(100, 224, 100), (762, 224, 224), (224, 224, 224)])
def test_packing_never_enlarges_nor_keeps_more_than_the_network_sees(native: int, size: int, side: int) -> None:
    assert packed_side(native, size) == side


@pytest.mark.parametrize("side", [100, 33])
def test_pixels_are_pillows(prepared: tuple[Path, dict[str, Prepared]], side: int) -> None:
    root, manifest = prepared[0], prepared[1]["raf"].manifest
    pixels = pack(manifest, root, side)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (len(manifest.images), side, side, 3))
    for index, row in enumerate(manifest.images):
        with Image.open(root / row.path) as image:
            wanted = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
        assert np.array_equal(pixels[index], wanted)


def test_pictures_of_any_mode_and_shape_are_stretched_to_the_square(own: tuple[Path, Manifest]) -> None:
    root, manifest = own
    pixels = pack(manifest, root, 40)
    for index, row in enumerate(manifest.images):
        wanted = read_rgb(root / row.path).resize((40, 40), Image.Resampling.BILINEAR)
        assert np.array_equal(pixels[index], np.asarray(wanted))


def test_the_second_call_decodes_nothing(own: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    root, manifest = own
    first = np.array(pack(manifest, root, 24))
    (file,) = (root / "packed").iterdir()
    before = file.stat()
    monkeypatch.setattr(packing, "open_within_budget", lambda path, work: pytest.fail(f"decoded {path}"))
    assert np.array_equal(pack(manifest, root, 24), first)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert file.stat().st_ino == before.st_ino
    assert manifest.digest in file.name


def test_pixels_come_from_a_file_that_writing_does_not_change(own: tuple[Path, Manifest]) -> None:
    root, manifest = own
    first = pack(manifest, root, 24)
    assert isinstance(first, np.memmap)
    kept = np.array(first)
    first[:] = 0
    assert np.array_equal(pack(manifest, root, 24), kept)


def test_outdated_packs_go_and_others_stay(own: tuple[Path, Manifest]) -> None:
    root, manifest = own
    pack(manifest, root, 24)
    pack(manifest, root, 16)
    drawn = Manifest("drawn-wikimedia", manifest.images)
    pack(drawn, root, 24)
    assert len(packs(root)) == 3
    changed = Manifest("wikimedia", (replace(manifest.images[0], expression="anger"), *manifest.images[1:]))
    pack(changed, root, 24)
    assert packs(root) == sorted([f"drawn-wikimedia-{drawn.digest}-24.npy", f"wikimedia-{changed.digest}-24.npy"])


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_picture_that_cannot_be_read_is_named_and_no_pack_stays(own: tuple[Path, Manifest], fault: str) -> None:
    root, manifest = own
    path = root / manifest.images[5].path
    path.unlink()
    if fault == "damaged":
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="run prepare again for 'wikimedia'") as caught:
        pack(manifest, root, 24)
    assert str(path) in str(caught.value)
    assert packs(root) == []


def test_a_full_disk_is_said_and_leaves_nothing(prepared, tmp_path, monkeypatch):
    root, sets = prepared

    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="no space left"):
        pack(sets["raf"].manifest, root, 31)
    assert not [path for path in (root / "packed").iterdir() if "-31" in path.name]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_text(path: Path) -> None:
    path.write_text("no array")


def replace_by_another_shape(path: Path) -> None:
    np.save(path, np.zeros((2, 24, 24, 3), np.uint8))


def replace_by_another_kind(path: Path) -> None:
    np.save(path, np.load(path).view(np.int8))


def damage_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"'fortran_order'", b"'(((((((((((((("))


@pytest.mark.parametrize(
    "damage",
    [cut, empty, replace_by_text, replace_by_another_shape, replace_by_another_kind, damage_the_header],
)
def test_a_damaged_pack_is_named_with_its_cure(own: tuple[Path, Manifest], damage: Callable[[Path], None]) -> None:
    root, manifest = own
    kept = np.array(pack(manifest, root, 24))
    (path,) = (root / "packed").iterdir()
    damage(path)
    with pytest.raises(DataError, match="is damaged: delete it") as caught:
        pack(manifest, root, 24)
    assert str(path) in str(caught.value)
    path.unlink()
    assert np.array_equal(pack(manifest, root, 24), kept)


LABELS = torch.tensor([0] * 40 + [1] * 7 + [3] * 25 + [6] * 12 + [0] * 16)
INDICES = torch.arange(0, 100, 2)
"""Of class 0: 28, 1: 4 (40 to 46), 3: 12, 6: 6."""


def test_undersampling_equalises_the_classes_that_occur() -> None:
    stay = undersample(LABELS, INDICES, seed=0)
    assert set(Counter(LABELS[stay].tolist()).values()) == {min(Counter(LABELS[INDICES].tolist()).values())}
    assert set(LABELS[stay].tolist()) == {0, 1, 3, 6}


def test_undersampling_keeps_rising_members() -> None:
    stay = undersample(LABELS, INDICES, seed=0).tolist()
    assert set(stay) < set(INDICES.tolist())
    assert stay == sorted(set(stay))


def test_undersampling_follows_its_seed() -> None:
    kept = [undersample(LABELS, INDICES, seed).tolist() for seed in (0, 0, 1, 2, 3)]
    assert kept[0] == kept[1]
    assert len({tuple(stay) for stay in kept}) == 4


def test_undersampling_leaves_balanced_members_alone() -> None:
    assert undersample(torch.arange(21) % 7, torch.arange(21), seed=4).tolist() == list(range(21))


NAMES = [f"train/raf/{number}.jpg" for number in range(100)]


def test_part_of_the_labels_is_stratified() -> None:
    half = select_label_fraction(NAMES, LABELS, INDICES, 0.5, seed=0)
    assert Counter(LABELS[half].tolist()) == {0: 14, 1: 2, 3: 6, 6: 3}
    assert set(half.tolist()) <= set(INDICES.tolist())
    assert half.tolist() == sorted(half.tolist())


def test_every_class_keeps_an_image_and_all_is_all() -> None:
    assert Counter(LABELS[select_label_fraction(NAMES, LABELS, INDICES, 0.001, seed=0)].tolist()) == {
        0: 1,
        1: 1,
        3: 1,
        6: 1,
    }
    assert torch.equal(select_label_fraction(NAMES, LABELS, INDICES, 1.0, seed=0), INDICES)


def test_a_smaller_part_lies_inside_a_larger_one_of_its_seed() -> None:
    few, more = (set(select_label_fraction(NAMES, LABELS, INDICES, part, seed=3).tolist()) for part in (0.2, 0.6))
    assert few < more
    assert set(select_label_fraction(NAMES, LABELS, INDICES, 0.2, seed=4).tolist()) != few


def test_the_part_follows_names_not_places() -> None:
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    moved = select_label_fraction([NAMES[n] for n in order], LABELS[order], torch.arange(100), 0.3, seed=1)
    plain = select_label_fraction(NAMES, LABELS, torch.arange(100), 0.3, seed=1)
    assert {NAMES[order[n]] for n in moved} == {NAMES[n] for n in plain}
