"""`download`: a model into a folder, with its card; what it is worth and which terms it inherits are said."""

from dataclasses import dataclass
from pathlib import Path

from fer.attribution.formats import PAGE
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

PASSING = {README, LICENCE, PAGE, "__pycache__"}
"""What one version may have and another not: a card, and what Python writes beside code that is loaded."""


@dataclass(frozen=True)
class DownloadResult:
    """What `download` brought.

    Attributes:
        address: The model, its alias replaced by the version.
        folder: Where it lies.
        spec: What it is.
    """

    address: str
    folder: Path
    spec: ModelSpec


def run(config: DownloadConfig) -> DownloadResult:
    """Bring the model a configuration names into a folder, whole or not at all.

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
    _refuse_foreign(folder)
    with staging_folder(folder) as beside:
        classifier, fetched = fetch_classifier(address, beside / "model")
        brought = fetched.path
        remove_machine_paths(brought)
        _refuse_additions(folder, brought)
        move_into_place(brought, folder)
    print(told(address, folder, classifier.spec))
    return DownloadResult(address, folder, classifier.spec)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a place that is neither free nor a folder of a model of this project.

    Raises:
        ConfigError: As said.
    """
    if folder.is_file():
        raise ConfigError(f"output {quoted_path(folder)} is a file: name a folder")
    if _names(folder) and not ((folder / MLMODEL).is_file() and any(folder.rglob(SPEC))):
        raise ConfigError(
            f"output {quoted_path(folder)} holds something else than a model: name a new or an empty folder"
        )


def _refuse_additions(folder: Path, brought: Path) -> None:
    """Refuse to replace an earlier download that somebody put things into.

    Raises:
        ConfigError: As said.
    """
    if added := sorted(_names(folder) - _names(brought) - PASSING):
        raise ConfigError(
            f"output {quoted_path(folder)} holds {quoted(added[0])} beside the model: "
            "move it away, or name another folder"
        )


def _names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()} if folder.is_dir() else set()


def told(address: str, folder: Path, spec: ModelSpec) -> str:
    """Return where a model lies, how large it is, its headline figures and its terms, for a person."""
    card = folder / README
    figures = headline(card.read_text(encoding="utf-8")) if card.is_file() else ""
    said = [f"{address}: {size_in_megabytes(folder)} in {folder}"]
    said.append(figures or "It has no model card: it was logged before there were any.")
    said.append(f"Terms it inherits:\n{terms(spec)}")
    if figures:
        said.append(f"Its card, with limits and uses: {card}")
    return "\n\n".join(said)
