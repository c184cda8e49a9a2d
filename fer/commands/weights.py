"""`weights`: the initial weights that `init` knows by name, their terms, and which of them are on this machine."""

from fer.config.commands import WeightsConfig
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD, classification_archs
from fer.models.catalogue import CATALOGUE, TORCHVISION_TERMS, Entry, cache, supervised_file
from fer.utils.downloads import file_fault
from fer.utils.rendering import render


def run(config: WeightsConfig) -> None:
    """Print the catalogue."""
    text = render(
        "weights.txt",
        # torchvision has a file for each architecture: all their addresses would fill pages.
        cached=[arch for arch in classification_archs() if supervised_file(arch)[1].is_file()],
        imagenet_terms=TORCHVISION_TERMS,
        imagenet_mean=IMAGENET_MEAN,
        imagenet_std=IMAGENET_STD,
        folder=cache(),
        entries=CATALOGUE.values(),
        states={name: _state(entry) for name, entry in CATALOGUE.items()},
    )
    print(text, end="")


def _state(entry: Entry) -> str:
    if not entry.path.is_file():
        return "not cached"
    # A sign-in page saved in the file's place would otherwise be found by the training only.
    fault = file_fault(entry.path, entry.sha256)
    return f"cached, but {fault}: delete it" if fault else "cached"
