"""Find a backbone in a file of weights, whatever stands before its tensors' names."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, get_model

from fer.expressions import EXPRESSIONS
from fer.models.backbones import head_names
from fer.models.vision_transformer import (
    NORM_LAYER,
    PATCH_NORM,
    POSITIONS,
    TIMM_EXTRAS,
    resize_positions,
    side_in_patches,
    timm_name,
)

AVERAGE_WORDS = frozenset({"momentum", "target", "ema", "average", "averaged", "key", "k", "m"})
"""Words in the prefix of a network that only follows the trained one, as a moving average of its weights."""
USUAL_ARCHS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vit_b_16",
    "vit_b_32",
    "vit_l_16",
    "mobilenet_v2",
    "efficientnet_b0",
    "convnext_tiny",
    "swin_t",
)
"""Architectures that a file is compared with when it is not of the one wanted."""


@dataclass(frozen=True)
class NetworkMatch:
    """A network of a file that has a backbone's first and last convolution or linear layer.

    Attributes:
        prefix: What stands before its tensors' names.
        names: The file's names of the backbone's tensors, by the backbone's.
        fitting: How many of them have the backbone's shape.
        fault: Why it is not the backbone; empty: it is.
        note: What a user should know of it, or empty.
    """

    prefix: str
    names: dict[str, str]
    fitting: int
    fault: str = ""
    note: str = ""


def networks_of(backbone: nn.Module, state: Mapping[str, Tensor]) -> list[NetworkMatch]:
    """Find the networks of a file that have a backbone's first and last layer, in the file's order.

    Args:
        backbone: One of torchvision's classification models, with its head or with an identity in the head's place.
        state: The file's tensors, under torchvision's names or, for a vision transformer, under timm's.
    """
    networks = _find(backbone, state, lambda name: name)
    if isinstance(backbone, VisionTransformer):
        networks += _find(backbone, state, timm_name, TIMM_EXTRAS)
    return networks


def best_network(networks: Sequence[NetworkMatch]) -> NetworkMatch:
    """Choose the network that a backbone's weights are taken from, of those that `networks_of` returns.

    Of several that fit, one that was trained comes before its moving average: MoCo's `encoder_q` before `encoder_k`,
    BYOL's `online_network` before `target_network`. Only of a `student` and a `teacher` the latter is taken, as in
    DINO, whose authors evaluate and publish the teacher.
    """
    return max(networks, key=_preference)


def guess_arch(state: Mapping[str, Tensor]) -> str:
    """Return which of `USUAL_ARCHS` a file's tensors belong to, or an empty text."""
    for arch in USUAL_ARCHS:
        # Names and shapes are enough, so that nothing is computed or stored.
        with torch.device("meta"):
            backbone = get_model(arch, weights=None, num_classes=len(EXPRESSIONS))
        networks = networks_of(backbone, state)
        if networks and not best_network(networks).fault:
            return arch
    return ""


