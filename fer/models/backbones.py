"""Classifiers and encoders on torchvision's backbones, and the specification that rebuilds them."""

import dataclasses
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from fer.errors import LONGEST_QUOTE, ConfigError, ModelError, quoted, shortened, unknown_name
from fer.expressions import EXPRESSIONS, check_order
from fer.portable.json_files import check_kinds
from fer.portable.specification import check_ranges

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MODEL_FORMAT = 1
"""Raised whenever a specification or the names of a model's tensors change."""
# At 2 x 2 positions torch's convolutions train at a fraction of what a CPU can do, and half of a ResNet-18's training
# step on faces of 48 or 64 pixels is spent there (`benchmarks/throughput.py`).
MAX_POSITIONS = 9
"""Most output positions, 3 x 3, for which a convolution is faster as a matrix product."""


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to rebuild a classifier or encoder without this project; stored beside the weights.

    Attributes:
        arch: torchvision's name of the backbone.
        image_size: Side of the network's input in pixels.
        arch_options: Further arguments of torchvision's builder.
        mean: Pixel mean per channel, for pixels in [0, 1].
        std: Pixel standard deviation per channel.
        expressions: Names of the outputs, in order.
        trained_on: Data sets whose images the weights were fitted to.
        terms: Terms inherited from starting weights and training sets.
        training_counts: Training images of each expression, of those that were used; empty: not known.
        training_prior: Fraction of each expression in the training loss: those counts times the class weights; once
            calibrated, the fraction the model itself gives them on average; empty: not known.
        temperature: What the outputs are divided by before the softmax; 1 for a model that was not calibrated.
        framing: What it expects of a picture: `detect`, a framed face, or `none`, the whole picture as a square.
        crop_size: Side in pixels at which faces are cut out of their pictures, to be enlarged to `image_size`: that of
            the training faces, whose sharpness it gives to all others. 0 stands for `image_size`.
        training_images: `<set>/<digest>` of the training splits whose images were seen with their labels.
        pretraining_images: Likewise of those whose images were seen without labels.
    """

    arch: str
    image_size: int
    arch_options: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    expressions: tuple[str, ...] = EXPRESSIONS
    trained_on: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    training_counts: tuple[int, ...] = ()
    training_prior: tuple[float, ...] = ()
    temperature: float = 1.0
    framing: str = "detect"
    crop_size: int = 0
    training_images: tuple[str, ...] = ()
    pretraining_images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.crop_size:
            # The class is frozen.
            object.__setattr__(self, "crop_size", self.image_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON-able values, with the version of their format."""
        return {"format": MODEL_FORMAT, **asdict(self)}

    @staticmethod
    def from_dict(values: dict[str, Any], source: str) -> "ModelSpec":
        """Read the specification that a file carries.

        Args:
            values: What `to_dict` gave.
            source: The file, for messages.

        Raises:
            ModelError: It is of another format, keys are missing, unknown or of another kind, its expressions differ
                in name or order, or a value is out of range.
        """
        # JSON knows lists only.
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        if fields.pop("format", None) != MODEL_FORMAT:
            raise ModelError(f"{source} was written by another version of fer: train the model again")
        try:
            check_kinds(fields, {item.name: item.type for item in dataclasses.fields(ModelSpec)})
            check_order(fields.get("expressions", EXPRESSIONS), source)
            spec = ModelSpec(**fields)
            options = arch_options(spec.arch, spec.image_size)
            check_ranges(asdict(spec))
        except (ConfigError, TypeError, ValueError) as error:
            reason = shortened(str(error), 2 * LONGEST_QUOTE)
            raise ModelError(f"{source} does not describe a model of this project: {reason}") from None
        if spec.arch_options != options:
            raise ModelError(f"{source} is damaged: arch_options must be {options}, not {quoted(spec.arch_options)}")
        prior = spec.training_prior
        are_fractions = all(0 <= fraction <= 1 for fraction in prior)
        if len(prior) not in (0, len(EXPRESSIONS)) or not are_fractions:
            requirement = f"training_prior must hold {len(EXPRESSIONS)} fractions or none"
            raise ModelError(f"{source} is damaged: {requirement}, not {quoted(list(prior))}")
        return spec


