"""Weights files of other trainers and other years, read without running anything they refer to.

Old Lightning checkpoints hold more than tensors: hyperparameters in classes of their own, callbacks keyed by class,
even a function. None of that is needed here, so inert stand-ins take their places and neither Lightning nor bolts is
imported.
"""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from fer.errors import ModelError


class Inert:
    """Takes the place of what a file refers to: accepts anything, keeps nothing, does nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# torch fills dicts only where they are plain or ordered, so dict subclasses become ordered dicts.
_DICTS = ("pytorch_lightning.utilities.parsing.AttributeDict", "lightning_fabric.utilities.data.AttributeDict")
_OTHERS = (
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.lr_monitor.LearningRateMonitor",
    "pl_bolts.callbacks.ssl_online.SSLOnlineEvaluator",
    # Trainer arguments saved among the hyperparameters by Lightning 1.0 to 1.2.
    "pytorch_lightning.utilities.argparse._gpus_arg_default",
    "pytorch_lightning.utilities.argparse_utils._gpus_arg_default",
    # Scores kept as NumPy numbers.
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
STAND_INS: dict[str, type] = dict.fromkeys(_DICTS, OrderedDict) | dict.fromkeys(_OTHERS, Inert)
"""What takes the place of each name a weights file may refer to; any other name is refused."""


def read_file(path: Path) -> dict[str, Any]:
    """Return what a weights file holds, never running code from it.

    Args:
        path: A file of safetensors or of `torch.save`, in the present or the old form.

    Raises:
        ModelError: The file cannot be read, refers to more than tensors and known bookkeeping, or holds no names.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with _stand_ins():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign file
        raise ModelError(f"{path} is no weights file: {_reason(path, str(error))}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds {type(content).__name__}, not named tensors")
    return content


def tensors_of(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the named tensors among what a file holds: at its top, or under `state_dict` or `model`.

    Raises:
        ModelError: It holds none.
    """
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), dict):
            content = content[key]
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path} holds no named tensors")
    return state


def _stand_ins() -> safe_globals:
    return safe_globals([(kind, name) for name, kind in STAND_INS.items()])


def _reason(path: Path, message: str) -> str:
    """Return why torch refused a file, naming what it refers to where that is the reason."""
    try:
        with _stand_ins():
            refused = sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # the old form cannot be listed, and a file that is none of torch's raises anything
        refused = re.findall(r"GLOBAL (\S+) w", message)
    if refused:
        return f"it refers to {', '.join(refused)}, and only tensors and known bookkeeping are read"
    return " ".join(message.split())[:160]
