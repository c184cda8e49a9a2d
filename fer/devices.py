"""Where and in which precision to compute."""

import logging
import os
from pathlib import Path

import torch
from lightning.fabric import Fabric

from fer.errors import ConfigError


def pick_device(name: str) -> torch.device:
    """Return the device an option names; `auto` prefers a GPU.

    Raises:
        ConfigError: `cuda` was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but no CUDA device is available: use device=auto or device=cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def bf16_helps(device: torch.device, depthwise: bool) -> bool:
    """Return whether bfloat16 is faster than fp32 here.

    On CUDA wherever it is native; on a CPU with bf16 instructions for dense convolutions only: depthwise ones ran at
    0.5 to 0.7 of fp32's speed there (`benchmarks/throughput.py`).

    Args:
        device: Where to compute.
        depthwise: Whether the network has depthwise convolutions.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and _native_bf16() and not depthwise


def _native_bf16() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def make_fabric(device: torch.device, bf16: bool) -> Fabric:
    """Return a Fabric for one device; computation there is repeatable.

    Raises:
        ConfigError: The process is one of several, which would silently train separate models.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("this command trains in one process: start it without torchrun")
    for chatty in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return Fabric(accelerator=device.type, devices=1, precision="bf16-mixed" if bf16 else "32-true")
