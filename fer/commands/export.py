"""`export`: write a model's network as one file for other programs."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fer.config.models import ExportConfig
from fer.errors import ConfigError, quoted, quoted_path
from fer.model_card.card import INPUT, terms
from fer.models.export import (
    CHECKED,
    ENDINGS,
    TOLERANCE,
    Exported,
    check_packages,
    export,
)
from fer.models.files import load_classifier
from fer.tracking.models import fetch_network
from fer.tracking.naming import resolve_alias
from fer.utils.atomic import move_into_place, staging_folder
from fer.utils.paths import model_file_name, size_in_megabytes
from fer.utils.rendering import render


@dataclass(frozen=True)
class ExportResult:
    """An exported model.

    Attributes:
        file: The network.
        sidecar: Its description, as JSON.
        exported: Version and largest difference.
    """

    file: Path
    sidecar: Path
    exported: Exported


def run(config: ExportConfig) -> ExportResult:
    """Export a model's network, unless the file predicts otherwise than the model.

    Raises:
        ConfigError: Packages are missing, or the output cannot be such a file.
        ModelError: There is no such model, it cannot be exported, or the file predicts otherwise.
        Interrupted: A signal came; nothing is left.
    """
    # Before the model is downloaded, which may take minutes.
    check_packages(config.format)
    address = resolve_alias(config.model)
    file = _output_file(config, address)
    sidecar = file.with_name(f"{file.name}.json")
    with staging_folder(file) as staging:
        classifier, _ = fetch_network(address, staging / "model", load_classifier)
        staged_file = staging / file.name
        exported = export(classifier, config.format, staged_file, address)
        staged_sidecar = staging / sidecar.name
        staged_sidecar.write_text(_description(staged_file, exported), encoding="utf-8")
        # The description last: whoever finds it finds the file it describes.
        move_into_place(staged_file, file)
        move_into_place(staged_sidecar, sidecar)
    # The rest of what is known of it stands in the description.
    spec = classifier.spec
    summary = render(
        "export.txt",
        file=file,
        size=size_in_megabytes(file),
        sidecar=sidecar.name,
        exported=exported,
        spec=spec,
        framed=INPUT[spec.framing],
        checked=CHECKED,
        tolerance=TOLERANCE,
        terms=terms(spec),
    )
    print(summary, end="")
    return ExportResult(file, sidecar, exported)


def _output_file(config: ExportConfig, address: str) -> Path:
    ending = ENDINGS[config.format]
    output = config.output or f"{model_file_name(address)}{ending}"
    file = Path(output).expanduser().resolve()
    # Programs that read such a file tell its format by its ending.
    if file.suffix != ending:
        raise ConfigError(f"output must end in {ending} for format={config.format}, not {quoted(file.name)}")
    if file.is_dir():
        raise ConfigError(f"output {quoted_path(file)} is a folder: name a file")
    return file


def _description(file: Path, exported: Exported) -> str:
    """Return the description of a file, as JSON."""
    content = {
        "file": file.name,
        "format": exported.form,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "checked": {
            "batches": CHECKED,
            "largest_difference": exported.difference,
            "tolerance": TOLERANCE,
        },
        **exported.metadata,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
