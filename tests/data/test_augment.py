import colorsys
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from fer.data import colours
from fer.data.augment import FINETUNE_COLUMNS, GREY, VIEW_COLUMNS, Augmentation, Columns, augment, resize
from fer.data.colours import LUMA

STRONG = Augmentation(flip=0.5, rotate=30, crop_min=0.5, jitter=0.4, erase=0.5)
VIEW = Augmentation(
    flip=0.5,
    crop_min=0.2,
    crop_max=0.8,
    jitter=0.4,
    jitter_probability=0.8,
    relight=0.5,
    grey=0.3,
    blur=0.5,
    solarise=0.3,
)
AREA, ASPECT, ACROSS, DOWN, FLIP, ANGLE = range(*Columns.GEOMETRY.indices(VIEW_COLUMNS))
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(*Columns.COLOUR.indices(VIEW_COLUMNS))
JITTERED, GREYED, BLURRED = Columns.JITTER_GATE.start, Columns.GREY_GATE.start, Columns.BLUR_GATE.start
SIGMA, SOLARISED, RELIT = Columns.BLUR_SIGMA.start, Columns.SOLARISE_GATE.start, Columns.RELIGHT_GATE.start
LIGHT, DEVIATION = Columns.RELIGHT.start, Columns.RELIGHT.start + 1
SHADING = slice(DEVIATION + 1, VIEW_COLUMNS)
MIDDLE = 0.5
"""The random number that leaves a symmetric change at its centre: no rotation, no colour change, a central crop."""


BEFORE_VIEWS = [
    [
        [127.5, 127.5, 255.0, 195.03, 147.36],
        [127.5, 127.5, 73.7, 240.92, 224.92],
        [127.5, 127.5, 71.56, 0.48, 113.02],
    ],
    [
        [160.25, 189.73, 210.81, 232.67, 108.1],
        [172.93, 255.0, 255.0, 182.5, 79.72],
        [255.0, 210.38, 109.77, 104.0, 147.95],
    ],
]
"""Fine-tuning's result for the picture and random_table of the test below, before there were views."""


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 255


def smooth(side: int) -> Tensor:
    """One picture without edges, on which ways of interpolation agree."""
    x = torch.linspace(0, 3, side)
    waves = [torch.sin(x[:, None] * (k + 1)) * torch.cos(x[None] * (3 - k) + k) for k in range(3)]
    return (torch.stack(waves)[None] + 1) * 127.5


def random_table(count: int, seed: int = 1, columns: int = FINETUNE_COLUMNS, **fixed: float) -> Tensor:
    table = torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))
    for name, value in fixed.items():
        table[:, globals()[name.upper()]] = value
    return table


def still(**fixed: float) -> Tensor:
    """One row at the centre of everything but what is named."""
    table = torch.full((1, VIEW_COLUMNS), MIDDLE)
    for name, value in fixed.items():
        table[0, globals()[name.upper()]] = value
    return table


def kept(images: Tensor) -> Tensor:
    """(B, 4): left, top, width and height that augmentation kept of `coordinates`, as shares of the image."""
    first, last = images[:, :2, 0, 0], images[:, :2, -1, -1]
    step = (last - first) / (images.shape[-1] - 1)
    return torch.cat([first - step / 2, (last - first) + step], dim=1)


def coordinates(count: int, side: int) -> Tensor:
    """Pictures whose channels are x and y of each pixel's middle in [0, 1]."""
    middle = (torch.arange(side) + 0.5) / side
    grid = torch.stack([middle.expand(side, side), middle[:, None].expand(side, side), torch.zeros(side, side)])
    return grid.expand(count, 3, side, side).clone()


@pytest.mark.parametrize("seed", range(3))
def test_no_strength_changes_nothing(seed: int) -> None:
    images = noise(4, 33)
    torch.testing.assert_close(augment(images, random_table(4, seed), Augmentation(), 33), images, atol=1e-2, rtol=0)


def test_no_strength_at_another_size_only_resizes() -> None:
    images = noise(4, 24)
    resized = augment(images, random_table(4), Augmentation(), 56)
    torch.testing.assert_close(resized, resize(images, 56), atol=1e-2, rtol=0)


