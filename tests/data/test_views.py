from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from fer.data import batches as module
from fer.data.augment import Augmentation
from fer.data.batches import ViewBatches, Views, ViewSpec, multi_crop
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages, Pixels
from fer.expressions import EXPRESSIONS

CPU = torch.device("cpu")
STRONG = Augmentation(flip=0.5, crop_min=0.2, jitter=0.4, jitter_probability=0.8, grey=0.2, blur=0.5, solarise=0.1)
PAIR = (ViewSpec(2, 20, STRONG),)
MANY = multi_crop(40, 3, STRONG)
Packed = tuple[Manifest, Pixels]


def packed(name: str, pixels: Pixels) -> Packed:
    side = pixels.shape[1]
    rows = tuple(
        ImageRow(f"train/{name}/{n}.png", EXPRESSIONS[n % 7], "train", "", "", "", "", 1, side, side, "", "")
        for n in range(len(pixels))
    )
    return Manifest(name, rows), pixels


def noisy(name: str, count: int, side: int, seed: int) -> Packed:
    return packed(name, np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def numbered(name: str, count: int, side: int, first: int) -> Packed:
    """A set whose pictures are plain: the picture with running number n is grey of value n."""
    values = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    return packed(name, np.ascontiguousarray(np.broadcast_to(values, (count, side, side, 3))))


def slopes(count: int) -> Packed:
    """Pictures whose red and green are the place of each pixel across and down, four grey levels a pixel."""
    place = np.arange(64, dtype=np.uint8) * 4
    one = np.stack(np.broadcast_arrays(place, place[:, None], np.uint8(0)), axis=-1)
    return packed("slopes", np.repeat(one[None], count, axis=0))


def batches(
    images: PackedImages,
    specs: tuple[ViewSpec, ...] = PAIR,
    *,
    size: int = 4,
    seed: int = 7,
    rank: int = 0,
    world: int = 1,
) -> ViewBatches:
    return ViewBatches(
        images=images,
        indices=images.indices("train"),
        specs=specs,
        batch_size=size,
        seed=seed,
        rank=rank,
        world_size=world,
    )


def order(drawn: Sequence[Views]) -> list[int]:
    return [int(place) for batch in drawn for place in batch.indices]


def assert_equal(one: Sequence[Views], other: Sequence[Views]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left.indices, right.indices)
        assert len(left.images) == len(right.images)
        assert all(map(torch.equal, left.images, right.images))


def assert_alike(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal but for rounding, which may carry a pixel over the threshold of solarising."""
    assert (one - other).abs().mean() < 1e-2


@pytest.fixture(scope="module")
def images() -> PackedImages:
    return PackedImages([noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)], CPU)


@pytest.mark.parametrize(("size", "side"), [(224, 96), (64, 27), (48, 21), (32, 16), (16, 16)])
def test_multi_crop_cuts_swavs_sides_and_shares(size: int, side: int) -> None:
    augmentation = replace(STRONG, crop_min=0.14)
    large, small = multi_crop(size, 6, augmentation)
    assert large == ViewSpec(2, size, augmentation)
    assert small == ViewSpec(6, side, replace(augmentation, crop_min=0.05, crop_max=0.14))


def test_multi_crop_without_small_views_is_two_views() -> None:
    assert multi_crop(48, 0, STRONG) == (ViewSpec(2, 48, STRONG),)


def test_the_smallest_share_of_a_small_view_is_never_above_its_largest() -> None:
    _, small = multi_crop(48, 6, replace(STRONG, crop_min=0.02))
    assert (small.augmentation.crop_min, small.augmentation.crop_max) == (0.02, 0.02)


def test_small_views_keep_a_smaller_part_of_the_image_than_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALLEST_CROP", 0.1)
    images = PackedImages([slopes(40)], CPU)
    drawn = list(batches(images, multi_crop(64, 4, Augmentation(crop_min=0.3)), size=20).epoch(0))
    shares = []
    for view in zip(*(batch.images for batch in drawn), strict=True):
        places = torch.cat(view)[:, :2].flatten(2)
        sides = (places.amax(dim=2) - places.amin(dim=2)) / 4 / 64
        shares.append(sides.prod(dim=1))
    large, small = torch.cat(shares[:2]), torch.cat(shares[2:])
    assert 0.25 < large.min() < 0.4
    assert 0.85 < large.max() <= 1
    assert 0.07 < small.min() < 0.12
    assert 0.25 < small.max() < 0.31


@pytest.mark.parametrize("specs", [PAIR, MANY], ids=["two views", "multi-crop"])
def test_a_batch_holds_floats_in_0_to_255_channels_last(images: PackedImages, specs: tuple[ViewSpec, ...]) -> None:
    sides = [spec.size for spec in specs for _ in range(spec.count)]
    assert sides == ([20, 20] if specs is PAIR else [40, 40, 17, 17, 17])
    for batch in batches(images, specs).epoch(0):
        assert len(batch) == len(batch.indices) == 4
        assert batch.indices.dtype == torch.int64
        assert [view.shape for view in batch.images] == [(4, 3, side, side) for side in sides]
        for view in batch.images:
            assert view.dtype == torch.float32
            assert view.is_contiguous(memory_format=torch.channels_last)
            assert -1e-3 <= view.min() <= view.max() <= 255 + 1e-3
            assert view.max() > 2


def test_an_objective_is_called_with_one_list_of_views(images: PackedImages) -> None:
    batch = next(batches(images, MANY).epoch(0))
    (views,) = batch.inputs
    assert isinstance(views, list)
    assert all(one is other for one, other in zip(views, batch.images, strict=True))


@pytest.mark.parametrize("resident", [True, False])
def test_every_view_shows_the_image_of_its_place(resident: bool) -> None:
    sets = [numbered("raf", 20, 16, 0), numbered("kdef", 15, 8, 20), numbered("wikimedia", 10, 20, 35)]
    joined = PackedImages(sets, CPU, resident)
    specs = multi_crop(32, 2, Augmentation(flip=0.5, crop_min=0.3, grey=0.5, blur=0.5))
    for epoch in range(3):
        for batch in batches(joined, specs, size=9).epoch(epoch):
            for view in batch.images:
                wanted = batch.indices.float()[:, None, None, None].expand_as(view)
                torch.testing.assert_close(view, wanted, atol=1e-3, rtol=0)


def test_no_two_views_are_alike() -> None:
    manifest, pixels = noisy("raf", 30, 16, 1)
    alike = PackedImages([(manifest, np.repeat(pixels[:1], 30, axis=0))], CPU)
    drawn = list(batches(alike, (ViewSpec(3, 20, STRONG),), size=5).epoch(0))
    images = torch.cat([view for batch in drawn for view in batch.images])
    assert len(images) == 90
    for one in range(90):
        for other in range(one):
            assert (images[one] - images[other]).abs().mean() > 1


def test_the_views_of_an_image_are_mirrored_independently() -> None:
    images = PackedImages([slopes(1000)], CPU)
    drawn = list(batches(images, (ViewSpec(2, 4, Augmentation(flip=0.5)),), size=1000).epoch(0))
    first, second = ((view[:, 0, 0, 0] > view[:, 0, 0, -1]).float() for view in drawn[0].images)
    for view in (first, second):
        assert abs(view.mean() - 0.5) < 0.06
    assert abs((first == second).float().mean() - 0.5) < 0.06


def test_pixels_are_gathered_once_for_all_views(monkeypatch: pytest.MonkeyPatch) -> None:
    images = PackedImages([noisy("raf", 22, 16, 1)], CPU)
    gathered: list[int] = []
    gather = images.gather
    monkeypatch.setattr(images, "gather", lambda indices: gathered.append(len(indices)) or gather(indices))
    drawn = list(batches(images, MANY).epoch(0))
    assert gathered == [4] * len(drawn) == [4] * 5


def test_an_epoch_is_a_permutation_without_repetition(images: PackedImages) -> None:
    for epoch in range(3):
        drawn = order(list(batches(images, size=5).epoch(epoch)))
        assert sorted(drawn) == list(range(30))
        assert drawn != sorted(drawn)


def test_an_incomplete_last_batch_is_dropped(images: PackedImages) -> None:
    made = batches(images, size=8)
    assert [len(batch) for batch in made.epoch(0)] == [8, 8, 8]
    assert len(made) == 3


def test_fewer_images_than_a_batch_are_one_batch(images: PackedImages) -> None:
    made = batches(images, size=64)
    drawn = list(made.epoch(0))
    assert len(made) == len(drawn) == 1
    assert sorted(order(drawn)) == list(range(30))


def test_views_are_of_their_indices_only(images: PackedImages) -> None:
    indices = torch.tensor([3, 5, 8, 13, 21, 29])
    made = ViewBatches(images=images, indices=indices, specs=PAIR, batch_size=2, seed=0)
    assert len(made) == 3
    assert sorted(order(list(made.epoch(0)))) == indices.tolist()


def test_equal_seed_and_epoch_give_equal_views_whatever_came_before(images: PackedImages) -> None:
    made = batches(images, MANY)
    for epoch in range(3):
        list(made.epoch(epoch))
    torch.manual_seed(1)
    again = list(made.epoch(3))
    torch.manual_seed(2)
    assert_equal(again, list(batches(images, MANY).epoch(3)))


@pytest.mark.parametrize(("seed", "epoch"), [(7, 1), (8, 0)])
def test_another_epoch_or_seed_gives_another_order_and_other_views(images: PackedImages, seed: int, epoch: int) -> None:
    first, other = list(batches(images).epoch(0)), list(batches(images, seed=seed).epoch(epoch))
    assert order(first) != order(other)
    images = {int(place): view for batch in first for place, view in zip(batch.indices, batch.images[0], strict=True)}
    for batch in other:
        for place, view in zip(batch.indices.tolist(), batch.images[0], strict=True):
            assert place not in images or (view - images[place]).abs().mean() > 1


def test_an_images_views_do_not_depend_on_its_batch(images: PackedImages) -> None:
    seen: dict[int, list[torch.Tensor]] = {}
    for batch in batches(images, MANY, size=5).epoch(0):
        seen |= {place: [view[n] for view in batch.images] for n, place in enumerate(batch.indices.tolist())}
    for batch in batches(images, MANY, size=3).epoch(0):
        for n, place in enumerate(batch.indices.tolist()):
            for view, before in zip(batch.images, seen[place], strict=True):
                assert_alike(view[n], before)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("start", [0, 1, 4, 6, 7])
def test_starting_at_a_step_gives_the_rest_of_the_epoch(images: PackedImages, start: int, resident: bool) -> None:
    whole = list(batches(images, MANY).epoch(2))
    assert len(whole) == 7
    late = PackedImages([noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)], CPU, resident)
    assert_equal(list(batches(late, MANY).epoch(2, start)), whole[start:])


@pytest.mark.parametrize(("size", "world"), [(6, 2), (6, 3), (7, 2), (5, 4), (64, 4)])
def test_the_shards_of_all_processes_joined_are_the_batch_of_one(images: PackedImages, size: int, world: int) -> None:
    alone = list(batches(images, MANY, size=size).epoch(1))
    ranks = [list(batches(images, MANY, size=size, rank=rank, world=world).epoch(1)) for rank in range(world)]
    assert {len(drawn) for drawn in ranks} == {len(alone)}
    for whole, *shards in zip(alone, *ranks, strict=True):
        kept = len(whole) // world * world  # the objectives gather equal numbers of rows
        assert len(set(map(len, shards))) == 1
        assert torch.equal(torch.cat([shard.indices for shard in shards]), whole.indices[:kept])
        for view, parts in zip(whole.images, zip(*(shard.images for shard in shards), strict=True), strict=True):
            assert_alike(torch.cat(parts), view[:kept])


def test_streamed_views_equal_resident_ones() -> None:
    sets = [noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)]
    resident, streamed = (PackedImages(sets, CPU, resident) for resident in (True, False))
    assert_equal(list(batches(streamed, MANY).epoch(1)), list(batches(resident, MANY).epoch(1)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpus_views_are_the_cpus(images: PackedImages, resident: bool) -> None:
    there = PackedImages([noisy("raf", 22, 16, 1), noisy("kdef", 8, 12, 2)], torch.device("cuda"), resident)
    for ours, theirs in zip(batches(images, MANY).epoch(1), batches(there, MANY).epoch(1), strict=True):
        assert torch.equal(ours.indices, theirs.indices)
        for one, other in zip(ours.images, theirs.images, strict=True):
            assert other.device.type == "cuda"
            assert (one - other.cpu()).abs().mean() < 0.1
