"""`download`: copy a model into a folder with its card, and print its figures and the terms it inherits."""

from dataclasses import dataclass
from pathlib import Path

from fer.attribution.artifact import PAGE
from fer.config.commands import DownloadConfig
from fer.errors import ConfigError, quoted, quoted_path
from fer.model_card.card import LICENCE, README, headline, terms
from fer.models.backbones import ModelSpec
from fer.models.files import SPEC
from fer.models.initial_weights import ADDRESSES
from fer.tracking.logged_model import MLMODEL, remove_machine_paths
from fer.tracking.models import fetch_classifier, resolve_alias
from fer.utils.atomic import move_into_place, staging_folder
from fer.utils.paths import model_file_name, size_in_megabytes

VARIABLE_FILES = {README, LICENCE, PAGE, "__pycache__"}
"""Files that one version may have and another not: a card, and what Python writes beside code that is loaded."""


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
        ConfigError: The address is none, or the folder holds something else.
        ModelError: There is no such model, or it is no classifier of this project.
        Interrupted: A signal came; nothing is left.
    """
    if not config.model.startswith(ADDRESSES):
        raise ConfigError(
            f"model must be models:/<name>@<alias>, models:/<name>/<version> or runs:/<id>, not {quoted(config.model)}"
        )
    address = resolve_alias(config.model)
    folder = Path(config.output or model_file_name(address)).expanduser().resolve()
    _check_output(folder)
    with staging_folder(folder) as staging:
        classifier, fetched = fetch_classifier(address, staging / "model")
        remove_machine_paths(fetched.path)
        added = _names(folder) - _names(fetched.path) - VARIABLE_FILES
        # Replacing the folder would delete what somebody has put into an earlier download.
        if added:
            raise ConfigError(
                f"output {quoted_path(folder)} holds {quoted(min(added))} beside the model: "
                "move it away, or name another folder"
            )
        move_into_place(fetched.path, folder)
    print(_summary(address, folder, classifier.spec))
    return DownloadResult(address, folder, classifier.spec)


def _check_output(folder: Path) -> None:
    """Refuse an output that is neither free nor an earlier download.

    Raises:
        ConfigError: It is a file, or a folder of something else.
    """
    if folder.is_file():
        raise ConfigError(f"output {quoted_path(folder)} is a file: name a folder")
    earlier_download = (folder / MLMODEL).is_file() and any(folder.rglob(SPEC))
    if _names(folder) and not earlier_download:
        raise ConfigError(
            f"output {quoted_path(folder)} holds something else than a model: name a new or an empty folder"
        )


def _names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()} if folder.is_dir() else set()


def _summary(address: str, folder: Path, spec: ModelSpec) -> str:
    """Return the model's folder and size, its headline figures and its terms, for a person."""
    card = folder / README
    figures = headline(card.read_text(encoding="utf-8")) if card.is_file() else ""
    paragraphs = [
        f"{address}: {size_in_megabytes(folder)} in {folder}",
        figures or "It has no model card: it was logged before there were any.",
        f"Terms it inherits:\n{terms(spec)}",
    ]
    if figures:
        paragraphs.append(f"Its card, with limits and uses: {card}")
    return "\n\n".join(paragraphs)
