"""`weights`: the starting weights `init` knows by name, what they are, and which of them are on this machine."""

import shutil
import textwrap

from fer.config.commands import WeightsConfig
from fer.models.backbones import classification_archs
from fer.models.catalogue import CATALOGUE, Entry, cache
from fer.models.initial_weights import IMAGENET_TERMS, supervised_file
from fer.utils.download import file_fault

WIDTHS = (60, 120)
"""Narrowest and widest text."""
LABEL = 14
NAME = 24


def run(config: WeightsConfig) -> None:
    """Print the catalogue."""
    width = min(max(shutil.get_terminal_size((WIDTHS[1], 24)).columns, WIDTHS[0]), WIDTHS[1])
    blocks = [_scratch(), _supervised(), *map(_block, CATALOGUE.values())]
    print("\n\n".join(_text(head, lines, width) for head, lines in blocks))


def _scratch() -> tuple[str, dict[str, str]]:
    return _head("scratch", "any", "nothing to download"), {"note": "fresh random weights"}


def _supervised() -> tuple[str, dict[str, str]]:
    present = [arch for arch in classification_archs() if supervised_file(arch)[1].is_file()]
    return _head("supervised-imagenet", "any", f"cached for {', '.join(present)}" if present else "not cached"), {
        "note": "torchvision's weights, trained with labels; the default on real faces",
        "trained on": "ImageNet-1k, 1.28 million pictures with labels",
        "terms": IMAGENET_TERMS,
        "sha256": "its first digits are part of each file's name",
        "address": "torchvision's, one per architecture",
        "place": str(cache()),
    }


def _block(entry: Entry) -> tuple[str, dict[str, str]]:
    return _head(entry.name, entry.arch, _state(entry)), {
        "note": entry.note,
        "trained on": entry.trained_on,
        "terms": entry.terms,
        "pixels": f"mean {_numbers(entry.mean)}, std {_numbers(entry.std)}",
        "sha256": entry.sha256 or "unverified",
        "address": entry.address,
        "place": str(entry.path),
    }


def _state(entry: Entry) -> str:
    if not entry.path.is_file():
        return "not cached"
    fault = file_fault(entry.path, entry.sha256)
    return f"cached, but {fault}: delete it" if fault else "cached"


def _head(name: str, arch: str, state: str) -> str:
    return f"{name:{NAME}}{arch:10}{state}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _text(head: str, lines: dict[str, str], width: int) -> str:
    """Return a block of lines, wrapped at spaces only, so that addresses and places can be copied."""
    wrapped = [
        textwrap.fill(
            text, width, initial_indent=f"  {label:{LABEL}}", subsequent_indent=" " * (LABEL + 2),
            break_long_words=False, break_on_hyphens=False,
        )
        for label, text in lines.items()
    ]  # fmt: skip
    return "\n".join([head, *wrapped])
