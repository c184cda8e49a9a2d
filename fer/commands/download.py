"""`download`: copy a model into a folder with its card, and print its figures and the terms it inherits."""

from dataclasses import dataclass
from pathlib import Path

from fer.config.models import DownloadConfig
from fer.errors import ConfigError, quoted, quoted_path
from fer.model_card.card import README, headline, terms
from fer.models.backbones import ModelSpec
from fer.models.files import load_classifier
from fer.models.initial_weights import ADDRESSES
from fer.tracking.models import fetch_network
from fer.tracking.naming import resolve_alias
from fer.utils.atomic import move_into_place, staging_folder
from fer.utils.paths import model_file_name, size_in_megabytes
from fer.utils.rendering import render


@dataclass(frozen=True)
class DownloadResult:
    """A downloaded model.

    Attributes:
        address: The model, its alias replaced by the version.
        folder: The folder it was copied into.
        spec: Its specification.
    """

    address: str
    folder: Path
    spec: ModelSpec


def run(config: DownloadConfig) -> DownloadResult:
    """Download a model into a folder, whole or not at all.

    Raises:
        ConfigError: The address is none, or the folder is taken.
        ModelError: There is no such model, or it is no classifier of this project.
        Interrupted: A signal came; nothing is left.
    """
    if not config.model.startswith(ADDRESSES):
        raise ConfigError(
            f"model must be models:/<name>@<alias>, models:/<name>/<version> or runs:/<id>, not {quoted(config.model)}"
        )
    address = resolve_alias(config.model)
    folder = Path(config.output or model_file_name(address)).expanduser().resolve()
    # Before the download, which may take minutes; replacing a folder would delete what somebody has put into it.
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"output {quoted_path(folder)} holds something already: name a new or an empty folder")
    # Whoever finds the folder finds the whole model in it.
    with staging_folder(folder) as staging:
        classifier, fetched = fetch_network(address, staging / "model", load_classifier)
        move_into_place(fetched.path, folder)
    print(_summary(address, folder, classifier.spec), end="")
    return DownloadResult(address, folder, classifier.spec)


def _summary(address: str, folder: Path, spec: ModelSpec) -> str:
    """Return the model's folder and size, its headline figures and its terms, for a person."""
    card = folder / README
    return render(
        "download.txt",
        address=address,
        folder=folder,
        size=size_in_megabytes(folder),
        card=card,
        # A model that was not made by `finetune` may have none.
        figures=headline(card.read_text(encoding="utf-8")) if card.is_file() else "",
        terms=terms(spec),
    )
