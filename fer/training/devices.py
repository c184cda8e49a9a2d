"""Where and in which precision to compute."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from fer.errors import ConfigError
from fer.models.backbones import Classifier, Encoder, has_depthwise, strides_over_one_pixel
from fer.utils.distributed import local_rank, local_world_size, world_size


def pick_device(name: str) -> torch.device:
    """Return the device an option names; `auto` prefers a GPU.

    Raises:
        ConfigError: `cuda` was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but no CUDA device is available: use device=auto or device=cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_rank())
    torch.cuda.set_device(device)
    return device


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


@contextmanager
def full_fp32() -> Iterator[None]:
    """Compute convolutions in fp32 on GPUs too, which by default round their inputs to TF32's ten bits.

    What is chosen, tested and served is computed so, that a figure is the same on every machine.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def make_fabric(device: torch.device, bf16: bool) -> Fabric:
    """Return a Fabric for this process's device, joined with the other processes that torchrun started, if any.

    Computation is repeatable.

    Raises:
        ConfigError: The processes did not find each other, so that each would train a model of its own.
    """
    for chatty in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    precision: Any = "bf16-mixed" if bf16 else "32-true"
    if world_size() == 1:
        return Fabric(accelerator=device.type, devices=1, precision=precision)
    # Left to itself Fabric sees one CPU and trains separate models.
    local = local_world_size()
    fabric = Fabric(
        accelerator=device.type, devices=local, num_nodes=world_size() // local, strategy="ddp", precision=precision
    )
    fabric.launch()
    if fabric.world_size != world_size():
        raise ConfigError(
            f"{fabric.world_size} of {world_size()} processes found each other: start all of them with torchrun"
        )
    return fabric


def use_bf16(option: str, device: torch.device, network: Classifier | Encoder, side: int) -> bool:
    """Return whether to train in bfloat16: as the option says, or for `auto` where it is faster and right.

    Args:
        option: `auto`, `bf16` or `fp32`.
        device: Where to compute.
        network: What to train, still on the CPU.
        side: Side of the smallest images to train on.

    Raises:
        ConfigError: bf16 was asked for where torch computes wrong gradients in it.
    """
    wrong = device.type == "cpu" and option != "fp32" and strides_over_one_pixel(network, side)
    if option == "bf16" and wrong:
        raise ConfigError(
            f"precision=bf16 gives wrong gradients on a CPU where {network.spec.arch} sees pictures of {side} pixels: "
            "give precision=fp32 or larger pictures"
        )
    if option == "auto":
        return bf16_helps(device, has_depthwise(network)) and not wrong
    return option == "bf16"
