"""Read files of weights of any origin, never running code from them."""

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from fer.errors import ModelError, shortened
from fer.models.matching import AVERAGE_WORDS
from fer.utils.paths import printable

NETWORK_KEYS = ("state_dict", "model")
"""Where Lightning, and this project and many authors, keep the network.

Beside it lies an optimizer's state, or a moving average of the network, which is left as in `matching.best_network`.
"""


class Inert:
    """A stand-in that accepts anything, keeps nothing and does nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


STAND_INS: dict[str, type] = {
    # torch fills dicts only where they are plain or ordered, so dict subclasses become ordered dicts.
    "pytorch_lightning.utilities.parsing.AttributeDict": OrderedDict,
    "lightning_fabric.utilities.data.AttributeDict": OrderedDict,
    "argparse.Namespace": Inert,
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": Inert,
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping": Inert,
    "pytorch_lightning.callbacks.lr_monitor.LearningRateMonitor": Inert,
    "pl_bolts.callbacks.ssl_online.SSLOnlineEvaluator": Inert,
    # Trainer arguments saved among the hyperparameters by Lightning 1.0 to 1.2.
    "pytorch_lightning.utilities.argparse._gpus_arg_default": Inert,
    "pytorch_lightning.utilities.argparse_utils._gpus_arg_default": Inert,
    # Scores kept as NumPy numbers.
    "numpy.dtype": Inert,
    "numpy.core.multiarray.scalar": Inert,
    "numpy._core.multiarray.scalar": Inert,
}
"""What stands in for each class or function that a weights file may refer to; any other is refused."""


def read_file(path: Path) -> dict[str, Any]:
    """Read a weights file, never running code from it.

    Args:
        path: A file of safetensors or of `torch.save`, in its zip form or the older one.

    Raises:
        ModelError: The file cannot be read, refers to more than tensors and known bookkeeping, or holds no names.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        _refuse_packed(path)
        with safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign file
        raise ModelError(f"{path} is no weights file: {_refusal_reason(str(error))}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds {type(content).__name__}, not named tensors")
    return content


def tensors_of(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a file's content: those in `state_dict` or `model`, else all there are.

    Those of a dict in a dict are named `<its key>.<name>`, as where DINO keeps a `student` beside a `teacher`.

    Raises:
        ModelError: It holds none.
    """
    for key in NETWORK_KEYS:
        if isinstance(content.get(key), dict):
            state = _named_tensors(content[key])
            if state:
                return state
    state = _named_tensors(content)
    if not state:
        raise ModelError(f"{path} holds no named tensors")
    return state


def averages_beside(content: dict[str, Any]) -> tuple[str, ...]:
    """Return a note of the moving averages that a checkpoint keeps beside the network that `tensors_of` takes."""
    if not any(isinstance(content.get(key), dict) for key in NETWORK_KEYS):
        return ()
    averages = [
        name
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, dict) and set(re.split(r"[._]", name.lower())) & AVERAGE_WORDS
    ]
    return (f"not taken: the moving average in {', '.join(averages)}",) if averages else ()


def _named_tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of dicts in dicts, joining the names by dots."""
    state = {}
    for name, value in content.items():
        # An optimizer numbers what it keeps.
        if not isinstance(name, str):
            continue
        if isinstance(value, Tensor):
            state[name] = value
        elif isinstance(value, Mapping):
            state |= {f"{name}.{inner}": tensor for inner, tensor in _named_tensors(value).items()}
    return state


def _refusal_reason(message: str) -> str:
    """Say why torch refused a file, naming what it refers to where that is the reason."""
    refused = re.search(r"GLOBAL (\S+) w", message)
    if refused:
        return f"it refers to {shortened(printable(refused[1]))}, and only tensors and known bookkeeping are read"
    return shortened(printable(message), 160)


def _refuse_packed(path: Path) -> None:
    """Refuse a zip that holds more than its size: nobody packs weights, but a small file could fill the memory.

    Raises:
        ValueError: It does.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as content:
            size = sum(member.file_size for member in content.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"it would unpack to {size:,} bytes")
