"""Random augmentation of image batches on their device, exactly repeatable.

Each image is changed by its own row of a table of uniform random numbers, which `fer.data.batches` draws once per
epoch. Nothing else is random here, so an image's result depends on neither device, batch size, process nor resuming.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fer.data.colours import blur, jitter, luma, relight


class Columns:
    """Layout of the random table: the columns that each change reads, whatever else is switched on or off."""

    # A column that moves changes what every seed draws, so new ones go to the end.
    GEOMETRY = slice(0, 6)
    COLOUR = slice(6, 10)
    ERASE = slice(10, 15)
    # From here on only self-supervised views draw. A gate decides whether a change happens at all.
    JITTER_GATE = slice(15, 16)
    GREY_GATE = slice(16, 17)
    BLUR_GATE = slice(17, 18)
    BLUR_SIGMA = slice(18, 19)
    SOLARISE_GATE = slice(19, 20)
    RELIGHT_GATE = slice(20, 21)
    RELIGHT = slice(21, 28)


FINETUNE_COLUMNS = Columns.ERASE.stop  # width of fine-tuning's random table
VIEW_COLUMNS = Columns.RELIGHT.stop  # width of the random table of one self-supervised view

GREY = 127.5  # of erased rectangles


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far images are changed at random; the defaults change nothing.

    Attributes:
        flip: Probability of a mirrored image.
        rotate: Largest rotation in degrees, either way.
        crop_min: Smallest fraction of the area that a random crop keeps; its aspect varies by up to 4/3.
        crop_max: Largest fraction of the area that a random crop keeps.
        jitter: Brightness, contrast and saturation vary by factors in [1 - jitter, 1 + jitter], hue by jitter / 4
            of a turn either way (as colour jitter in torchvision).
        jitter_probability: Probability that colours are jittered at all.
        relight: Probability that mean, deviation and smooth shading of the luma are drawn anew. Jitter varies the
            first two, so that two views of one picture stay more alike than two pictures; this leaves nothing of them.
        grey: Probability of an image without colour.
        blur: Probability of a Gaussian blur of sigma 0.1 to 2 pixels at a side of 224 (Chen et al., "SimCLR", 2020,
            appendix A), in proportion at others: 2 pixels would wipe the expression off a face of 48.
        solarise: Probability that pixels of 128 and more are inverted (Grill et al., "BYOL", 2020, appendix B; its
            threshold is half of the range).
        erase: Probability of a grey rectangle over 2 to 20 % of the image (Zhong et al., "Random Erasing", 2020).
    """

    flip: float = 0.0
    rotate: float = 0.0
    crop_min: float = 1.0
    crop_max: float = 1.0
    jitter: float = 0.0
    jitter_probability: float = 1.0
    relight: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarise: float = 0.0
    erase: float = 0.0