class _NormalizedBackbone(nn.Module):
    """A backbone behind its pixel normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone: nn.Module = torchvision.models.get_model(
            spec.arch,
            weights=None,
            num_classes=len(EXPRESSIONS),
            **spec.arch_options,
        )
        mean = 255 * torch.tensor(spec.mean).view(1, 3, 1, 1)
        std = 255 * torch.tensor(spec.std).view(1, 3, 1, 1)
        # The specification holds these; as persistent buffers they would be a second truth.
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(N, 3, H, W)`, RGB in [0, 255], to `(N, outputs)`."""
        outputs: Tensor = self.backbone((images - self.mean) / self.std)
        return outputs


class Classifier(_NormalizedBackbone):
    """Maps images to logits `(N, 7)` in the order of `EXPRESSIONS`."""


class Encoder(_NormalizedBackbone):
    """Maps images to features `(N, features)`: a backbone without its last linear layer.

    Attributes:
        spec: As a classifier's; its expressions play no part.
        features: Number of features.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.features = remove_head(self.backbone, spec.arch)


def remove_head(backbone: nn.Module, arch: str) -> int:
    """Replace a backbone's last linear layer by the identity and return how many features entered it.

    Raises:
        ConfigError: The architecture does not end in a linear layer.
    """
    linear = {name: layer for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)}
    name, head = linear.popitem() if linear else ("", None)
    # A linear layer may stand elsewhere, as in squeeze-and-excitation; only a head has an output per expression.
    if head is None or head.out_features != len(EXPRESSIONS):
        raise ConfigError(f"arch {arch} does not end in a linear layer, so nothing tells its features")
    backbone.set_submodule(name, nn.Identity())
    return head.in_features


def classification_archs() -> list[str]:
    """Return the names of torchvision's classification models."""
    return list(torchvision.models.list_models(module=torchvision.models))


def arch_options(arch: str, image_size: int) -> dict[str, Any]:
    """Return the builder's arguments a backbone needs besides the number of classes.

    Raises:
        ConfigError: torchvision has no such classification model, or it does not take this size.
    """
    if arch not in classification_archs():
        raise ConfigError(unknown_name("arch", arch, classification_archs()))
    if arch.startswith("vit_"):
        patch = int(arch.rsplit("_", 1)[1])
        if image_size % patch:
            raise ConfigError(f"image_size must be a multiple of {patch} for {arch}, not {image_size}")
        return {"image_size": image_size}
    if arch in ("googlenet", "inception_v3"):
        # Auxiliary heads would make them return tuples. Their ImageNet weights expect another normalisation, which
        # transform_input gives.
        return {"aux_logits": False, "init_weights": True, "transform_input": True}
    return {}


def head_names(backbone: nn.Module) -> set[str]:
    """Return the names of the head's tensors."""
    # No other tensor of torchvision's models has seven rows.
    rows = {name: len(tensor) for name, tensor in backbone.state_dict().items() if tensor.ndim}
    return {name for name, count in rows.items() if count == len(EXPRESSIONS)}


class SmallMapConv2d(nn.Conv2d):
    """A convolution that is computed as a matrix product where that trains faster.

    That is in training, on a CPU, with at most `MAX_POSITIONS` output positions, as the last layers of a backbone have
    of a small face. Elsewhere, so also in a tested, exported or served network, it is `nn.Conv2d`. The two differ by
    rounding only.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H', W')`."""
        height, width = (self._output_side(input, axis) for axis in (0, 1))
        is_small = height * width <= MAX_POSITIONS
        is_trained = self.training and torch.is_grad_enabled()
        if is_small and is_trained and input.device.type == "cpu":
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
