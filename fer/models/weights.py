"""Starting weights: where they come from, how they map onto a trunk, and which terms they bring."""

import urllib.error
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from fer.errors import ConfigError, ModelError, unknown_name
from fer.expressions import check_order
from fer.models.backbones import Classifier, head_names

NAMES = ("scratch", "supervised-imagenet")
PREFIXES = ("", "module.", "trunk.", "network.trunk.", "model.", "backbone.", "encoder.")
"""What other trainers put before torchvision's names."""

IMAGENET_TERMS = "ImageNet weights: torchvision BSD-3; the images are for non-commercial research"


@dataclass(frozen=True)
class LoadReport:
    """What loading put into a trunk.

    Attributes:
        origin: Where the weights came from.
        matched: Number of tensors loaded.
        missing: Tensors of the trunk that keep their fresh values, the head among them.
        unexpected: Tensors of the file without a place.
        terms: Terms the weights bring; empty if none are known.
    """

    origin: str
    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    terms: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.matched:
            return f"weights: {self.origin}"
        return (
            f"weights: {self.origin}: {self.matched} tensors matched, {len(self.missing)} missing "
            f"({', '.join(self.missing[:4])}), {len(self.unexpected)} unexpected"
        )


def check_init(init: str) -> None:
    """Refuse a starting point that is neither a known name nor a file.

    Raises:
        ConfigError: As said.
    """
    if init not in NAMES and not Path(init).expanduser().is_file():
        raise ConfigError(unknown_name("init", init, NAMES) + " or a file that exists")


def start_from(classifier: Classifier, init: str) -> LoadReport:
    """Load starting weights into a classifier's trunk, leaving a head of another size fresh.

    Args:
        classifier: Changed in place.
        init: `scratch`, `supervised-imagenet`, or a file: a state dict (plain, or under `state_dict` or `model`;
            torch or safetensors) with torchvision's names, prefixed or not.

    Raises:
        ModelError: The file cannot be had or read, matches nothing, or belongs to another architecture.
    """
    if init == "scratch":
        return LoadReport("scratch", 0, tuple(classifier.trunk.state_dict()), ())
    if init == "supervised-imagenet":
        return _load_into(
            classifier, _imagenet(classifier.spec.arch), f"{init} ({classifier.spec.arch})", IMAGENET_TERMS
        )
    return _load_into(classifier, read_state(Path(init).expanduser()), init, "")


def _imagenet(arch: str) -> dict[str, Tensor]:
    """Return torchvision's first ImageNet weights of an architecture, from the cache or the network."""
    choices = torchvision.models.get_model_weights(arch)
    weights = getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)
    place = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (urllib.error.URLError, OSError) as error:
        raise ModelError(
            f"torchvision's ImageNet weights of {arch} are not in the cache and cannot be downloaded ({error}): "
            f"put {weights.url} at {place}, or start from init=scratch"
        ) from None
    except RuntimeError as error:
        raise ModelError(f"{place} is damaged ({error}): delete it and try again") from None
    return state


def read_file(path: Path) -> dict[str, Any]:
    """Return what a weights file holds, never running code from it.

    Raises:
        ModelError: The file cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign file
        raise ModelError(f"{path} is no weights file: {' '.join(str(error).split())[:160]}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds {type(content).__name__}, not named tensors")
    return content


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a weights file.

    Raises:
        ModelError: The file cannot be read, holds no tensors, or orders its expressions differently.
    """
    content = read_file(path)
    if "spec" in content:
        check_order(content["spec"]["expressions"], str(path))
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), dict):
            content = content[key]
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path} holds no named tensors")
    return state


def _load_into(classifier: Classifier, state: dict[str, Tensor], origin: str, terms: str) -> LoadReport:
    own = classifier.trunk.state_dict()
    prefix = max(PREFIXES, key=lambda start: sum(start + name in state for name in own))
    given = {name: state[prefix + name] for name in own if prefix + name in state}
    head = head_names(classifier.trunk)
    matched = {name: tensor for name, tensor in given.items() if tensor.shape == own[name].shape}
    foreign = sorted(name for name in given if name not in matched and name not in head)
    if not matched or foreign:
        why = f"{foreign[0]} has another shape" if foreign else "no tensor matches"
        raise ModelError(f"{origin} holds no weights of {classifier.spec.arch}: {why}")
    classifier.trunk.load_state_dict(matched, strict=False)
    missing = tuple(name for name in own if name not in matched)
    unexpected = tuple(name for name in state if not name.startswith(prefix) or name.removeprefix(prefix) not in own)
    return LoadReport(origin, len(matched), missing, unexpected, terms)
