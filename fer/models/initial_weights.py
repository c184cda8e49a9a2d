"""Initial weights: found by name, file or folder, and loaded into a backbone."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from fer.errors import ConfigError, ModelError, quoted, unknown_name
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Classifier, Encoder, ModelSpec, head_names
from fer.models.catalogue import CATALOGUE, TORCHVISION_TERMS, Entry, download, supervised_file
from fer.models.files import read_folder
from fer.models.matching import best_network, guess_arch, networks_of, take_tensors
from fer.models.weight_files import averages_beside, read_file, tensors_of

NAMES = ("scratch", "supervised-imagenet", *CATALOGUE)
"""What `init` may be besides files, folders and addresses."""
ADDRESSES = ("runs:/", "models:/")
"""How the addresses of runs and of registered models begin."""
UNKNOWN_PIXELS = "pixels are normalised as for ImageNet, for the file does not say how"
"""What is to be known of other trainers' files."""


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start from, and what must travel with them.

    Attributes:
        origin: Where they come from, for people.
        state: Tensors by name; None: from scratch.
        mean: Pixel mean per channel they were trained with, for pixels in [0, 1].
        std: Pixel standard deviation per channel, likewise.
        terms: Terms they bring; empty if none are known.
        trained_on: Data sets of this project they were fitted to.
        run_id: The run they come from, or empty.
        arch: The backbone they belong to; empty: not known.
        training_images: The training splits they saw with labels, as in `ModelSpec`.
        pretraining_images: Those they saw without labels.
        knows_expressions: Whether a head of as many outputs as there are expressions is known to have them in order.
        notes: What a user should know of how they were read.
    """

    origin: str
    state: dict[str, Tensor] | None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    terms: str = ""
    trained_on: tuple[str, ...] = ()
    run_id: str = ""
    arch: str = ""
    training_images: tuple[str, ...] = ()
    pretraining_images: tuple[str, ...] = ()
    knows_expressions: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadReport:
    """Which tensors were loaded into a backbone.

    Attributes:
        origin: Where the weights came from.
        matched: Number of tensors loaded.
        missing: Tensors of the backbone that keep their fresh values, the head among them.
        unexpected: Tensors of the file without a counterpart.
        prefix: What stood before the names of the tensors loaded.
        notes: Further things a user should know, such as a second network that was not taken.
    """

    origin: str
    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    prefix: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report in one line."""
        if not self.matched:
            return f"weights: {self.origin}"
        # Usually the head alone is missing, so that a few names tell it.
        named = f" ({', '.join(self.missing[:4])})" if self.missing else ""
        under = f" under {self.prefix.removesuffix('.')}" if self.prefix else ""
        counts = (
            f"{self.matched} tensors matched{under}",
            f"{len(self.missing)} missing{named}",
            f"{len(self.unexpected)} unexpected",
        )
        return "; ".join([f"weights: {self.origin}: {', '.join(counts)}", *self.notes])


def check_init(init: str) -> None:
    """Refuse an `init` that is no known name, file, folder, run or registered model.

    Raises:
        ConfigError: As said.
    """
    is_name = init in NAMES or init.startswith(ADDRESSES)
    if not is_name and not Path(init).expanduser().exists():
        others = "a file or folder that exists, runs:/<id> or models:/<name>@<alias>"
        raise ConfigError(f"{unknown_name('init', init, NAMES)} (or give {others})")


def resolve_init(init: str, arch: str) -> InitialWeights:
    """Return the initial weights that a name, a file or a folder stands for.

    Args:
        init: `scratch`, `supervised-imagenet`, a name of the catalogue, a folder as `weights_from_folder` takes it, or
            a file of named tensors (plain, or in dicts such as `state_dict`; torch or safetensors).
        arch: The backbone they are for.

    Raises:
        ConfigError: There is no such name, file or folder.
        ModelError: The file cannot be had or read, or is of another architecture.
    """
    check_init(init)
    if init == "scratch":
        return InitialWeights(init, None)
    if init == "supervised-imagenet":
        return _from_torchvision(arch)
    if init in CATALOGUE:
        return _from_catalogue(CATALOGUE[init], arch)
    path = Path(init).expanduser()
    weights = weights_from_folder(path) if path.is_dir() else _from_file(path)
    return replace(weights, origin=init)


def weights_from_folder(path: Path) -> InitialWeights:
    """Return the backbone of the encoder or classifier in a folder.

    Args:
        path: A folder that holds, at any depth, what `save_encoder` or `save_classifier` wrote.

    Raises:
        ModelError: It holds none or several, they cannot be read, or its expressions are ordered differently.
    """
    spec, state = read_folder(path)
    return _with_spec(path, state, spec)


