from collections.abc import Sequence

import numpy as np
import pytest
import torch

from fer.data.augment import Augmentation
from fer.data.batches import Batch, TrainingBatches, epoch_generator, evaluation_batches
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages, Pixels
from fer.expressions import EXPRESSIONS

CPU = torch.device("cpu")
STRONG = Augmentation(flip=0.5, rotate=10, crop_min=0.75, jitter=0.2, erase=0.25)
Packed = tuple[Manifest, Pixels]


def packed(name: str, count: int, side: int, first: int, split: str = "train") -> Packed:
    """A set whose pictures are plain: the picture with running number n is grey of value n."""
    rows = tuple(
        ImageRow(f"{split}/{name}/{n}.png", EXPRESSIONS[n % 7], split, "", "", "", f"{n:064x}", 1, side, side, "", "")
        for n in range(first, first + count)
    )
    values = np.arange(first, first + count, dtype=np.uint8)
    pixels = np.broadcast_to(values[:, None, None, None], (count, side, side, 3))
    return Manifest(name, rows), np.ascontiguousarray(pixels)


def noisy(name: str, count: int, side: int, seed: int) -> Packed:
    manifest, pixels = packed(name, count, side, 0)
    return manifest, np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)


def batches(
    images: PackedImages, *, size: int = 4, seed: int = 7, augmentation: Augmentation = STRONG
) -> TrainingBatches:
    return TrainingBatches(
        images=images,
        indices=images.indices("train"),
        image_size=20,
        batch_size=size,
        seed=seed,
        augmentation=augmentation,
    )


def order(drawn: Sequence[Batch]) -> list[int]:
    return [int(place) for batch in drawn for place in batch.indices]


def assert_equal(one: Sequence[Batch], other: Sequence[Batch]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left.indices, right.indices)
        assert torch.equal(left.labels, right.labels)
        assert torch.equal(left.images, right.images)


@pytest.fixture(scope="module")
def images() -> PackedImages:
    return PackedImages([noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)], CPU)


def test_an_epoch_is_a_permutation_without_repetition(images: PackedImages) -> None:
    for epoch in range(5):
        drawn = order(list(batches(images, size=5).epoch(epoch)))
        assert sorted(drawn) == list(range(30))
        assert drawn != sorted(drawn)


def test_an_incomplete_last_batch_is_dropped(images: PackedImages) -> None:
    made = batches(images, size=8)
    drawn = list(made.epoch(0))
    assert [len(batch.indices) for batch in drawn] == [8, 8, 8]
    assert len(made) == 3
    assert len(set(order(drawn))) == 24


def test_other_images_are_dropped_in_another_epoch(images: PackedImages) -> None:
    seen = [frozenset(order(list(batches(images, size=8).epoch(epoch)))) for epoch in range(6)]
    assert len(set(seen)) > 1
    assert frozenset.union(*seen) == set(range(30))


def test_fewer_images_than_a_batch_are_one_batch(images: PackedImages) -> None:
    made = batches(images, size=64)
    drawn = list(made.epoch(0))
    assert len(made) == len(drawn) == 1
    assert sorted(order(drawn)) == list(range(30))


def test_equal_seed_and_epoch_give_equal_batches(images: PackedImages) -> None:
    assert_equal(list(batches(images).epoch(3)), list(batches(images).epoch(3)))


def test_epochs_do_not_depend_on_those_drawn_before(images: PackedImages) -> None:
    made = batches(images)
    for epoch in range(3):
        list(made.epoch(epoch))
    assert_equal(list(made.epoch(3)), list(batches(images).epoch(3)))


def test_an_images_changes_do_not_depend_on_its_batch(images: PackedImages) -> None:
    seen: dict[int, torch.Tensor] = {}
    for batch in batches(images, size=5).epoch(0):
        seen |= dict(zip(batch.indices.tolist(), batch.images, strict=True))
    for batch in batches(images, size=3).epoch(0):
        for place, image in zip(batch.indices.tolist(), batch.images, strict=True):
            torch.testing.assert_close(image, seen[place], atol=1e-2, rtol=0)


