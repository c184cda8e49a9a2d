"""Write parameters as the command line takes them, and compare them with what `mlflow run` has written."""

import shlex
from typing import Any

from fer.utils.paths import printable


def param_text(value: Any) -> str:
    """Return a parameter as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    # A file may have a name that is no UTF-8, which the store does not take.
    return printable(str(value))


def means_the_same(logged: str, ours: str) -> bool:
    """Return whether a parameter that the launcher logged, shell-quoted, means what ours does."""
    words = shlex.split(logged)
    text = words[0] if words else ""
    try:
        # It keeps `1e-3` and `True` as they were typed.
        return text.lower() == ours.lower() or float(text) == float(ours)
    except ValueError:
        return False