def take_tensors(
    backbone: nn.Module, network: NetworkMatch, state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Return a network's tensors under the backbone's names, without those of another shape, such as other heads.

    Position embeddings of another image size are interpolated.

    Args:
        backbone: What they are for.
        network: One without a fault.
        state: The file's tensors.

    Returns:
        The tensors, and what was done with the position embeddings, or an empty text.
    """
    own = backbone.state_dict()
    tensors = {name: state[file_name] for name, file_name in network.names.items()}
    note = ""
    if isinstance(backbone, VisionTransformer) and POSITIONS in tensors:
        before, after = side_in_patches(tensors[POSITIONS]), side_in_patches(own[POSITIONS])
        if before != after:
            tensors[POSITIONS] = resize_positions(tensors[POSITIONS], backbone)
            note = f"position embeddings interpolated from {before} x {before} to {after} x {after} patches"
    fitting = {name: tensor for name, tensor in tensors.items() if tensor.shape == own[name].shape}
    return fitting, note


def _preference(network: NetworkMatch) -> tuple[bool, int, int]:
    words = set(re.split(r"[._]", network.prefix))
    if words & AVERAGE_WORDS:
        rank = 0
    elif "student" in words:
        rank = 1
    else:
        rank = 2 if "teacher" in words else 3
    return not network.fault, rank, network.fitting


def _find(
    backbone: nn.Module,
    state: Mapping[str, Tensor],
    naming: Callable[[str], str],
    extras: tuple[str, ...] = (),
) -> list[NetworkMatch]:
    """Find networks whose tensors carry the names that `naming` gives the backbone's."""
    kernels = [name for name in _trunk_names(backbone) if backbone.get_parameter(name).ndim in (2, 4)]
    first, last = naming(kernels[0]), naming(kernels[-1])
    names = {name: naming(name) for name in backbone.state_dict()}
    # First parts of names, such as `layer3`: what else a file has there belongs to a deeper or another network.
    roots = {naming(name).partition(".")[0] for name in _trunk_names(backbone)} | set(extras)
    networks = []
    for key in state:
        prefix = key.removesuffix(first)
        is_prefix = prefix != key and (not prefix or prefix.endswith("."))
        if is_prefix and prefix + last in state:
            networks.append(_describe(backbone, state, prefix, names, roots))
    return networks


def _trunk_names(backbone: nn.Module) -> list[str]:
    """Return the names of a backbone's parameters outside its head, from the input to the features."""
    head = _head_module(backbone)
    return [name for name, _ in backbone.named_parameters() if name.partition(".")[0] != head]


def _head_module(backbone: nn.Module) -> str:
    # The last module is the head in all of torchvision's classification models. It may hold further layers, which
    # files of a bare feature extractor lack.
    return [name for name, _ in backbone.named_children()][-1]


def _needed_names(backbone: nn.Module) -> list[str]:
    """Return the names of what a backbone outside its head cannot do without, batch norm's statistics among it.

    A deeper network of the same family has all the names of a shallower one and more: without these it would be fresh
    in the middle.
    """
    head = _head_module(backbone)
    # Integers are counters and indices, which follow from the architecture or change nothing.
    tensors = {name: tensor for name, tensor in backbone.state_dict().items() if tensor.is_floating_point()}
    return [name for name in tensors if name.partition(".")[0] != head]


def _describe(
    backbone: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    names: Mapping[str, str],
    roots: set[str],
) -> NetworkMatch:
    own = backbone.state_dict()
    has_patch_norm = prefix + PATCH_NORM in state
    given = {name: prefix + file_name for name, file_name in names.items() if prefix + file_name in state}
    misshapen = [name for name, key in given.items() if state[key].shape != own[name].shape]
    # A head has as many rows as it was trained for classes, ImageNet's 1,000 for instance; positions are interpolated.
    may_differ = head_names(backbone) | {POSITIONS}
    foreign = [name for name in misshapen if name not in may_differ]
    extra = [key for key in _others(state, prefix, given) if key.removeprefix(prefix).partition(".")[0] in roots]
    missing = [name for name in _needed_names(backbone) if name not in given]
    # A fresh norm changes no direction, and nothing else is fresh then.
    lacking = [name for name in missing if not (has_patch_norm and name.startswith(NORM_LAYER))]
    fault = ""
    if foreign:
        shapes = " x ".join(str(side) for side in state[given[foreign[0]]].shape)
        fault = f"{given[foreign[0]]} has another shape ({shapes})"
    elif extra:
        fault = f"it also has {extra[0]}, for which there is no place"
    elif lacking:
        fault = f"it lacks {prefix}{names[lacking[0]]} and {len(lacking) - 1} more tensors"
    elif POSITIONS in misshapen and not side_in_patches(state[given[POSITIONS]]):
        fault = f"{given[POSITIONS]} is not one position for a class token and a square of them for patches"
    note = ""
    if has_patch_norm and missing:
        note = f"trained on the mean of all patches ({PATCH_NORM}), so the norm of the class token starts fresh"
    return NetworkMatch(prefix, given, len(given) - len(misshapen), fault, note)


def _others(state: Mapping[str, Tensor], prefix: str, given: Mapping[str, str]) -> list[str]:
    """Return a file's names under a prefix that are none of the backbone's."""
    used = set(given.values())
    return [key for key in state if key.startswith(prefix) and key not in used]