def test_no_two_images_of_an_epoch_share_their_changes() -> None:
    manifest, pixels = noisy("raf", 30, 16, 1)
    alike = PackedImages([(manifest, np.repeat(pixels[:1], 30, axis=0))], CPU)
    images = torch.cat([batch.images for batch in batches(alike, size=5).epoch(0)])
    for one in range(30):
        for other in range(one):
            assert (images[one] - images[other]).abs().mean() > 1


def test_two_sets_joined_are_one_set_of_both() -> None:
    (first, one), (second, other) = noisy("raf", 22, 16, 1), noisy("kdef", 8, 16, 2)
    joined = PackedImages([(first, one), (second, other)], CPU)
    whole = PackedImages([(Manifest("both", first.images + second.images), np.concatenate([one, other]))], CPU)
    for left, right in zip(batches(joined, size=6).epoch(0), batches(whole, size=6).epoch(0), strict=True):
        assert torch.equal(left.labels, right.labels)
        torch.testing.assert_close(left.images, right.images, atol=1e-2, rtol=0)


def test_global_random_state_plays_no_part(images: PackedImages) -> None:
    torch.manual_seed(1)
    first = list(batches(images).epoch(0))
    torch.manual_seed(2)
    assert_equal(list(batches(images).epoch(0)), first)


@pytest.mark.parametrize(("seed", "epoch"), [(7, 1), (8, 0)])
def test_another_epoch_or_seed_gives_another_order_and_other_changes(
    images: PackedImages, seed: int, epoch: int
) -> None:
    first, other = list(batches(images).epoch(0)), list(batches(images, seed=seed).epoch(epoch))
    assert order(first) != order(other)
    images = {int(place): image for batch in first for place, image in zip(batch.indices, batch.images, strict=True)}
    for batch in other:
        for place, image in zip(batch.indices.tolist(), batch.images, strict=True):
            assert place not in images or not torch.allclose(image, images[place], atol=1)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("start", [0, 1, 4, 6, 7])
def test_starting_at_a_step_gives_the_rest_of_the_epoch(images: PackedImages, start: int, resident: bool) -> None:
    whole = list(batches(images).epoch(2))
    assert len(whole) == 7
    late = PackedImages([noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)], CPU, resident)
    assert_equal(list(batches(late).epoch(2, start)), whole[start:])


@pytest.mark.parametrize("augmentation", [STRONG, Augmentation()], ids=["strong", "plain"])
def test_streamed_batches_equal_resident_ones(augmentation: Augmentation) -> None:
    sets = [noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)]
    resident, streamed = (PackedImages(sets, CPU, resident) for resident in (True, False))
    assert (resident.resident, streamed.resident) == (True, False)
    assert_equal(
        list(batches(streamed, augmentation=augmentation).epoch(1)),
        list(batches(resident, augmentation=augmentation).epoch(1)),
    )
    everything = torch.arange(30)
    assert_equal(
        list(evaluation_batches(streamed, everything, 16, 7)), list(evaluation_batches(resident, everything, 16, 7))
    )


