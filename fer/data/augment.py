"""Random changes of a batch on its device, exactly repeatable: all chance comes from one table of numbers per epoch."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

COLUMNS = 15
"""Random numbers each image needs in an epoch for fine-tuning's changes."""

VIEW_COLUMNS = COLUMNS + 13
"""Random numbers of one view, where colours are not always jittered or a view may be relit, grey, blurred or solarised.
"""

GREY = 127.5
PAPER_SIDE = 224
"""Side of the pictures for which blur was given in pixels."""
LIGHT = (64.0, 192.0)
"""Mean luma that a relit view may have; in FER+ nine of ten pictures lie between 83 and 189."""
CONTRAST = (25.0, 80.0)
"""Standard deviation of a relit view's luma; in FER+ nine of ten pictures lie between 34 and 76."""
FIELD = (0.75, 0.75, 0.5, 0.9, 0.75)
"""Largest coefficients of a relit view's shading, in deviations of its details; twice those of FER+ or more.
"""
FLATTEST = 5.0
"""Details that deviate less are not stretched as far as others: they are noise."""
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Strengths:
    """How far images are changed; the defaults change nothing.

    Attributes:
        flip: Probability of a mirrored image.
        rotate: Largest rotation in degrees, either way.
        crop: Smallest share of the area that a random crop keeps; its aspect varies by up to 4/3.
        jitter: Brightness, contrast and saturation vary by factors in [1 - jitter, 1 + jitter], hue by jitter / 4
            of a turn either way (as colour jitter in torchvision).
        erase: Probability of a grey rectangle over 2 to 20 % of the image (Zhong et al., "Random Erasing", 2020).
        crop_high: Largest share of the area that a random crop keeps.
        jitter_share: Probability that colours are jittered at all.
        relight: Probability that mean, deviation and smooth shading of the luma are drawn anew. Jitter varies the
            first two, so that two views of one picture stay more alike than two pictures; this leaves nothing of them.
        grey: Probability of an image without colour.
        blur: Probability of a Gaussian blur of sigma 0.1 to 2 pixels at a side of 224 (Chen et al., "SimCLR", 2020,
            appendix A), in proportion at others: 2 pixels would wipe the expression off a face of 48.
        solarise: Probability that pixels of 128 and more are inverted (Grill et al., "BYOL", 2020, appendix B; its
            threshold is half of the range).
    """

    flip: float = 0.0
    rotate: float = 0.0
    crop: float = 1.0
    jitter: float = 0.0
    erase: float = 0.0
    crop_high: float = 1.0
    jitter_share: float = 1.0
    relight: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarise: float = 0.0


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the CPU generator of one epoch's order and changes: the same on every device."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def resize(images: Tensor, size: int) -> Tensor:
    """Return images `(B, C, S, S)` at `(B, C, size, size)`, bilinear."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


def augment(images: Tensor, chance: Tensor, strengths: Strengths, size: int) -> Tensor:
    """Change each image by its own row of random numbers.

    Args:
        images: Float `(B, 3, S, S)`, RGB in [0, 255].
        chance: `(B, COLUMNS)`, uniform in [0, 1), on the images' device; `(B, VIEW_COLUMNS)` where `jitter_share`,
            `relight`, `grey`, `blur` or `solarise` is used.
        strengths: How far to go.
        size: Side of the result.

    Returns:
        Float `(B, 3, size, size)` in [0, 255].
    """
    theta = _geometry(chance[:, :6], strengths)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if strengths.jitter:
        recoloured = _recolour(images, chance[:, 6:10], strengths.jitter)
        always = strengths.jitter_share >= 1
        images = recoloured if always else _some(chance[:, 15], strengths.jitter_share, recoloured, images)
    if strengths.relight:
        images = _some(chance[:, 20], strengths.relight, _relight(images, chance[:, 21:28]), images)
    if strengths.grey:
        images = _some(chance[:, 16], strengths.grey, _grey(images), images)
    if strengths.blur:
        images = _some(chance[:, 17], strengths.blur, _blur(images, chance[:, 18]), images)
    if strengths.solarise:
        inverted = torch.where(images >= 128, 255 - images, images)
        images = _some(chance[:, 19], strengths.solarise, inverted, images)
    if strengths.erase:
        images = _erase(images, chance[:, 10:15], strengths.erase)
    return images


def _geometry(chance: Tensor, strengths: Strengths) -> Tensor:
    """Return the maps from output to input coordinates, `(B, 2, 3)`: crop, flip and rotation in one."""
    area = strengths.crop + (strengths.crop_high - strengths.crop) * chance[:, 0]
    # The aspect is log-uniform in [3/4, 4/3], or in less where a side would outgrow the image.
    aspect = torch.exp((chance[:, 1] * 2 - 1) * (-area.log()).clamp(max=math.log(4 / 3)))
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    shift_x = (1 - width) * (chance[:, 2] * 2 - 1)
    shift_y = (1 - height) * (chance[:, 3] * 2 - 1)
    mirrored = torch.where(chance[:, 4] < strengths.flip, -width, width)
    angle = (chance[:, 5] * 2 - 1) * math.radians(strengths.rotate)
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([cos * mirrored, -sin * height, shift_x], dim=1)
    second = torch.stack([sin * mirrored, cos * height, shift_y], dim=1)
    return torch.stack([first, second], dim=1)


def _some(chance: Tensor, probability: float, changed: Tensor, images: Tensor) -> Tensor:
    """Return the changed images where chance falls below the probability, and exactly the others elsewhere."""
    return torch.where((chance < probability)[:, None, None, None], changed, images)


def _recolour(images: Tensor, chance: Tensor, jitter: float) -> Tensor:
    """Apply brightness, contrast, saturation and hue as one 3x3 matrix and one offset per image."""
    factor = 1 + jitter * (chance[:, :3] * 2 - 1)
    brightness, contrast, saturation = factor[:, 0], factor[:, 1], factor[:, 2]
    turn = (chance[:, 3] * 2 - 1) * (jitter / 4) * 2 * math.pi
    luma = images.new_tensor(LUMA)
    identity = torch.eye(3, device=images.device)
    keep_luma = luma.expand(3, 3)
    saturate = saturation[:, None, None] * identity + (1 - saturation)[:, None, None] * keep_luma
    matrix = (brightness * contrast)[:, None, None] * (saturate @ _hue(turn))
    # Contrast moves every pixel away from the image's mean grey, which the other changes scale by brightness.
    mean = torch.einsum("bchw,c->b", images, luma) / images[0, 0].numel()
    offset = brightness * (1 - contrast) * mean
    return (torch.einsum("bij,bjhw->bihw", matrix, images) + offset[:, None, None, None]).clamp(0, 255)


def _relight(images: Tensor, chance: Tensor) -> Tensor:
    """Give each image light and contrast that do not depend on what it had.

    The smooth part of the luma, a polynomial of degree 2 fitted by least squares, is replaced by a random one; Rowley,
    Baluja & Kanade (1998), Neural Network-Based Face Detection, section 2.1, take a fitted plane away likewise.

    Args:
        images: `(B, 3, S, S)`.
        chance: `(B, 7)`: mean, deviation, and one number for each of the field's five coefficients.
    """
    luma = torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA)).flatten(1)
    basis = _smooth_light(images.shape[-1], images.device)
    shading = luma.mean(dim=1, keepdim=True) + luma @ basis.T / basis.shape[1] @ basis
    spread = (luma - shading).std(dim=1, correction=0, keepdim=True).clamp(min=FLATTEST)
    field = (2 * chance[:, 2:] - 1) * chance.new_tensor(FIELD) @ basis
    light = LIGHT[0] + (LIGHT[1] - LIGHT[0]) * chance[:, :1]
    contrast = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * chance[:, 1:2]
    # It is at least 1 unless the picture is flat, which stays so.
    factor = contrast / ((luma - shading) / spread + field).std(dim=1, correction=0, keepdim=True).clamp(min=1)
    offset = (light + factor * (field - shading / spread)).view(-1, 1, *images.shape[-2:])
    return (images * (factor / spread)[..., None, None] + offset).clamp(0, 255)


@lru_cache(maxsize=16)
def _smooth_light(side: int, device: torch.device) -> Tensor:
    """Return products of Legendre polynomials of degree 1 and 2 over a square, `(5, side * side)`, mean square 1."""
    middle = (2 * torch.arange(side, device=device) + 1) / side - 1
    across, down = middle.expand(side, side), middle[:, None].expand(side, side)
    one, two = math.sqrt(3), math.sqrt(5) / 2
    parts = [one * across, one * down, 3 * across * down, two * (3 * across**2 - 1), two * (3 * down**2 - 1)]
    return torch.stack(parts).flatten(1)


def _hue(turn: Tensor) -> Tensor:
    """Return rotations about the grey axis, `(B, 3, 3)` (Rodrigues' formula with axis (1, 1, 1) / sqrt 3)."""
    cross = turn.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = turn.cos()[:, None, None], turn.sin()[:, None, None]
    return cos * torch.eye(3, device=turn.device) + (1 - cos) / 3 + sin * cross


def _grey(images: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None].expand_as(images)


def _blur(images: Tensor, chance: Tensor) -> Tensor:
    """Apply a Gaussian of each image's own sigma, cut off at about a twentieth of the side, with reflected edges."""
    batch, channels, side, _ = images.shape
    reach = max(side // 20, 1)
    sigma = (0.1 + 1.9 * chance) * side / PAPER_SIDE
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.exp(-((offsets / sigma[:, None]) ** 2) / 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    # Every channel of every image is a channel of one picture with a kernel of its own: two convolutions for the batch.
    groups = batch * channels
    planes = F.pad(images.reshape(1, groups, side, side), [reach] * 4, mode="reflect")
    planes = F.conv2d(planes, kernels[:, None, None, :], groups=groups)
    planes = F.conv2d(planes, kernels[:, None, :, None], groups=groups)
    return planes.reshape(images.shape)


def _erase(images: Tensor, chance: Tensor, probability: float) -> Tensor:
    size = images.shape[-1]
    area = 0.02 + 0.18 * chance[:, 1]
    aspect = torch.exp((chance[:, 2] * 2 - 1) * math.log(3))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left, top = (1 - width) * chance[:, 3], (1 - height) * chance[:, 4]
    middle = (torch.arange(size, device=images.device) + 0.5) / size
    across = (middle >= left[:, None]) & (middle < (left + width)[:, None])
    down = (middle >= top[:, None]) & (middle < (top + height)[:, None])
    hit = (chance[:, 0] < probability)[:, None, None] & down[:, :, None] & across[:, None, :]
    return images.masked_fill(hit[:, None], GREY)
