"""`fer` runs, records and compares facial-expression-recognition experiments."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer.prediction.recogniser import Recogniser


def load(address: str = "models:/fer@champion", device: str = "auto") -> "Recogniser":
    """Load a trained model with its preprocessing, ready for pictures of faces.

    Args:
        address: `models:/<name>@<alias>`, `models:/<name>/<version>` or `runs:/<id>`; or, without a tracking server,
            the folder of a downloaded model or a checkpoint.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: There is no such device.
        ModelError: There is no such model, or it cannot be read.
    """
    from fer.prediction import recogniser  # torch takes seconds

    return recogniser.load(address, device)
