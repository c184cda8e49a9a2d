"""Convolutions over the few positions that a backbone's last layers see of a small face, trained as matrix products.

At 2 x 2 positions torch's convolutions train at a fraction of what a CPU can do, and half of a ResNet-18's training
step on faces of 48 or 64 pixels is spent there (`benchmarks/throughput.py`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 9
"""Most output positions, 3 x 3, for which the product is faster."""


class SmallMapConv2d(nn.Conv2d):
    """A convolution that is computed as a matrix product where that trains faster.

    That is in training, on a CPU, with at most `FEW` output positions. Elsewhere, so also in a tested, exported or
    served network, it is `nn.Conv2d`. The two differ by rounding only.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `(N, out, H', W')` of `(N, in, H, W)`."""
        high, wide = self._positions(input)
        if self.training and torch.is_grad_enabled() and input.device.type == "cpu" and high * wide <= FEW:
            return self._product(input, high, wide)
        return super().forward(input)

    def _margins(self) -> tuple[int, int]:
        assert isinstance(self.padding, tuple)
        return self.padding[0], self.padding[1]

    def _positions(self, images: Tensor) -> tuple[int, int]:
        """Return height and width of the output."""
        sides = zip(images.shape[-2:], self.kernel_size, self.stride, self._margins(), strict=True)
        high, wide = ((side + 2 * margin - kernel) // stride + 1 for side, kernel, stride, margin in sides)
        return high, wide

    def _product(self, images: Tensor, high: int, wide: int) -> Tensor:
        (top, left), (down, across) = self._margins(), self.stride
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
        shifted = [
            padded[:, row : row + (high - 1) * down + 1 : down, column : column + (wide - 1) * across + 1 : across]
            for row in range(self.kernel_size[0])
            for column in range(self.kernel_size[1])
        ]
        seen = torch.cat(shifted, dim=-1)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(seen, weight, self.bias).permute(0, 3, 1, 2)


def train_small_maps_fast(network: nn.Module) -> None:
    """Make `SmallMapConv2d` of a network's plain convolutions: of one group, undilated, padded by zeros.

    Names, parameters and results stay as they are.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.groups == 1 and layer.dilation == (1, 1) and _padded_by_zeros(layer):
            layer.__class__ = SmallMapConv2d


def _padded_by_zeros(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
