"""Catalogue of weights that others pre-trained: addresses, architectures, pixel normalisation and terms."""

from dataclasses import dataclass
from pathlib import Path

import torch

from fer.errors import ModelError
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD
from fer.utils.http import CorruptDownload, download_file, file_fault, is_disk_fault

_IMAGENET = "ImageNet-1k, 1.28 million pictures, labels unused"
_IMAGENET_TERMS = "the images are for non-commercial research"
_FACES = "FFHQ, 70,000 portraits from Flickr, labels unused"
_FACES_TERMS = "FFHQ is CC BY-NC-SA 4.0; the checkpoint's own terms are not stated"
_FACES_PIXELS = (
    "pixel normalisation unknown, taken as none (pixels in [0, 1]): the default of bolts' transforms, and what 2021 "
    "fine-tuned with"
)
_NO_MEAN = (0.0, 0.0, 0.0)
_NO_STD = (1.0, 1.0, 1.0)
# Where lightning-bolts and the 2021 project keep their files.
_BOLTS = "https://pl-bolts-weights.s3.us-east-2.amazonaws.com"
_PROJECT_2021 = "https://uclouvain-my.sharepoint.com/:u:/g/personal/benoit_brummer_uclouvain_be"


@dataclass(frozen=True)
class Entry:
    """A file of pre-trained weights.

    Attributes:
        name: What `init` calls it.
        arch: torchvision's name of the backbone it fits.
        address: Where it is downloaded from.
        file: Its name in the cache.
        terms: Terms of the weights and of the pictures behind them.
        trained_on: Those pictures.
        note: How it was made, and what is doubtful.
        mean: Pixel mean per channel, for pixels in [0, 1].
        std: Pixel standard deviation per channel.
        sha256: Digest of the file in hexadecimal; empty: unverified.
    """

    name: str
    arch: str
    address: str
    file: str
    terms: str
    trained_on: str
    note: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    sha256: str = ""

    @property
    def path(self) -> Path:
        """The file once it is downloaded."""
        return cache() / self.file


_ENTRIES = (
    Entry(
        name="swav-imagenet",
        arch="resnet50",
        address=f"{_BOLTS}/swav/swav_imagenet/swav_imagenet.pth.tar",
        file="swav_imagenet.pth.tar",
        terms=f"CC BY-NC 4.0, inherited: as far as known a conversion of the official weights; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note="SwAV, lightning-bolts' file, which the 2021 project started from",
    ),
    Entry(
        name="swav-imagenet-official",
        arch="resnet50",
        address="https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
        file="swav_800ep_pretrain.pth.tar",
        terms=f"CC BY-NC 4.0; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note="SwAV, 800 epochs, the authors' own file",
    ),
    Entry(
        name="simclr-imagenet",
        arch="resnet50",
        address=f"{_BOLTS}/simclr/bolts_simclr_imagenet/simclr_imagenet.ckpt",
        file="simclr_imagenet.ckpt",
        terms=f"lightning-bolts Apache-2.0; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note="SimCLR, trained by lightning-bolts",
    ),
    Entry(
        name="simclr-faces",
        arch="resnet50",
        address=f"{_PROJECT_2021}/ESvob7pjuc5EjOi3MAr0xBQBC872iohRloi8K3eznaBcrw?e=vzPub2&download=1",
        file="SimCLR_NaturalFaces_e100.ckpt",
        terms=_FACES_TERMS,
        trained_on=_FACES,
        note=f"SimCLR, 100 epochs, the 2021 project's; {_FACES_PIXELS}",
        mean=_NO_MEAN,
        std=_NO_STD,
    ),
    Entry(
        name="simsiam-faces",
        arch="resnet50",
        address=f"{_PROJECT_2021}/EY2bOaMqbjFFq6R4ZD0Bik8B1E5mITivkDCjw_F42SnNgg?e=chiZjc&download=1",
        file="SiamSiam_NaturalFaces_e80.ckpt",
        terms=_FACES_TERMS,
        trained_on=_FACES,
        note=f"SimSiam, 80 epochs, the 2021 project's; {_FACES_PIXELS}",
        mean=_NO_MEAN,
        std=_NO_STD,
    ),
)
CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""By name. `scratch` and torchvision's `supervised-imagenet`, which every architecture has, stand beside it."""


def cache() -> Path:
    """Return the folder of downloaded weights, the one torchvision uses."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download(address: str, path: Path, sha256: str = "") -> None:
    """Download a file unless it is there already.

    Args:
        address: Where to get it.
        path: Where to have it; a file put there by hand is verified and used.
        sha256: Its digest in hexadecimal, or the first digits; empty: not verified.

    Raises:
        ModelError: The file cannot be had, written or is not what it should be; says where to get and put it.
    """
    if path.is_file():
        fault = file_fault(path, sha256)
        if fault:
            raise ModelError(f"{path} is damaged ({fault}): delete it and try again, or put {address} there")
        return
    try:
        download_file(address, path, sha256)
    except CorruptDownload as error:
        raise ModelError(f"{error}: download it in a browser and put it at {path}") from None
    except OSError as error:
        if is_disk_fault(error):
            cure = "make room there, or set TORCH_HOME to another folder"
            raise ModelError(f"{path.parent} cannot be written ({error}): {cure}") from None
        cure = f"put {address} at {path}, or start from init=scratch"
        raise ModelError(f"{path.name} is not in the cache and cannot be downloaded ({error}): {cure}") from None
