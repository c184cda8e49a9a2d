"""Changes of brightness, colour, light and sharpness that `fer.data.augment` makes, each by given random numbers.

Images are float `(B, 3, S, S)`, RGB in [0, 255]; each has its own row of numbers in [0, 1).
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
PAPER_SIDE = 224  # of the pictures for which SimCLR gives its blur in pixels
# Ranges of a relit view's luma. In FER+ nine of ten pictures have a mean in 83-189 and a deviation in 34-76.
LIGHT = (64.0, 192.0)
CONTRAST = (25.0, 80.0)
# Largest coefficients of a relit view's shading, in deviations of its details; at least twice those of FER+.
SHADING = (0.75, 0.75, 0.5, 0.9, 0.75)
MIN_DETAIL = 5.0  # details that deviate less are noise, and are not stretched as far as others


def luma(images: Tensor) -> Tensor:
    """Return the luma `(B, S, S)` of images."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))


def jitter(images: Tensor, numbers: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast, saturation and hue by numbers `(B, 4)`, as colour jitter in torchvision."""
    factors = 1 + strength * (numbers[:, :3] * 2 - 1)
    brightness, contrast, saturation = factors.unbind(dim=1)
    turn = (numbers[:, 3] * 2 - 1) * (strength / 4) * 2 * math.pi
    weights = images.new_tensor(LUMA)
    identity = torch.eye(3, device=images.device)
    kept = saturation[:, None, None] * identity
    saturate = kept + (1 - saturation)[:, None, None] * weights.expand(3, 3)
    # All four are linear in the pixels: one 3x3 matrix and one offset per image replace four passes over them.
    scale = (brightness * contrast)[:, None, None]
    matrix = scale * (saturate @ _hue_rotation(turn))
    # Contrast moves every pixel away from the image's mean grey, which the other changes scale by brightness.
    mean = torch.einsum("bchw,c->b", images, weights) / images[0, 0].numel()
    offset = brightness * (1 - contrast) * mean
    changed = torch.einsum("bij,bjhw->bihw", matrix, images)
    return (changed + offset[:, None, None, None]).clamp(0, 255)


def _hue_rotation(turn: Tensor) -> Tensor:
    """Return rotations about the grey axis, `(B, 3, 3)` (Rodrigues' formula with axis (1, 1, 1) / sqrt 3)."""
    cross = turn.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos = turn.cos()[:, None, None]
    sin = turn.sin()[:, None, None]
    return cos * torch.eye(3, device=turn.device) + (1 - cos) / 3 + sin * cross


def relight(images: Tensor, numbers: Tensor) -> Tensor:
    """Give each image a light and a contrast that do not depend on what it had, by numbers `(B, 7)`.

    The smooth part of the luma, a polynomial of degree 2 fitted by least squares, is replaced by a random one; Rowley,
    Baluja & Kanade (1998), Neural Network-Based Face Detection, section 2.1, take a fitted plane away likewise.
    """
    parts = torch.split(numbers, [1, 1, len(SHADING)], dim=1)
    random_light, random_contrast, random_shading = parts
    grey = luma(images).flatten(1)
    basis = _smooth_basis(images.shape[-1], images.device)
    # Legendre polynomials are orthogonal, so that least squares are products with them.
    fitted = grey @ basis.T / basis.shape[1] @ basis
    shading = grey.mean(dim=1, keepdim=True) + fitted
    detail = _deviation(grey - shading).clamp(min=MIN_DETAIL)
    coefficients = (2 * random_shading - 1) * numbers.new_tensor(SHADING)
    new_shading = coefficients @ basis
    light = LIGHT[0] + (LIGHT[1] - LIGHT[0]) * random_light
    contrast = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * random_contrast
    # The deviation is at least 1 unless the picture is flat, which stays so.
    deviation = _deviation((grey - shading) / detail + new_shading)
    factor = contrast / deviation.clamp(min=1)
    offset = light + factor * (new_shading - shading / detail)
    scale = (factor / detail)[..., None, None]
    return (images * scale + offset.view(-1, 1, *images.shape[-2:])).clamp(0, 255)


def _deviation(values: Tensor) -> Tensor:
    return values.std(dim=1, correction=0, keepdim=True)


@lru_cache(maxsize=16)
def _smooth_basis(side: int, device: torch.device) -> Tensor:
    """Return products of Legendre polynomials of degree 1 and 2 over a square, `(5, side * side)`, mean square 1."""
    middle = (2 * torch.arange(side, device=device) + 1) / side - 1
    x = middle.expand(side, side)
    y = middle[:, None].expand(side, side)
    norm_1, norm_2 = math.sqrt(3), math.sqrt(5) / 2
    parts = [
        norm_1 * x,
        norm_1 * y,
        3 * x * y,
        norm_2 * (3 * x**2 - 1),
        norm_2 * (3 * y**2 - 1),
    ]
    return torch.stack(parts).flatten(1)


def blur(images: Tensor, numbers: Tensor) -> Tensor:
    """Apply a Gaussian of each image's own sigma, by numbers `(B, 1)`, with reflected edges.

    Sigma is 0.1 to 2 pixels at a side of 224 (Chen et al., "SimCLR", 2020, appendix A), in proportion at others.
    """
    batch, channels, side, _ = images.shape
    # Cut off at about a twentieth of the side, where the widest kernel is nearly 0.
    reach = max(side // 20, 1)
    sigma = (0.1 + 1.9 * numbers) * side / PAPER_SIDE
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-((offsets / sigma) ** 2) / 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    kernels = weights.repeat_interleave(channels, dim=0)
    # Every channel of every image becomes a channel of one picture, with a kernel of its own: two grouped
    # convolutions serve the whole batch.
    groups = batch * channels
    planes = images.reshape(1, groups, side, side)
    planes = F.pad(planes, [reach] * 4, mode="reflect")
    planes = F.conv2d(planes, kernels[:, None, None, :], groups=groups)
    planes = F.conv2d(planes, kernels[:, None, :, None], groups=groups)
    return planes.reshape(images.shape)
