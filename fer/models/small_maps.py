"""Faster training of convolutions over the few positions that a backbone's last layers see of a small face.

At 2 x 2 positions torch's convolutions train at a fraction of what a CPU can do, and half of a ResNet-18's training
step on faces of 48 or 64 pixels is spent there (`benchmarks/throughput.py`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_POSITIONS = 9
"""Most output positions, 3 x 3, for which the product is faster."""


class SmallMapConv2d(nn.Conv2d):
    """A convolution that is computed as a matrix product where that trains faster.

    That is in training, on a CPU, with at most `MAX_POSITIONS` output positions. Elsewhere, so also in a tested,
    exported or served network, it is `nn.Conv2d`. The two differ by rounding only.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H', W')`."""
        height, width = (self._output_side(input, axis) for axis in (0, 1))
        small = height * width <= MAX_POSITIONS
        if small and self.training and torch.is_grad_enabled() and input.device.type == "cpu":
            return self._matrix_product(input, height, width)
        return super().forward(input)

    def _output_side(self, images: Tensor, axis: int) -> int:
        padded = images.shape[2 + axis] + 2 * int(self.padding[axis])
        return (padded - self.kernel_size[axis]) // self.stride[axis] + 1

    def _matrix_product(self, images: Tensor, height: int, width: int) -> Tensor:
        down, across = self.stride
        top, left = (int(padding) for padding in self.padding)
        # Channels last, so that the channels of one kernel position lie side by side.
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
        patches = []
        for row in range(self.kernel_size[0]):
            rows = slice(row, row + (height - 1) * down + 1, down)
            for column in range(self.kernel_size[1]):
                columns = slice(column, column + (width - 1) * across + 1, across)
                patches.append(padded[:, rows, columns])
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(torch.cat(patches, dim=-1), weight, self.bias).permute(0, 3, 1, 2)


def train_small_maps_fast(network: nn.Module) -> None:
    """Make `SmallMapConv2d` of a network's plain convolutions: of one group, undilated, padded by zeros.

    Names, parameters and results stay as they are.
    """
    for layer in network.modules():
        # Subclasses may compute something else.
        if type(layer) is not nn.Conv2d or layer.groups > 1 or layer.dilation != (1, 1):
            continue
        if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            layer.__class__ = SmallMapConv2d