def resize(images: Tensor, size: int) -> Tensor:
    """Resize images `(B, C, S, S)` to `(B, C, size, size)`, bilinear."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


def augment(images: Tensor, random_table: Tensor, augmentation: Augmentation, size: int) -> Tensor:
    """Augment each image by its own row of random numbers.

    Args:
        images: Float `(B, 3, S, S)`, RGB in [0, 255].
        random_table: `(B, FINETUNE_COLUMNS)` in [0, 1), on the images' device; `(B, VIEW_COLUMNS)` where
            `jitter_probability`, `relight`, `grey`, `blur` or `solarise` is used.
        augmentation: How far to go.
        size: Side of the result: float `(B, 3, size, size)` in [0, 255].
    """
    # Crop, flip, rotation and resizing are one affine map, so that pixels are interpolated only once: each further
    # pass would blur the face and cost as much as this one.
    affine = _affine_maps(random_table[:, Columns.GEOMETRY], augmentation)
    grid = F.affine_grid(affine, [len(images), 3, size, size], align_corners=False)
    return _change_colours(
        F.grid_sample(
            images,
            grid,
            mode="bilinear",
            padding_mode="reflection",
            align_corners=False,
        ),
        random_table,
        augmentation,
    )


def _affine_maps(numbers: Tensor, augmentation: Augmentation) -> Tensor:
    """Return maps from output to input coordinates, `(B, 2, 3)`, for numbers `(B, 6)`."""
    random_area, random_aspect, random_x, random_y, random_flip, random_angle = numbers.unbind(dim=1)
    area_range = augmentation.crop_max - augmentation.crop_min
    area = augmentation.crop_min + area_range * random_area
    # The aspect is log-uniform in [3/4, 4/3], or in less where a side would outgrow the image.
    max_log_aspect = (-area.log()).clamp(max=math.log(4 / 3))
    aspect = torch.exp((random_aspect * 2 - 1) * max_log_aspect)
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    # A crop may stand anywhere in the image, and not beyond it.
    shift_x = (1 - width) * (random_x * 2 - 1)
    shift_y = (1 - height) * (random_y * 2 - 1)
    is_flipped = random_flip < augmentation.flip
    signed_width = torch.where(is_flipped, -width, width)
    angle = (random_angle * 2 - 1) * math.radians(augmentation.rotate)
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([cos * signed_width, -sin * height, shift_x], dim=1)
    row_y = torch.stack([sin * signed_width, cos * height, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _change_colours(images: Tensor, random_table: Tensor, augmentation: Augmentation) -> Tensor:
    """Jitter, relight, grey, blur and solarise, in the order of SimCLR and BYOL, and erase last."""

    def change_some(gate: slice, probability: float, changed: Tensor) -> Tensor:
        # torch.where leaves the other images exactly as they were, which a blend by 0 and 1 would not.
        is_changed = random_table[:, gate] < probability
        return torch.where(is_changed[:, :, None, None], changed, images)

    # No step's result has a name of its own: it would stay in memory to the end, a batch for each step.
    if augmentation.jitter:
        colour = random_table[:, Columns.COLOUR]
        # Fine-tuning always jitters: its table has no column for the gate.
        if augmentation.jitter_probability >= 1:
            images = jitter(images, colour, augmentation.jitter)
        else:
            images = change_some(
                Columns.JITTER_GATE,
                augmentation.jitter_probability,
                jitter(images, colour, augmentation.jitter),
            )
    if augmentation.relight:
        numbers = random_table[:, Columns.RELIGHT]
        images = change_some(Columns.RELIGHT_GATE, augmentation.relight, relight(images, numbers))
    if augmentation.grey:
        images = change_some(Columns.GREY_GATE, augmentation.grey, luma(images)[:, None].expand_as(images))
    if augmentation.blur:
        sigmas = random_table[:, Columns.BLUR_SIGMA]
        images = change_some(Columns.BLUR_GATE, augmentation.blur, blur(images, sigmas))
    if augmentation.solarise:
        images = change_some(
            Columns.SOLARISE_GATE,
            augmentation.solarise,
            torch.where(images >= 128, 255 - images, images),
        )
    if augmentation.erase:
        images = _erase(images, random_table[:, Columns.ERASE], augmentation.erase)
    return images


def _erase(images: Tensor, numbers: Tensor, probability: float) -> Tensor:
    """Put a grey rectangle at random into some images, by numbers `(B, 5)`."""
    gate, random_area, random_aspect, random_left, random_top = numbers.unbind(dim=1)
    size = images.shape[-1]
    # The aspect is log-uniform in [1/3, 3].
    area = 0.02 + 0.18 * random_area
    aspect = torch.exp((random_aspect * 2 - 1) * math.log(3))
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    left = (1 - width) * random_left
    top = (1 - height) * random_top
    middle = (torch.arange(size, device=images.device) + 0.5) / size
    # A mask instead of slices, whose bounds would have to be fetched from the device.
    inside_x = (middle >= left[:, None]) & (middle < (left + width)[:, None])
    inside_y = (middle >= top[:, None]) & (middle < (top + height)[:, None])
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    erased = (gate < probability)[:, None, None] & inside
    return images.masked_fill(erased[:, None], GREY)
