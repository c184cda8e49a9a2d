"""Random augmentation of image batches on their device, exactly repeatable.

Each image is changed by its own row of a table of uniform random numbers, which `fer.data.batches` draws once per
epoch. Nothing else is random here, so an image's result depends on neither device, batch size, process nor resuming.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


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

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
GREY = 127.5  # of erased rectangles
PAPER_SIDE = 224  # of the pictures for which SimCLR gives its blur in pixels
# Ranges of a relit view's luma. In FER+ nine of ten pictures have a mean in 83-189 and a deviation in 34-76.
LIGHT = (64.0, 192.0)
CONTRAST = (25.0, 80.0)
# Largest coefficients of a relit view's shading, in deviations of its details; at least twice those of FER+.
SHADING = (0.75, 0.75, 0.5, 0.9, 0.75)
MIN_DETAIL = 5.0  # details that deviate less are noise, and are not stretched as far as others


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
    same = images.shape[-1] == size
    return images if same else F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


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
        F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False),
        random_table,
        augmentation,
    )


def _change_colours(images: Tensor, random_table: Tensor, augmentation: Augmentation) -> Tensor:
    """Jitter, relight, grey, blur and solarise, in the order of SimCLR and BYOL, and erase last."""

    def change_some(gate: slice, probability: float, changed: Tensor) -> Tensor:
        # torch.where leaves the other images exactly as they were, which a blend by 0 and 1 would not.
        return torch.where((random_table[:, gate] < probability)[:, :, None, None], changed, images)

    # No step's result has a name of its own: it would stay in memory to the end, a batch for each step.
    if augmentation.jitter and augmentation.jitter_probability >= 1:
        # Fine-tuning always jitters: its table has no column for the gate.
        images = _jitter(images, random_table[:, Columns.COLOUR], augmentation.jitter)
    elif augmentation.jitter:
        numbers = random_table[:, Columns.COLOUR]
        jitter = augmentation.jitter
        images = change_some(Columns.JITTER_GATE, augmentation.jitter_probability, _jitter(images, numbers, jitter))
    if augmentation.relight:
        numbers = random_table[:, Columns.RELIGHT]
        images = change_some(Columns.RELIGHT_GATE, augmentation.relight, _relight(images, numbers))
    if augmentation.grey:
        images = change_some(Columns.GREY_GATE, augmentation.grey, _luma(images)[:, None].expand_as(images))
    if augmentation.blur:
        numbers = random_table[:, Columns.BLUR_SIGMA]
        images = change_some(Columns.BLUR_GATE, augmentation.blur, _blur(images, numbers))
    if augmentation.solarise:
        images = change_some(
            Columns.SOLARISE_GATE, augmentation.solarise, torch.where(images >= 128, 255 - images, images)
        )
    if augmentation.erase:
        images = _erase(images, random_table[:, Columns.ERASE], augmentation.erase)
    return images


def _affine_maps(numbers: Tensor, augmentation: Augmentation) -> Tensor:
    """Return maps from output to input coordinates, `(B, 2, 3)`, for numbers `(B, 6)`."""
    random_area, random_aspect, random_x, random_y, random_flip, random_angle = numbers.unbind(dim=1)
    area = augmentation.crop_min + (augmentation.crop_max - augmentation.crop_min) * random_area
    # The aspect is log-uniform in [3/4, 4/3], or in less where a side would outgrow the image.
    max_log_aspect = (-area.log()).clamp(max=math.log(4 / 3))
    aspect = torch.exp((random_aspect * 2 - 1) * max_log_aspect)
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    shift_x = (1 - width) * (random_x * 2 - 1)
    shift_y = (1 - height) * (random_y * 2 - 1)
    signed_width = torch.where(random_flip < augmentation.flip, -width, width)
    angle = (random_angle * 2 - 1) * math.radians(augmentation.rotate)
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([cos * signed_width, -sin * height, shift_x], dim=1)
    row_y = torch.stack([sin * signed_width, cos * height, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _luma(images: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))


def _jitter(images: Tensor, numbers: Tensor, jitter: float) -> Tensor:
    """Change brightness, contrast, saturation and hue by numbers `(B, 4)`."""
    brightness, contrast, saturation = (1 + jitter * (numbers[:, :3] * 2 - 1)).unbind(dim=1)
    turn = (numbers[:, 3] * 2 - 1) * (jitter / 4) * 2 * math.pi
    luma = images.new_tensor(LUMA)
    identity = torch.eye(3, device=images.device)
    saturate = saturation[:, None, None] * identity + (1 - saturation)[:, None, None] * luma.expand(3, 3)
    # All four are linear in the pixels: one 3x3 matrix and one offset per image replace four passes over them.
    matrix = (brightness * contrast)[:, None, None] * (saturate @ _hue_rotation(turn))
    # Contrast moves every pixel away from the image's mean grey, which the other changes scale by brightness.
    mean = torch.einsum("bchw,c->b", images, luma) / images[0, 0].numel()
    offset = brightness * (1 - contrast) * mean
    changed = torch.einsum("bij,bjhw->bihw", matrix, images)
    return (changed + offset[:, None, None, None]).clamp(0, 255)


def _hue_rotation(turn: Tensor) -> Tensor:
    """Return rotations about the grey axis, `(B, 3, 3)` (Rodrigues' formula with axis (1, 1, 1) / sqrt 3)."""
    cross = turn.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = turn.cos()[:, None, None], turn.sin()[:, None, None]
    return cos * torch.eye(3, device=turn.device) + (1 - cos) / 3 + sin * cross


def _relight(images: Tensor, numbers: Tensor) -> Tensor:
    """Give each image a light and a contrast that do not depend on what it had, by numbers `(B, 7)`.

    The smooth part of the luma, a polynomial of degree 2 fitted by least squares, is replaced by a random one; Rowley,
    Baluja & Kanade (1998), Neural Network-Based Face Detection, section 2.1, take a fitted plane away likewise.
    """
    random_light, random_contrast, random_shading = torch.split(numbers, [1, 1, len(SHADING)], dim=1)
    luma = _luma(images).flatten(1)
    basis = _smooth_basis(images.shape[-1], images.device)
    shading = luma.mean(dim=1, keepdim=True) + luma @ basis.T / basis.shape[1] @ basis
    detail = (luma - shading).std(dim=1, correction=0, keepdim=True).clamp(min=MIN_DETAIL)
    new_shading = (2 * random_shading - 1) * numbers.new_tensor(SHADING) @ basis
    light = LIGHT[0] + (LIGHT[1] - LIGHT[0]) * random_light
    contrast = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * random_contrast
    # The deviation is at least 1 unless the picture is flat, which stays so.
    deviation = ((luma - shading) / detail + new_shading).std(dim=1, correction=0, keepdim=True)
    factor = contrast / deviation.clamp(min=1)
    offset = (light + factor * (new_shading - shading / detail)).view(-1, 1, *images.shape[-2:])
    return (images * (factor / detail)[..., None, None] + offset).clamp(0, 255)


@lru_cache(maxsize=16)
def _smooth_basis(side: int, device: torch.device) -> Tensor:
    """Return products of Legendre polynomials of degree 1 and 2 over a square, `(5, side * side)`, mean square 1."""
    middle = (2 * torch.arange(side, device=device) + 1) / side - 1
    x, y = middle.expand(side, side), middle[:, None].expand(side, side)
    norm_1, norm_2 = math.sqrt(3), math.sqrt(5) / 2
    parts = [norm_1 * x, norm_1 * y, 3 * x * y, norm_2 * (3 * x**2 - 1), norm_2 * (3 * y**2 - 1)]
    return torch.stack(parts).flatten(1)


def _blur(images: Tensor, numbers: Tensor) -> Tensor:
    """Apply a Gaussian of each image's own sigma, cut off at about a twentieth of the side, with reflected edges."""
    batch, channels, side, _ = images.shape
    reach = max(side // 20, 1)
    sigma = (0.1 + 1.9 * numbers) * side / PAPER_SIDE
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.exp(-((offsets / sigma) ** 2) / 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    # Every channel of every image becomes a channel of one picture, with a kernel of its own: two grouped
    # convolutions serve the whole batch.
    groups = batch * channels
    planes = F.pad(images.reshape(1, groups, side, side), [reach] * 4, mode="reflect")
    planes = F.conv2d(planes, kernels[:, None, None, :], groups=groups)
    planes = F.conv2d(planes, kernels[:, None, :, None], groups=groups)
    return planes.reshape(images.shape)


def _erase(images: Tensor, numbers: Tensor, probability: float) -> Tensor:
    """Put a grey rectangle at random into some images, by numbers `(B, 5)`."""
    gate, random_area, random_aspect, random_left, random_top = numbers.unbind(dim=1)
    size = images.shape[-1]
    area = 0.02 + 0.18 * random_area
    aspect = torch.exp((random_aspect * 2 - 1) * math.log(3))
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    left = (1 - width) * random_left
    top = (1 - height) * random_top
    middle = (torch.arange(size, device=images.device) + 0.5) / size
    inside_x = (middle >= left[:, None]) & (middle < (left + width)[:, None])
    inside_y = (middle >= top[:, None]) & (middle < (top + height)[:, None])
    erased = (gate < probability)[:, None, None] & inside_y[:, :, None] & inside_x[:, None, :]
    return images.masked_fill(erased[:, None], GREY)