def test_resize_is_torchvisions() -> None:
    images = noise(2, 24)
    wanted = tv.resize(images, [56, 56], InterpolationMode.BILINEAR, antialias=False)
    torch.testing.assert_close(resize(images, 56), wanted)
    assert resize(images, 24) is images


def test_flip_probability_one_mirrors_exactly() -> None:
    images = noise(8, 32)
    torch.testing.assert_close(
        augment(images, random_table(8), Augmentation(flip=1), 32), images.flip(3), atol=1e-2, rtol=0
    )


def test_flip_probability_is_the_share_of_mirrored_images() -> None:
    images = coordinates(2000, 4)
    mirrored = augment(images, random_table(2000), Augmentation(flip=0.3), 4)[:, 0, 0, 0] > 0.5
    assert abs(mirrored.float().mean() - 0.3) < 0.04


@pytest.mark.parametrize("size", [24, 40])
def test_each_image_depends_on_its_own_row_only(size: int) -> None:
    images, table = noise(12, 24), random_table(12)
    whole = augment(images, table, STRONG, size)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(augment(images[order], table[order], STRONG, size), whole[order], atol=1e-2, rtol=0)
    for index in range(12):
        alone = augment(images[index : index + 1], table[index : index + 1], STRONG, size)
        torch.testing.assert_close(alone[0], whole[index], atol=1e-2, rtol=0)


def test_another_row_changes_the_image() -> None:
    images = noise(1, 24).expand(8, -1, -1, -1)
    changed = augment(images, random_table(8), STRONG, 24)
    for one in range(8):
        for other in range(one):
            assert (changed[one] - changed[other]).abs().mean() > 1


def test_the_input_is_left_alone() -> None:
    images = noise(4, 24)
    before = images.clone()
    augment(images, random_table(4), STRONG, 24)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "augmentation",
    [STRONG, Augmentation(flip=1, rotate=180, crop_min=0.05, jitter=1, erase=1), Augmentation(rotate=45)],
)
def test_values_stay_in_0_to_255(augmentation: Augmentation) -> None:
    for images in (noise(64, 16), (noise(64, 16) > 127).float() * 255):
        changed = augment(images, random_table(64), augmentation, 20)
        assert changed.shape == (64, 3, 20, 20)
        assert changed.isfinite().all()
        assert changed.min() >= -1e-3
        assert changed.max() <= 255 + 1e-3


@pytest.mark.parametrize("degrees", [-30.0, -7.5, 12.0, 90.0])
def test_a_rotation_is_torchvisions(degrees: float) -> None:
    side = 65
    image = smooth(side)
    got = augment(image, still(angle=0.5 + degrees / 360), Augmentation(rotate=180), side)
    wanted = tv.rotate(image, degrees, InterpolationMode.BILINEAR)
    x = torch.arange(side) - side // 2
    inside = (x[:, None] ** 2 + x**2).sqrt() < side / 2 - 2
    assert (got - wanted)[..., inside].abs().max() < 0.5
    assert (image - wanted)[..., inside].abs().max() > 10


def test_rotations_fill_the_range_both_ways() -> None:
    image = coordinates(500, 9)
    turned = augment(image, random_table(500), Augmentation(rotate=20), 9)
    along = turned[:, :2, 4, 5] - turned[:, :2, 4, 3]
    angles = torch.rad2deg(torch.atan2(along[:, 1], along[:, 0]))
    assert -20.01 < angles.min() < -18
    assert 18 < angles.max() < 20.01


@pytest.mark.parametrize(("across", "down", "left", "top"), [(0.5, 0.5, 16, 16), (0.0, 1.0, 0, 32), (1.0, 0.25, 32, 8)])
def test_a_crop_is_torchvisions(across: float, down: float, left: int, top: int) -> None:
    image = noise(1, 64)
    got = augment(image, still(area=0, across=across, down=down), Augmentation(crop_min=0.25), 64)
    wanted = tv.resized_crop(image, top, left, 32, 32, [64, 64], InterpolationMode.BILINEAR, antialias=False)
    # At the crop's own edge torchvision repeats the last pixel, where ours sees the neighbour outside.
    torch.testing.assert_close(got[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-2, rtol=0)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.75, 0.9, 0.99])
