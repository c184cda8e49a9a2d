"""Starting weights: had from a name, a file or a folder, and put into a backbone."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor

from fer.errors import ConfigError, ModelError, unknown_name
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Classifier, Encoder, ModelSpec, head_names
from fer.models.catalogue import CATALOGUE, Entry, cache, download
from fer.models.files import read_file, read_folder, tensors_of

NAMES = ("scratch", "supervised-imagenet", *CATALOGUE)
ADDRESSES = ("runs:/", "models:/")
PREFIXES = (
    "",
    "module.",
    "backbone.",
    "network.backbone.",
    "model.",
    "encoder.",
    "encoder.backbone.",
    "online_network.encoder.",
)
"""What other trainers put before torchvision's names."""

IMAGENET_TERMS = "ImageNet weights: torchvision BSD-3; the images are for non-commercial research"


@dataclass(frozen=True)
class InitialWeights:
    """Starting weights and what must travel with them.

    Attributes:
        name: What `init` said.
        state: Tensors by name; None: from scratch.
        mean: Pixel mean per channel they were trained with, for pixels in [0, 1].
        std: Pixel standard deviation per channel, likewise.
        terms: Terms they bring; empty if none are known.
        trained_on: Data sets of this project they were fitted to.
        training_images: The training splits they saw with labels, as in `ModelSpec`.
        pretraining_images: Those they saw without labels.
        run_id: The run they come from, or empty.
        origin: Where they come from, for people.
        arch: The backbone they belong to; empty: not said.
    """

    name: str
    state: dict[str, Tensor] | None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    terms: str = ""
    trained_on: tuple[str, ...] = ()
    run_id: str = ""
    origin: str = ""
    arch: str = ""
    training_images: tuple[str, ...] = ()
    pretraining_images: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadReport:
    """What loading put into a backbone.

    Attributes:
        origin: Where the weights came from.
        matched: Number of tensors loaded.
        missing: Tensors of the backbone that keep their fresh values, the head among them.
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
        named = f" ({', '.join(self.missing[:4])})" if self.missing else ""
        return (
            f"weights: {self.origin}: {self.matched} tensors matched, {len(self.missing)} missing{named}, "
            f"{len(self.unexpected)} unexpected"
        )


def check_init(init: str) -> None:
    """Refuse a starting point that is no known name, file, folder, run or registered model.

    Raises:
        ConfigError: As said.
    """
    if init not in NAMES and not init.startswith(ADDRESSES) and not Path(init).expanduser().exists():
        others = "a file or folder that exists, runs:/<id> or models:/<name>@<alias>"
        raise ConfigError(f"{unknown_name('init', init, NAMES)} (or give {others})")


def resolve_init(init: str, arch: str) -> InitialWeights:
    """Return the starting weights that a name, a file or a folder stands for.

    Args:
        init: `scratch`, `supervised-imagenet`, a name of the catalogue, a folder as `weights_from_folder` takes it, or
            a file of named tensors (plain, or under `state_dict` or `model`; torch or safetensors), prefixed or not.
        arch: The backbone they are for.

    Raises:
        ConfigError: There is no such name, file or folder.
        ModelError: The file cannot be had or read, or is of another architecture.
    """
    check_init(init)
    if init == "scratch":
        return InitialWeights(init, None, origin=init)
    if init == "supervised-imagenet":
        return _supervised(arch)
    if init in CATALOGUE:
        return _of_entry(CATALOGUE[init], arch)
    path = Path(init).expanduser()
    return replace(weights_from_folder(path) if path.is_dir() else _of_file(path), name=init, origin=init)


def weights_from_folder(path: Path) -> InitialWeights:
    """Return the backbone of the encoder or classifier in a folder.

    Args:
        path: A folder that holds, at any depth, what `save_encoder` or `save_classifier` wrote.

    Raises:
        ModelError: It holds none or several, they cannot be read, or its expressions are ordered differently.
    """
    spec, state = read_folder(path)
    return _described(str(path), state, spec)


def load_initial_weights(model: Classifier | Encoder, start: InitialWeights) -> LoadReport:
    """Put starting weights into a model's backbone, leaving a head of another size fresh.

    Args:
        model: Changed in place.
        start: The weights; their names may carry one of `PREFIXES`.

    Raises:
        ModelError: They match nothing, or belong to another architecture.
    """
    own = model.backbone.state_dict()
    if start.state is None:
        return LoadReport(start.origin, 0, tuple(own), ())
    _check_arch(start.origin, start.arch, model.spec.arch)
    state = start.state
    prefix = max(PREFIXES, key=lambda begin: sum(begin + name in state for name in own))
    given = {name: state[prefix + name] for name in own if prefix + name in state}
    head = head_names(model.backbone)
    matched = {name: tensor for name, tensor in given.items() if tensor.shape == own[name].shape}
    foreign = sorted(name for name in given if name not in matched and name not in head)
    if not matched or foreign:
        why = f"{foreign[0]} has another shape" if foreign else "no tensor matches"
        raise ModelError(f"{start.origin} holds no weights of {model.spec.arch}: {why}")
    model.backbone.load_state_dict(matched, strict=False)
    missing = tuple(name for name in own if name not in matched)
    unexpected = tuple(name for name in state if not name.startswith(prefix) or name.removeprefix(prefix) not in own)
    return LoadReport(start.origin, len(matched), missing, unexpected, start.terms)


def supervised_file(arch: str) -> tuple[Any, Path]:
    """Return torchvision's first ImageNet weights of an architecture, and their place in the cache."""
    choices = torchvision.models.get_model_weights(arch)
    weights = getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)
    return weights, cache() / weights.url.rsplit("/", 1)[1]


