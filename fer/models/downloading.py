"""Weights brought from the network to the cache torchvision uses, and the cure where that fails."""

from http.client import HTTPException
from pathlib import Path

import torch

from fer.downloading import Unsound, bring, fault_of, is_local
from fer.errors import ModelError


def cache() -> Path:
    """Return the folder of downloaded weights, the one torchvision uses."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download(address: str, place: Path, sha256: str = "") -> None:
    """See that a file is at its place, from the network if need be.

    Args:
        address: Where to get it.
        place: Where to have it; a file put there by hand is verified and used.
        sha256: Its digest in hexadecimal, or the first digits; empty: not verified.

    Raises:
        ModelError: The file cannot be had, written or is not what it should be; says where to get and put it.
    """
    if not place.is_file():
        try:
            bring(address, place, sha256)
        except Unsound as error:
            raise ModelError(f"{error}: download it in a browser and put it at {place}") from None
        except (OSError, HTTPException) as error:
            if is_local(error):
                raise ModelError(
                    f"{place.parent} cannot be written ({error}): make room or leave to write there, or set TORCH_HOME "
                    "to another folder"
                ) from None
            raise ModelError(
                f"{place.name} is not in the cache and cannot be downloaded ({error}): put {address} at {place}, "
                "or start from init=scratch"
            ) from None
    elif fault := fault_of(place, sha256):
        raise ModelError(f"{place} is damaged ({fault}): delete it and try again, or put {address} there")