def test_a_crop_keeps_its_share_lies_inside_and_varies_its_aspect(share: float) -> None:
    left, top, width, height = kept(
        augment(coordinates(3000, 65), random_table(3000), Augmentation(crop_min=share), 65)
    ).T
    area = width * height
    assert share - 1e-3 <= area.min()
    assert area.min() < share + 0.05 * (1 - share) + 1e-3
    assert area.max() > 1 - 0.05 * (1 - share) - 1e-3
    for start, length in ((left, width), (top, height)):
        assert start.min() > -1e-3
        assert (start + length).max() < 1 + 1e-3
    aspect = width / height
    assert 0.75 - 1e-2 < aspect.min() < aspect.max() < 4 / 3 + 1e-2
    if share <= 0.5:
        assert aspect.min() < 0.77
        assert aspect.max() > 1.3


def test_a_rotated_crop_of_a_mirrored_face_is_the_three_after_each_other() -> None:
    side, degrees = 129, 10.0
    image = smooth(side)
    augmentation = Augmentation(flip=1, rotate=180, crop_min=0.25)
    got = augment(image, still(area=0, angle=0.5 + degrees / 360), augmentation, side)
    # The square that is kept is turned as a whole: turn the image, keep its middle, mirror.
    turned = tv.rotate(image, degrees, InterpolationMode.BILINEAR)
    wanted = tv.hflip(tv.center_crop(turned, [65, 65]))
    assert (got[..., ::2, ::2] - wanted)[..., 3:-3, 3:-3].abs().max() < 3


@pytest.mark.parametrize("factor", [0.6, 0.85, 1.0, 1.3])
@pytest.mark.parametrize(
    ("column", "adjust"),
    [
        ("brightness", tv.adjust_brightness),
        ("contrast", tv.adjust_contrast),
        ("saturation", tv.adjust_saturation),
    ],
)
def test_each_colour_change_is_torchvisions(column: str, adjust, factor: float) -> None:
    image = noise(1, 32)
    jitter = 0.5
    got = augment(image, still(**{column: 0.5 + (factor - 1) / (2 * jitter)}), Augmentation(jitter=jitter), 32)
    wanted = adjust(image / 255, factor) * 255
    assert (got - wanted).abs().max() < 0.2
    if factor != 1:
        assert (image - wanted).abs().max() > 5