def _supervised(arch: str) -> InitialWeights:
    weights, place = supervised_file(arch)
    digest = re.search(r"-([0-9a-f]{8,})\.", place.name)  # torchvision's file names end in their first digits
    download(weights.url, place, digest[1] if digest else "")
    pixels = weights.transforms()
    licence = weights.meta.get("license", "")
    return InitialWeights(
        "supervised-imagenet", tensors_of(read_file(place), place), tuple(pixels.mean), tuple(pixels.std),
        IMAGENET_TERMS + (f"; these weights: {licence}" if licence else ""), origin=f"supervised-imagenet ({arch})",
    )  # fmt: skip


def _of_entry(entry: Entry, arch: str) -> InitialWeights:
    _check_arch(entry.name, entry.arch, arch)
    download(entry.address, entry.place, entry.sha256)
    state = entry.renamed(tensors_of(read_file(entry.place), entry.place))
    terms = f"{entry.name}: {entry.terms}"
    return InitialWeights(
        entry.name, state, entry.mean, entry.std, terms, origin=f"{entry.name} ({entry.arch})", arch=entry.arch
    )  # fmt: skip


def _of_file(path: Path) -> InitialWeights:
    content = read_file(path)
    state, spec = tensors_of(content, path), content.get("spec")
    if not isinstance(spec, dict) or "expressions" not in spec:
        return InitialWeights(str(path), state, origin=str(path))
    return _described(str(path), state, ModelSpec.from_dict(spec, str(path)))


def _described(origin: str, state: dict[str, Tensor], spec: ModelSpec) -> InitialWeights:
    terms = "; ".join(spec.terms)
    return InitialWeights(
        origin, state, spec.mean, spec.std, terms, spec.trained_on, origin=origin, arch=spec.arch,
        training_images=spec.training_images, pretraining_images=spec.pretraining_images,
    )  # fmt: skip


def _check_arch(origin: str, theirs: str, wanted: str) -> None:
    if theirs and theirs != wanted:
        raise ModelError(f"{origin} holds weights of {theirs}, not of {wanted}: give arch={theirs}")
