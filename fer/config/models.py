"""Configurations of the commands that bring, convert and register models."""

from dataclasses import dataclass

from fer.config import options
from fer.config.options import option


@dataclass(frozen=True)
class DownloadConfig:
    """Bring a model into a folder, with its card; say what it is worth and which terms it inherits."""

    # A checkpoint or a folder is here already, so neither is taken.
    model: str = option(
        options.CHAMPION,
        "models:/<name>@<alias>, models:/<name>/<version> or runs:/<id>",
    )
    output: str = options.output("", "the folder, new or empty; empty: <name>-<version>")
    config: str = options.config()


@dataclass(frozen=True)
class ExportConfig:
    """Write a model's network as one file for other programs, checked to answer as the model does."""

    model: str = options.model()
    format: str = option(
        "onnx",
        "onnx (needs the extra `export`), or torch: torch.export's",
        choices=options.EXPORT_FORMATS,
    )
    output: str = options.output("", "the file, .onnx or .pt2; empty: <name>-<version> with that ending")
    config: str = options.config()


@dataclass(frozen=True)
class RegisterConfig:
    """Register the model that a run of finetune has logged, where the registry refused it when the run ended."""

    # Only a run knows the score and the protocol by which versions compete.
    model: str = option("", "runs:/<id>")
    registered_name: str = options.registered_name(
        help="registered model: auto (the one the run was meant for), or a name",
    )
    promote: bool = options.promote()
    config: str = options.config()