@pytest.mark.parametrize("turn", [-0.2, -0.05, 0.0, 0.1, 0.25])
def test_hue_turns_the_colour_circle_as_far_and_the_same_way_as_hsv(turn: float) -> None:
    red = torch.tensor([160.0, 90.0, 90.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    got = augment(red, still(hue=0.5 + turn / (2 * 0.25)), Augmentation(jitter=1.0), 8)[0, :, 4, 4] / 255
    hue = colorsys.rgb_to_hsv(*got.tolist())[0]
    # A rotation about the grey axis is not HSV's hexagon: they agree within 2 % of a turn.
    assert abs((hue - turn + 0.5) % 1 - 0.5) < 0.02
    assert got.mean() == pytest.approx(340 / 3 / 255, abs=1e-3)


def test_brightness_and_contrast_of_random_rows_stay_within_the_strength() -> None:
    flat = torch.full((500, 3, 4, 4), 100.0)
    changed = augment(flat, random_table(500), Augmentation(jitter=0.2), 4)[:, 0, 0, 0]
    assert 79.9 < changed.min() < 82
    assert 118 < changed.max() < 120.1


def test_colour_jitter_keeps_grey_grey() -> None:
    grey = noise(16, 16)[:, :1].expand(-1, 3, -1, -1)
    changed = augment(grey, random_table(16), Augmentation(jitter=0.8), 16)
    assert (changed - changed.mean(dim=1, keepdim=True)).abs().max() < 0.1
    assert (changed - grey).abs().max() > 10


def test_erasing_puts_one_grey_rectangle_of_2_to_20_percent() -> None:
    side, white = 128, torch.full((400, 3, 128, 128), 255.0)
    erased = augment(white, random_table(400), Augmentation(erase=1), side)
    hit = (erased == GREY).all(dim=1)
    assert torch.equal(hit, (erased < 254).any(dim=1))
    shares, aspects, centres = [], [], []
    for mask in hit:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert mask.sum() == height * width, "no whole rectangle"
        shares.append(height * width / side**2)
        aspects.append(width / height)
        centres.append([float(rows.float().mean()) / side, float(columns.float().mean()) / side])
    assert 0.017 < min(shares) < 0.03
    assert 0.19 < max(shares) < 0.21
    assert 0.3 < min(aspects) < 0.45
    assert 2.2 < max(aspects) < 3.4
    assert torch.tensor(centres).mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.04)
    assert hit.any(dim=0)[16:-16, 16:-16].all(), "some place is never erased"


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_erasing_strikes_as_often_as_asked(probability: float) -> None:
    white = torch.full((2000, 3, 16, 16), 255.0)
    erased = augment(white, random_table(2000), Augmentation(erase=probability), 16)
    share = (erased == GREY).flatten(1).any(dim=1).float().mean()
    assert math.isclose(share, probability, abs_tol=0.04)


def test_the_changes_of_views_leave_fine_tunings_as_they_were() -> None:
    images = (torch.arange(2 * 3 * 6 * 6) * 37 % 256).float().view(2, 3, 6, 6)
    table = torch.arange(2 * FINETUNE_COLUMNS, dtype=torch.float32).view(2, FINETUNE_COLUMNS) * 0.618 % 1
    changed = augment(images, table, Augmentation(flip=0.5, rotate=30, crop_min=0.5, jitter=0.4, erase=0.9), 5)
    torch.testing.assert_close(changed[:, :, 2], torch.tensor(BEFORE_VIEWS), atol=2e-2, rtol=0)


def test_fine_tunings_changes_never_read_the_columns_of_views() -> None:
    images, table = noise(32, 24), random_table(32, columns=VIEW_COLUMNS)
    assert torch.equal(augment(images, table, STRONG, 24), augment(images, table[:, :FINETUNE_COLUMNS], STRONG, 24))


def test_a_crop_keeps_at_most_its_largest_share() -> None:
    augmentation = Augmentation(crop_min=0.05, crop_max=0.14)
    left, top, width, height = kept(augment(coordinates(1000, 65), random_table(1000), augmentation, 9)).T
    area = width * height
    assert 0.05 - 1e-3 < area.min() < 0.055
    assert 0.135 < area.max() < 0.14 + 1e-3
    assert area.mean() == pytest.approx(0.095, abs=0.003)
    for start, length in ((left, width), (top, height)):
        assert -1e-3 < start.min() < 0.02
        assert 0.98 < (start + length).max() < 1 + 1e-3


CHANCED = [
    ("jitter_probability", "jittered"),
    ("grey", "greyed"),
    ("blur", "blurred"),
    ("solarise", "solarised"),
    ("relight", "relit"),
]


@pytest.mark.parametrize(("option", "column"), CHANCED)
@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8, 1.0])
def test_a_change_strikes_as_often_as_asked_and_leaves_the_others_exactly(
    option: str, column: str, probability: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colours, "PAPER_SIDE", 8)  # else nothing of a blur is left on pictures as small as these
    images, table = noise(2000, 8), random_table(2000, columns=VIEW_COLUMNS, sigma=0.9)
    base = {"flip": 0.5, "crop_min": 0.5, "jitter": 0.4 if option == "jitter_probability" else 0.0}
    without = augment(images, table, Augmentation(**base | {option: 0.0}), 8)
    always = augment(images, table, Augmentation(**base | {option: 1.0}), 8)
    changed = augment(images, table, Augmentation(**base | {option: probability}), 8)
    struck = (changed != without).flatten(1).any(dim=1)
    assert math.isclose(struck.float().mean(), probability, abs_tol=0.04)
    assert torch.equal(struck, table[:, globals()[column.upper()]] < probability)
    assert torch.equal(changed[struck], always[struck])
    assert torch.equal(changed[~struck], without[~struck])


