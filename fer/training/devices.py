"""Where and in which precision to compute."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from fer.errors import ConfigError
from fer.models.backbones import Classifier, Encoder
from fer.utils.processes import local_rank, local_world_size, world_size


def pick_device(name: str) -> torch.device:
    """Return the device an option names; `auto` prefers a GPU.

    Raises:
        ConfigError: `cuda` was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but no CUDA device is available: use device=auto or device=cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # Each process of torchrun has a GPU of its own, and collectives use the current one.
    device = torch.device("cuda", local_rank())
    torch.cuda.set_device(device)
    return device


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


def make_fabric(device: torch.device, bf16: bool, parts_rest: bool = False) -> Fabric:
    """Make a Fabric for this process's device, joined with the other processes that torchrun started, if any.

    Computation is repeatable.

    Args:
        device: Where to compute.
        bf16: Whether to compute in bfloat16 where that is safe.
        parts_rest: Whether parameters that learn at some time get no gradient at another.

    Raises:
        ConfigError: The processes did not find each other, so that each would train a model of its own.
    """
    # Both announce devices and precision at every start.
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # cuDNN would choose its algorithms by timing them, and some of them add in a changing order.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # Left to itself Fabric sees one CPU under torchrun and trains separate models.
    several = world_size() > 1
    # Processes that wait for the gradients of all parameters would stop at the first that rests.
    shared = "ddp_find_unused_parameters_true" if parts_rest else "ddp"
    fabric = Fabric(
        accelerator=device.type,
        devices=local_world_size(),
        num_nodes=world_size() // local_world_size(),
        strategy=shared if several else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
    )
    if several:
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
        return bf16_is_faster(device, network) and not wrong
    return option == "bf16"


def bf16_is_faster(device: torch.device, network: nn.Module) -> bool:
    """Return whether a network trains faster in bfloat16 than in fp32 on a device."""
    if device.type == "cuda":
        # Older GPUs emulate it.
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    # Depthwise convolutions ran at 0.5 to 0.7 of fp32's speed on CPUs (`benchmarks/throughput.py`).
    return native and torch.ops.mkldnn._is_mkldnn_bf16_supported() and not has_depthwise(network)


def has_depthwise(network: nn.Module) -> bool:
    """Return whether a network has depthwise convolutions."""
    convolutions = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return any(layer.groups == layer.in_channels > 1 for layer in convolutions)


@torch.inference_mode()
def strides_over_one_pixel(network: nn.Module, side: int) -> bool:
    """Return whether a striding convolution sees a single pixel when the network's input has this side.

    Some weights of its kernel then meet padding only, and torch 2.15 leaves their gradient unwritten in bf16 on CPUs.
    """
    single_pixel = False

    def look(layer: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal single_pixel
        strides = max(layer.stride) > 1 and max(layer.kernel_size) > 1
        single_pixel |= strides and max(inputs[0].shape[-2:]) == 1

    # Which size a layer sees depends on all before it, so that looking is surer than computing.
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(look) for layer in convolutions]
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, 3, side, side))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return single_pixel
