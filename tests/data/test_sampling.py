from collections import Counter

import torch

from fer.data.sampling import select_label_fraction, undersample

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
