"""A trained model for whoever has this package: pictures or pixels in, expressions out."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from fer.config.options import FRAMINGS
from fer.data.framing import center_face
from fer.errors import LONGEST_PATH, ConfigError, DataError, shortened, unknown_name
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import load_classifier
from fer.models.initial_weights import ADDRESSES
from fer.portable.detection import CenterFace, detection_memory
from fer.portable.framing import FramedFace, framed_faces
from fer.portable.images import UnusableImage, decode, upright_rgb
from fer.portable.memory import open_within_budget
from fer.training.devices import full_fp32, pick_device
from fer.utils.paths import expand_home, printable

BATCH_SIZE = 32
"""Faces of one picture that are classified at once."""

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class RecognisedFace:
    """A face and its expression.

    Attributes:
        box: In the upright picture; may reach beyond it.
        score: The detector's confidence in [0, 1]; 1 for a whole picture.
        crop: What the network saw, `(S, S, 3)`, RGB in [0, 255].
        expression: The most probable one.
        probabilities: By expression, in stored order; they sum to 1.
    """

    box: Box
    score: float
    crop: NDArray[np.uint8] = field(repr=False)
    expression: str
    probabilities: dict[str, float]


class Recogniser(nn.Module):
    """A classifier with its preprocessing, in evaluation mode.

    Attributes:
        network: The classifier.
        spec: Its specification.
        expressions: Names of its outputs, in order.
        terms: Terms it inherits from initial weights and training sets.
        address: Where it was loaded from.
    """

    def __init__(self, network: Classifier, address: str = "") -> None:
        super().__init__()
        self.network = network
        self.spec: ModelSpec = network.spec
        self.expressions: tuple[str, ...] = network.spec.expressions
        self.terms: tuple[str, ...] = network.spec.terms
        self.address = address
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores before the softmax, `(N, 7)`.

        Args:
            images: Faces `(N, 3, H, W)`, RGB in [0, 255], framed as in training; resized where need be.
        """
        scores: Tensor = self.network(resized(images, self.spec.image_size))
        return scores

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probabilities of each expression, `(N, 7)`; arguments as of `forward`."""
        with full_fp32():
            logits: Tensor = self(images).float()
            return (logits / self.spec.temperature).softmax(1)

    def faces(self, picture: Picture, framing: str = "auto") -> list[RecognisedFace]:
        """Find the faces of a picture and recognise their expressions, the main face first.

        Args:
            picture: A file, a file's content, a Pillow picture, or pixels `(H, W, 3)`, RGB in [0, 255].
            framing: `auto`: find faces and frame them, unless the model was trained on whole pictures; `none`: the
                whole picture is one face, stretched to a square.

        Raises:
            ConfigError: There is no such framing.
            DataError: The picture cannot be used, or the detector is not installed.
        """
        framed = _framed(picture, self.spec, framing)
        faces = []
        # A crowd in one batch could exhaust a small GPU's memory.
        for start in range(0, len(framed), BATCH_SIZE):
            batch = framed[start : start + BATCH_SIZE]
            rows = self.probabilities(to_images(batch, self.device)).tolist()
            for face, row in zip(batch, rows, strict=True):
                probabilities = dict(zip(self.expressions, row, strict=True))
                expression = max(probabilities, key=probabilities.__getitem__)
                faces.append(RecognisedFace(face.box, face.score, face.crop, expression, probabilities))
        return faces

    @property
    def device(self) -> torch.device:
        """Return where the network computes."""
        return next(self.network.parameters()).device


def load(address: str, device: str = "auto") -> Recogniser:
    """Load the model at an address; arguments and errors as of `fer.load`."""
    torch_device = pick_device(device)
    if not address.startswith(ADDRESSES):
        network = load_classifier(expand_home(address))
    else:
        # MLflow takes seconds to import, and files need none of it.
        from fer.tracking.models import fetch_network

        # Loaded weights are in memory, so the download need not outlive this.
        with tempfile.TemporaryDirectory() as folder:
            network, _ = fetch_network(address, Path(folder), load_classifier)
    return Recogniser(network, address).to(torch_device)


def find_faces(picture: Image.Image, spec: ModelSpec, framing: str) -> list[FramedFace]:
    """Find the faces of a picture and cut them out as a model expects them, the main face first.

    Args:
        picture: RGB, as displayed.
        spec: The model's.
        framing: As of `Recogniser.faces`.

    Raises:
        ConfigError: There is no such framing.
        DataError: The detector is not installed.
    """
    if framing not in FRAMINGS:
        raise ConfigError(unknown_name("framing", framing, FRAMINGS))
    # A model trained on whole pictures has never seen a face cut out.
    detect = framing == "auto" and spec.framing == "detect"
    return framed_faces(picture, spec.crop_size, _detector() if detect else None)


def to_images(faces: Sequence[FramedFace], device: torch.device) -> Tensor:
    """Return the crops of faces as images `(N, 3, S, S)` in [0, 255] on a device."""
    pixels = torch.from_numpy(np.stack([face.crop for face in faces])).to(device)
    return pixels.permute(0, 3, 1, 2).float()


def resized(images: Tensor, side: int) -> Tensor:
    """Resize images `(N, 3, H, W)` to the side of a network's input, where they have another one."""
    if tuple(images.shape[-2:]) == (side, side):
        return images
    # Antialiasing matters where pictures shrink; where they grow, this is the resizing of training.
    return F.interpolate(images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)


@cache
def _detector() -> CenterFace:
    """Return the detector; all models and threads share one."""
    return center_face()


def _framed(picture: Picture, spec: ModelSpec, framing: str) -> list[FramedFace]:
    """Find the faces of any picture; arguments as of `Recogniser.faces`.

    Raises:
        DataError: It is no picture.
    """
    try:
        if isinstance(picture, str | Path | bytes):
            source = picture if isinstance(picture, bytes) else expand_home(picture)
            return open_within_budget(
                source,
                lambda image: find_faces(decode(image)[0], spec, framing),
                detection_memory,
            )
        upright = _upright(picture)
    except UnusableImage as error:
        name = f"{printable(shortened(str(picture), LONGEST_PATH))}: " if isinstance(picture, str | Path) else ""
        raise DataError(f"{name}{error}: give a picture such as a JPEG or PNG file") from None
    return find_faces(upright, spec, framing)


def _upright(picture: Image.Image | NDArray[np.uint8]) -> Image.Image:
    """Return pixels as displayed, in RGB.

    Raises:
        DataError: They are none.
        UnusableImage: As `upright_rgb`.
    """
    try:
        # Pillow would take pixels of some other types as other numbers than they are.
        if isinstance(picture, np.ndarray) and picture.dtype != np.uint8:
            raise TypeError
        upright = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        if 0 in upright.size:
            raise ValueError
        return upright_rgb(upright)
    except UnusableImage:
        raise
    except Exception:  # Pillow raises nearly anything for what is no picture
        raise DataError("the picture holds no pixels: give uint8 of shape (H, W, 3)") from None