def load_initial_weights(model: Classifier | Encoder, weights: InitialWeights) -> LoadReport:
    """Load initial weights into a model's backbone, leaving a head of another size, or of other classes, fresh.

    Args:
        model: Changed in place.
        weights: Under torchvision's names, or timm's for a vision transformer, behind any prefix. Of several networks
            that fit, `best_network` chooses one.

    Raises:
        ModelError: They match nothing, or belong to another architecture.
    """
    own = model.backbone.state_dict()
    if weights.state is None:
        return LoadReport(weights.origin, 0, tuple(own), ())
    _check_arch(weights.origin, weights.arch, model.spec.arch)
    networks = networks_of(model.backbone, weights.state)
    network = best_network(networks) if networks else None
    if network is None or network.fault:
        # Other trainers' files do not say whose they are, so their tensors are compared with other architectures.
        _check_arch(weights.origin, guess_arch(weights.state), model.spec.arch)
        reason = network.fault if network else f"none of its names (the first is {quoted(next(iter(weights.state)))})"
        raise ModelError(f"{weights.origin} holds no weights of {model.spec.arch}: {reason}")
    tensors, resizing = take_tensors(model.backbone, network, weights.state)
    fresh = ""
    # Others have seven classes too, or list the same expressions in another of their usual orders.
    if not weights.knows_expressions and head_names(model.backbone) & tensors.keys():
        tensors = {name: tensor for name, tensor in tensors.items() if name not in head_names(model.backbone)}
        fresh = "the head starts fresh, since nothing says which of its outputs is which expression"
    model.backbone.load_state_dict(tensors, strict=False)
    others = [other.prefix.removesuffix(".") for other in networks if other != network and not other.fault]
    passed_over = f"not taken: {', '.join(others)}" if others else ""
    notes = (network.note, resizing, fresh, passed_over, *weights.notes)
    used = set(network.names.values())
    return LoadReport(
        origin=weights.origin,
        matched=len(tensors),
        missing=tuple(name for name in own if name not in tensors),
        unexpected=tuple(name for name in weights.state if name not in used),
        prefix=network.prefix,
        notes=tuple(filter(None, notes)),
    )


def _from_torchvision(arch: str) -> InitialWeights:
    weights, path = supervised_file(arch)
    # torchvision's file names end in the first digits of their digest.
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    download(weights.url, path, digest[1] if digest else "")
    pixels = weights.transforms()
    licence = weights.meta.get("license", "")
    return InitialWeights(
        origin=f"supervised-imagenet ({arch})",
        state=tensors_of(read_file(path), path),
        mean=tuple(pixels.mean),
        std=tuple(pixels.std),
        terms=f"{TORCHVISION_TERMS}; these weights: {licence}" if licence else TORCHVISION_TERMS,
    )


def _from_catalogue(entry: Entry, arch: str) -> InitialWeights:
    _check_arch(entry.name, entry.arch, arch)
    download(entry.address, entry.path, entry.sha256)
    return InitialWeights(
        origin=f"{entry.name} ({entry.arch})",
        state=tensors_of(read_file(entry.path), entry.path),
        mean=entry.mean,
        std=entry.std,
        terms=f"{entry.name}: {entry.terms}",
        arch=entry.arch,
    )


def _from_file(path: Path) -> InitialWeights:
    # A checkpoint of this project tells more than its tensors: pixels, terms, and what was trained on.
    content = read_file(path)
    state = tensors_of(content, path)
    spec = content.get("spec")
    # Other trainers' checkpoints may hold a `spec` too.
    if not isinstance(spec, dict) or "expressions" not in spec:
        return InitialWeights(str(path), state, notes=(*averages_beside(content), UNKNOWN_PIXELS))
    return _with_spec(path, state, ModelSpec.from_dict(spec, str(path)))


def _with_spec(path: Path, state: dict[str, Tensor], spec: ModelSpec) -> InitialWeights:
    return InitialWeights(
        origin=str(path),
        state=state,
        mean=spec.mean,
        std=spec.std,
        terms="; ".join(spec.terms),
        trained_on=spec.trained_on,
        arch=spec.arch,
        training_images=spec.training_images,
        pretraining_images=spec.pretraining_images,
        knows_expressions=True,
    )


def _check_arch(origin: str, theirs: str, wanted: str) -> None:
    if theirs and theirs != wanted:
        raise ModelError(f"{origin} holds weights of {theirs}, not of {wanted}: give arch={theirs}")