def test_the_changes_of_views_strike_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colours, "PAPER_SIDE", 4)
    table = random_table(4000, columns=VIEW_COLUMNS)
    images = noise(4000, 4)
    struck = []
    for option in ("grey", "blur", "solarise", "jitter_probability", "relight"):
        base = Augmentation(jitter=0.4, jitter_probability=0) if option == "jitter_probability" else Augmentation()
        changed = augment(images, table, replace(base, **{option: 0.5}), 4)
        struck.append((changed - augment(images, table, base, 4)).flatten(1).abs().amax(dim=1) > 1)
    correlation = torch.corrcoef(torch.stack(struck).float()) - torch.eye(len(struck))
    assert correlation.abs().max() < 0.06


def luma(images: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", images, torch.tensor(LUMA)).flatten(1)


def test_relit_views_of_differently_lit_pictures_are_equal() -> None:
    face = 100 + 0.2 * (noise(1, 32) - 127.5)
    middle = (2 * torch.arange(32) + 1) / 32 - 1
    across, down = middle.expand(32, 32), middle[:, None].expand(32, 32)
    shade = 12 * across - 9 * down + 7 * across * down + 8 * across**2 - 10 * down**2
    pictures = torch.cat([face, 0.8 * face + 30, face + shade, 1.3 * face - 20 + shade.flip(1)])
    table = random_table(1, columns=VIEW_COLUMNS, light=0.5, deviation=0.1).expand(4, -1)
    relit = augment(pictures, table, Augmentation(relight=1), 32)
    assert (pictures - pictures[0]).abs().mean(dim=(1, 2, 3))[1:].min() > 4
    for other in relit[1:]:
        assert (other - relit[0]).abs().max() < 1


def test_a_relit_view_has_the_light_contrast_and_shading_that_were_drawn() -> None:
    table = random_table(4000, columns=VIEW_COLUMNS)
    relit = augment(noise(1, 24).expand(4000, -1, -1, -1), table, Augmentation(relight=1), 24)
    clear = (relit > 0).flatten(1).all(dim=1) & (relit < 255).flatten(1).all(dim=1)  # nothing was cut off
    assert clear.sum() > 200
    plane, row = luma(relit[clear]), table[clear]
    mean, deviation = plane.mean(dim=1), plane.std(dim=1, correction=0)
    torch.testing.assert_close(mean, 64 + 128 * row[:, LIGHT], atol=0.1, rtol=0)
    torch.testing.assert_close(deviation, 25 + 55 * row[:, DEVIATION], atol=0.1, rtol=0)
    brighter = plane.view(-1, 24, 24)
    right = (brighter[:, :, 12:].mean(dim=(1, 2)) - brighter[:, :, :12].mean(dim=(1, 2))) / deviation
    assert torch.corrcoef(torch.stack([right, row[:, SHADING][:, 0]]))[0, 1] > 0.95


def test_a_flat_picture_is_not_stretched_to_a_face() -> None:
    flat = 100 + 0.01 * (noise(8, 24) - 127.5)
    table = random_table(8, columns=VIEW_COLUMNS)
    table[:, SHADING] = MIDDLE
    assert (luma(augment(flat, table, Augmentation(relight=1), 24)).std(dim=1) < 35).all()
    assert augment(torch.zeros(8, 3, 24, 24), table, Augmentation(relight=1), 24).isfinite().all()


def test_grey_is_torchvisions() -> None:
    images = noise(4, 32)
    got = augment(images, random_table(4, columns=VIEW_COLUMNS), Augmentation(grey=1), 32)
    assert torch.equal(got, got[:, :1].expand(-1, 3, -1, -1))
    torch.testing.assert_close(got, tv.rgb_to_grayscale(images, 3), atol=0.1, rtol=0)


@pytest.mark.parametrize(("side", "kernel"), [(16, 3), (21, 3), (48, 5), (64, 7), (96, 9), (224, 23)])
def test_a_blur_is_torchvisions_of_the_rows_own_sigma(side: int, kernel: int) -> None:
    images = noise(4, side)
    table = still().repeat(4, 1)
    table[:, SIGMA] = torch.tensor([0.0, 0.2, 0.6, 0.999])
    got = augment(images, table, Augmentation(blur=1), side)
    for image, blurred, number in zip(images, got, table[:, SIGMA], strict=True):
        wanted = tv.gaussian_blur(image, [kernel, kernel], [(0.1 + 1.9 * float(number)) * side / 224])
        torch.testing.assert_close(blurred, wanted, atol=2e-2, rtol=0)
    assert (got[0] - images[0]).abs().max() < 2e-2
    # In proportion to the side: what is strong at 224 pixels is nothing at 16.
    assert (got[3] - images[3]).abs().mean() > (20 if side >= 96 else 0.5 if side >= 48 else -1)


def test_a_blur_keeps_plain_pictures() -> None:
    flat = torch.full((8, 3, 40, 40), 200.0)
    got = augment(flat, random_table(8, columns=VIEW_COLUMNS), Augmentation(blur=1), 40)
    torch.testing.assert_close(got, flat, atol=1e-2, rtol=0)


def test_solarising_is_torchvisions() -> None:
    images = noise(4, 32)
    got = augment(images, random_table(4, columns=VIEW_COLUMNS), Augmentation(solarise=1), 32)
    wanted = tv.solarize(images / 255, 128 / 255) * 255
    # At the threshold itself the last bit decides.
    clear = (images - 128).abs() > 0.1
    assert clear.float().mean() > 0.99
    torch.testing.assert_close(got[clear], wanted[clear], atol=2e-2, rtol=0)


def test_views_change_in_the_papers_order() -> None:
    image, factor = noise(1, 64), 1.4
    table = still(area=0, across=0, down=0, flip=0, brightness=0.5 + (factor - 1) / (2 * 0.5), sigma=0.4)
    augmentation = Augmentation(flip=1, crop_min=0.25, jitter=0.5, grey=1, blur=1, solarise=1)
    wanted = tv.hflip(tv.resized_crop(image, 0, 0, 32, 32, [64, 64], InterpolationMode.BILINEAR, antialias=False))
    wanted = tv.rgb_to_grayscale(tv.adjust_brightness(wanted / 255, factor), 3)
    wanted = tv.gaussian_blur(wanted, [7, 7], [(0.1 + 1.9 * 0.4) * 64 / 224])
    clear = ((wanted * 255 - 128).abs() > 0.5)[..., 5:-5, 5:-5]
    wanted = (tv.solarize(wanted, 128 / 255) * 255)[..., 5:-5, 5:-5]
    got = augment(image, table, augmentation, 64)[..., 5:-5, 5:-5]
    torch.testing.assert_close(got[clear], wanted[clear], atol=0.2, rtol=0)


def test_erasing_comes_last() -> None:
    white, table = torch.full((64, 3, 40, 40), 255.0), random_table(64, columns=VIEW_COLUMNS)
    erased = augment(white, table, Augmentation(erase=1), 40) == GREY
    changed = augment(white, table, Augmentation(erase=1, grey=1, blur=1, solarise=1), 40)
    assert torch.equal(changed == GREY, erased)
    assert changed[~erased].abs().max() < 1e-2


@pytest.mark.parametrize("size", [24, 40])
def test_each_view_depends_on_its_own_row_only(size: int) -> None:
    images, table = noise(12, 24), random_table(12, columns=VIEW_COLUMNS)
    whole = augment(images, table, VIEW, size)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    # The mean, because a pixel at the very threshold of solarising may fall on either side.
    assert (augment(images[order], table[order], VIEW, size) - whole[order]).abs().mean(dim=(1, 2, 3)).max() < 1e-2
    for index in range(12):
        alone = augment(images[index : index + 1], table[index : index + 1], VIEW, size)
        assert (alone[0] - whole[index]).abs().mean() < 1e-2


def test_views_stay_in_0_to_255_and_leave_the_input_alone() -> None:
    augmentation = Augmentation(
        flip=1,
        rotate=180,
        crop_min=0.05,
        crop_max=0.5,
        jitter=1,
        erase=0.5,
        jitter_probability=0.8,
        relight=0.5,
        grey=0.3,
        blur=1,
        solarise=0.5,
    )
    for images in (noise(64, 16), (noise(64, 16) > 127).float() * 255):
        before = images.clone()
        changed = augment(images, random_table(64, columns=VIEW_COLUMNS), augmentation, 40)
        assert changed.shape == (64, 3, 40, 40)
        assert changed.isfinite().all()
        assert -1e-3 <= changed.min() <= changed.max() <= 255 + 1e-3
        assert torch.equal(images, before)
