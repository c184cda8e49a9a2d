"""Catalogue of weights that others pre-trained: addresses, architectures, pixel normalisation and terms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from fer.errors import ModelError
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD
from fer.utils.downloads import CorruptDownload, download_file, file_fault, is_disk_fault

TORCHVISION_TERMS = "ImageNet weights: torchvision BSD-3; the images are for non-commercial research"
"""Of torchvision's weights, trained with labels."""
_IMAGENET = "ImageNet-1k, 1.28 million pictures, labels unused"
_IMAGENET_TERMS = "the images are for non-commercial research"
_FACES = "FFHQ, 70,000 portraits from Flickr, labels unused"
_FACES_TERMS = "FFHQ is CC BY-NC-SA 4.0; the checkpoint's own terms are not stated"
_FACES_PIXELS = (
    "pixel normalisation unknown, taken as none (pixels in [0, 1]): the default of bolts' transforms, and what 2021 "
    "fine-tuned with"
)
_FRL_TERMS = "the checkpoint's own terms are not stated"
_VGGFACE2_TERMS = f"VGGFace2: CC BY-NC 4.0, in earlier years stated as CC BY-SA 4.0; {_FRL_TERMS}"
_FRL_NOTE = "SwAV on faces, FRL of Bulat et al. (ECCV 2022)"
_RECORDED = "no digest is published, this one is as others recorded it"
_NO_MEAN = (0.0, 0.0, 0.0)
_NO_STD = (1.0, 1.0, 1.0)
# 0.228 stands in the code of FRL, as in that of SwAV.
_FRL_STD = (0.228, 0.224, 0.225)
# Where the authors of SwAV and others, FRL, lightning-bolts and the 2021 project keep their files.
_META = "https://dl.fbaipublicfiles.com"
_FRL = "https://www.adrianbulat.com/downloads/ECCV2022/pretrained_models/unsupervised"
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
        sha256: Digest of the file in hexadecimal, or its first digits; empty: unverified.
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
        address=f"{_META}/deepcluster/swav_800ep_pretrain.pth.tar",
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
    Entry(
        name="simsiam-imagenet",
        arch="resnet50",
        address=f"{_META}/simsiam/models/100ep/pretrain/checkpoint_0099.pth.tar",
        file="simsiam_imagenet.pth",
        terms=f"CC BY-NC 4.0; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note="SimSiam, 100 epochs in batches of 512, the authors' own file",
    ),
    Entry(
        name="vicreg-imagenet",
        arch="resnet50",
        address=f"{_META}/vicreg/resnet50.pth",
        file="vicreg_resnet50.pth",
        terms=f"MIT; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note=f"VICReg, 1,000 epochs, the authors' own file; {_RECORDED}",
        sha256="c843e7652491ff2f712734619fd74d85e5e92ac902615665ad3fd50dc6ada591",
    ),
    Entry(
        name="barlow-imagenet",
        arch="resnet50",
        address=f"{_META}/barlowtwins/ep1000_bs2048_lrw0.2_lrb0.0048_lambd0.0051/resnet50.pth",
        file="barlowtwins_resnet50.pth",
        terms=f"MIT; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note=f"Barlow Twins, 1,000 epochs, the authors' own file; {_RECORDED}",
        sha256="cf015f40cc",
    ),
    Entry(
        name="dino-imagenet",
        arch="resnet50",
        address=f"{_META}/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
        file="dino_resnet50_pretrain.pth",
        terms=f"Apache-2.0; {_IMAGENET_TERMS}",
        trained_on=_IMAGENET,
        note="DINO, the teacher, the authors' own file",
    ),
    Entry(
        name="faces-vggface",
        arch="resnet50",
        address=f"{_FRL}/flr_r50_vgg_face.pth",
        file="flr_r50_vgg_face.pth",
        terms=_VGGFACE2_TERMS,
        trained_on="VGGFace2, 3.3 million faces from the web, labels unused",
        note=_FRL_NOTE,
        std=_FRL_STD,
    ),
    Entry(
        name="faces-vggface-1m",
        arch="resnet50",
        address=f"{_FRL}/flr_r50_vgg_face_1m.pth",
        file="flr_r50_vgg_face_1m.pth",
        terms=_VGGFACE2_TERMS,
        trained_on="1 million faces of VGGFace2, labels unused",
        note=_FRL_NOTE,
        std=_FRL_STD,
    ),
    Entry(
        name="faces-flickr",
        arch="resnet50",
        address=f"{_FRL}/flr_r50_flickr_face.pth",
        file="flr_r50_flickr_face.pth",
        terms=f"Flickr pictures of various licences, taken as for non-commercial research; {_FRL_TERMS}",
        trained_on="faces from Flickr, collected without selection, no labels",
        note=_FRL_NOTE,
        std=_FRL_STD,
    ),
)
CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""By name. `scratch` and torchvision's `supervised-imagenet`, which every architecture has, stand beside it."""


def cache() -> Path:
    """Return the folder of downloaded weights, the one torchvision uses."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def supervised_file(arch: str) -> tuple[Any, Path]:
    """Return torchvision's first ImageNet weights of an architecture, and their path in the cache."""
    # The first are those of the original recipes; later ones were trained longer and by others.
    choices = torchvision.models.get_model_weights(arch)
    weights = getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)
    return weights, cache() / weights.url.rsplit("/", 1)[1]


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
