"""How much of a network learns: its head alone, or its layers at rates that fall towards the input."""

import re

from torch import nn

from fer.errors import ConfigError
from fer.models.backbones import head_names
from fer.training.optimization import OptimizationSettings

Part = tuple[list[str], float, bool]
"""Names of parameters, their rate as a multiple of `lr`, and whether they belong to the backbone."""

_STAGED = re.compile(r"layer\d+\.\d+\.")
# Of a convolutional stem only the number of the stage, of a stage of blocks the block's number too.
_NUMBERED = re.compile(r"features\.\d+\.(\d+\.(?=block))?")
BLOCKS = {
    "resnet": _STAGED,
    "resnext": _STAGED,
    "wide_resnet": _STAGED,
    # The even numbers are the stem and what halves the map between two stages.
    "convnext": re.compile(r"features\.[1357]\.\d+\."),
    "swin": re.compile(r"features\.[1357]\.\d+\."),
    "vit": re.compile(r"encoder\.layers\.encoder_layer_\d+\."),
    "mobilenet": _NUMBERED,
    "efficientnet": _NUMBERED,
}
"""The part of a parameter's name that tells its block, by the beginning of torchvision's name of the architecture."""


def check_layers(arch: str, layer_decay: float) -> None:
    """Refuse a layer-wise decay of the learning rate where the layers are not known.

    Raises:
        ConfigError: The architecture is of no family in `BLOCKS`.
    """
    if _blocks_of(arch) is None:
        families = ", ".join(BLOCKS)
        raise ConfigError(
            f"layer_decay={layer_decay:g} is known for the layers of {families}, not for those of {arch}: "
            "leave layer_decay out, or choose such an arch"
        )


def _blocks_of(arch: str) -> re.Pattern[str] | None:
    return next((blocks for family, blocks in BLOCKS.items() if arch.startswith(family)), None)


def layer_numbers(network: nn.Module, arch: str) -> dict[str, int]:
    """Number the layers of a network from its input: the stem or embeddings are 0, then each block is a layer.

    What lies between two blocks, as the halving of the map between two stages, belongs to the one after it; what
    follows the last, as a last normalisation, to the head. This is how BEiT (Bao et al., 2022) and MAE (He et al.,
    2022) number a ViT; nets of stages are numbered by block alike, not by stage, so that a decay means about the same
    for nets of equal depth.

    Args:
        network: A classifier on one of torchvision's backbones.
        arch: torchvision's name of it, of a family in `BLOCKS`.

    Returns:
        The layer of each parameter by name; the head's is the highest.
    """
    pattern = _blocks_of(arch)
    assert pattern is not None
    names = [name for name, _ in network.named_parameters()]
    matches = {name: pattern.search(name) for name in names}
    first = next(index for index, name in enumerate(names) if matches[name])
    owners = dict.fromkeys(names[:first], "stem")
    owner = "head"
    # Backwards, so that a parameter without a block of its own falls to the block after it.
    for name in reversed(names[first:]):
        match = matches[name]
        owner = match.group() if match else owner
        owners[name] = owner
    order = list(dict.fromkeys(owners[name] for name in names))
    return {name: order.index(owners[name]) for name in names}


def rate_parts(network: nn.Module, settings: OptimizationSettings) -> list[Part]:
    """Divide a network's parameters by their learning rate, from the head down.

    A parameter of layer l of L, the head's, learns at `layer_decay ** (L - l)` times the rate: Bao et al. (2022), BEiT,
    and He et al. (2022), Masked Autoencoders Are Scalable Vision Learners, fine-tune so. The head's own is multiplied
    by `head_lr`.

    Args:
        network: A classifier.
        settings: Give `arch`, `layer_decay` and `head_lr`.

    Returns:
        The head first, whose rate a training records.
    """
    head = head_names(network)
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    layers = layer_numbers(network, settings.arch) if settings.layer_decay < 1 else dict.fromkeys(names, 0)
    highest = max(layers.values())
    parts: list[Part] = [([name for name in names if name in head], settings.head_lr, False)]
    for layer in range(highest, -1, -1):
        own = [name for name in names if layers[name] == layer and name not in head]
        if own:
            parts.append((own, settings.layer_decay ** (highest - layer), True))
    return parts


def set_backbone_learning(network: nn.Module, learns: bool) -> None:
    """Let a network's backbone learn, or freeze all but the head.

    A frozen backbone computes as in a test: batch norm keeps its statistics, and there is no dropout, in front of the
    head neither. Its weights get no gradients, so nothing is kept for them and a step is much faster.

    Args:
        network: A classifier in training mode.
        learns: Whether all of it learns.
    """
    head = head_names(network)
    for name, parameter in network.named_parameters():
        if name not in head:
            parameter.requires_grad_(learns)
    # A head is one linear layer or convolution, which computes the same in both modes.
    network.train(learns)