def test_a_stream_may_be_left_midway() -> None:
    streamed = PackedImages([noisy("raf", 22, 16, 1)], CPU, resident=False)
    drawing = batches(streamed).epoch(0)
    first = next(drawing)
    drawing.close()
    assert_equal([first], list(batches(streamed).epoch(0))[:1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpus_batches_are_the_cpus(images: PackedImages, resident: bool) -> None:
    there = PackedImages([noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)], torch.device("cuda"), resident)
    for ours, theirs in zip(batches(images).epoch(1), batches(there).epoch(1), strict=True):
        assert theirs.images.device.type == theirs.labels.device.type == "cuda"
        assert torch.equal(ours.indices, theirs.indices)
        assert torch.equal(ours.labels, theirs.labels.cpu())
        assert (ours.images - theirs.images.cpu()).abs().mean() < 0.1


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=0.5)], ids=["plain", "flip"])
def test_joined_sets_of_different_sides_keep_picture_and_label_together(
    resident: bool, augmentation: Augmentation
) -> None:
    sets = [packed("raf", 20, 16, 0), packed("kdef", 15, 8, 20), packed("wikimedia", 10, 20, 35)]
    joined = PackedImages(sets, CPU, resident)
    mixed = 0
    for epoch in range(3):
        for batch in batches(joined, size=9, augmentation=augmentation).epoch(epoch):
            assert batch.images.shape == (9, 3, 20, 20)
            wanted = batch.indices.float()[:, None, None, None].expand_as(batch.images)
            torch.testing.assert_close(batch.images, wanted, atol=1e-3, rtol=0)
            assert torch.equal(batch.labels, batch.indices % 7)
            mixed += (
                len({int(np.searchsorted([20, 35, 45], place, side="right")) for place in batch.indices.tolist()}) > 1
            )
    assert mixed > 10


def test_a_batch_holds_floats_in_0_to_255_channels_last(images: PackedImages) -> None:
    for batch in [*batches(images).epoch(0), *evaluation_batches(images, torch.arange(30), 20, 8)]:
        assert (batch.images.dtype, batch.labels.dtype, batch.indices.dtype) == (
            torch.float32, torch.int64, torch.int64
        )  # fmt: skip
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert -1e-3 <= batch.images.min() <= batch.images.max() <= 255 + 1e-3
        assert batch.images.max() > 2


def test_indices_follow_the_splits_across_sets() -> None:
    sets = [packed("raf", 4, 8, 0), packed("raf2", 3, 8, 4, "validation"), packed("kdef", 2, 8, 7, "test")]
    joined = PackedImages(sets, CPU)
    assert joined.indices("train").tolist() == [0, 1, 2, 3]
    assert joined.indices("validation", "test").tolist() == [4, 5, 6, 7, 8]
    assert joined.indices("nothing").tolist() == []
    assert [row.path for row in joined.rows] == [row.path for manifest, _ in sets for row in manifest.images]
    assert joined.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_training_sees_its_indices_only(images: PackedImages) -> None:
    indices = torch.tensor([3, 5, 8, 13, 21, 29])
    made = TrainingBatches(images=images, indices=indices, image_size=20, batch_size=2, seed=0, augmentation=STRONG)
    assert len(made) == 3
    assert sorted(order(list(made.epoch(0)))) == indices.tolist()


@pytest.mark.parametrize("resident", [True, False])
def test_evaluation_batches_cover_all_indices_in_order(resident: bool) -> None:
    joined = PackedImages([packed("raf", 20, 16, 0), packed("kdef", 15, 8, 20)], CPU, resident)
    indices = torch.tensor([34, 0, 19, 20, 1, 7, 33])
    drawn = list(evaluation_batches(joined, indices, 16, 3))
    assert [len(batch.indices) for batch in drawn] == [3, 3, 1]
    assert order(drawn) == indices.tolist()
    assert [float(value) for batch in drawn for value in batch.images.mean(dim=(1, 2, 3))] == indices.tolist()
    assert list(evaluation_batches(joined, indices[:0], 16, 3)) == []


def test_an_epochs_numbers_follow_seed_and_epoch() -> None:
    def drawn(seed: int, epoch: int) -> tuple[float, ...]:
        return tuple(torch.rand(4, generator=epoch_generator(seed, epoch)).tolist())

    assert drawn(3, 5) == drawn(3, 5)
    pairs = [(seed, epoch) for seed in (0, 1, 2, 2**31 - 1) for epoch in range(50)]
    assert len({drawn(seed, epoch) for seed, epoch in pairs}) == 200
