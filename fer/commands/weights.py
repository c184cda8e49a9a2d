"""`weights`: the initial weights that `init` knows by name, their terms, and which of them are on this machine."""

import shutil
import textwrap
from collections.abc import Mapping

from fer.config.commands import WeightsConfig
from fer.models.backbones import classification_archs
from fer.models.catalogue import CATALOGUE, Entry, cache
from fer.models.initial_weights import IMAGENET_TERMS, supervised_file
from fer.utils.http import file_fault

MIN_WIDTH = 60
MAX_WIDTH = 120
"""Widths of the text, whatever the terminal's; longer lines are hard to read."""
INDENT = " " * 16


def run(config: WeightsConfig) -> None:
    """Print the catalogue."""
    columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns
    width = max(MIN_WIDTH, min(columns, MAX_WIDTH))
    blocks = [
        _block("scratch", "any", "nothing to download", {"note": "fresh random weights"}, width),
        _supervised_block(width),
        *[_catalogue_block(entry, width) for entry in CATALOGUE.values()],
    ]
    print("\n\n".join(blocks))


def _supervised_block(width: int) -> str:
    cached = [arch for arch in classification_archs() if supervised_file(arch)[1].is_file()]
    state = f"cached for {', '.join(cached)}" if cached else "not cached"
    details = {
        "note": "torchvision's weights, trained with labels; the default on real faces",
        "trained on": "ImageNet-1k, 1.28 million pictures with labels",
        "terms": IMAGENET_TERMS,
        "sha256": "its first digits are part of each file's name",
        "address": "torchvision's, one per architecture",
        "path": str(cache()),
    }
    return _block("supervised-imagenet", "any", state, details, width)


def _catalogue_block(entry: Entry, width: int) -> str:
    state = "not cached"
    if entry.path.is_file():
        fault = file_fault(entry.path, entry.sha256)
        state = f"cached, but {fault}: delete it" if fault else "cached"
    details = {
        "note": entry.note,
        "trained on": entry.trained_on,
        "terms": entry.terms,
        "pixels": f"mean {_numbers(entry.mean)}, std {_numbers(entry.std)}",
        "sha256": entry.sha256 or "unverified",
        "address": entry.address,
        "path": str(entry.path),
    }
    return _block(entry.name, entry.arch, state, details, width)


def _block(name: str, arch: str, state: str, details: Mapping[str, str], width: int) -> str:
    # Broken at spaces only, so that addresses and paths can be copied.
    wrapper = textwrap.TextWrapper(
        width,
        subsequent_indent=INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [f"{name:24}{arch:10}{state}"]
    for label, text in details.items():
        wrapper.initial_indent = f"  {label}".ljust(len(INDENT))
        lines.append(wrapper.fill(text))
    return "\n".join(lines)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
