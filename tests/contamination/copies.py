"""Pictures of nothing that resemble each other by chance only, and copies of them as a collector would make them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.contamination.signatures import LARGE, SMALL, ImageSignatures


def texture(seed: int, size: tuple[int, int] = (219, 224)) -> Image.Image:
    """Return a smooth grey picture of this width and height."""
    noise = np.random.default_rng(seed).integers(0, 256, (11, 11), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def recompressed(picture: Image.Image, quality: int = 60) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("L")


def darkened(picture: Image.Image) -> Image.Image:
    return picture.point(lambda value: 0.6 * value + 15)


def cropped(picture: Image.Image, share: float, x: float = 0.4, y: float = 0.7, side: int = LARGE) -> Image.Image:
    """Return a square of this share of the shorter side; x and y in [0, 1] say where."""
    length = share * min(picture.size)
    left, top = x * (picture.width - length), y * (picture.height - length)
    return picture.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + length, top + length))


def known(dataset: str, pictures: list[Image.Image], people: list[str] | None = None) -> ImageSignatures:
    """Return what a set of these pictures would leave, stretched to squares."""

    def shrunk(side: int) -> NDArray[np.uint8]:
        squares = [np.asarray(item.convert("L").resize((side, side), Image.Resampling.BILINEAR)) for item in pictures]
        return np.stack(squares) if squares else np.empty((0, side, side), np.uint8)

    return ImageSignatures(
        dataset, f"digest of {dataset}",
        np.array([f"{dataset}/{number}.png" for number in range(len(pictures))], np.str_),
        np.array(people or [""] * len(pictures), np.str_),
        np.array([str(hash((item.size, item.tobytes()))) for item in pictures], np.str_),
        shrunk(SMALL), shrunk(LARGE),
    )  # fmt: skip


def whole(pictures: list[Image.Image]) -> list[NDArray[np.uint8]]:
    """Return pictures as `whole_images` gives them, their shorter side 96 px."""
    found = []
    for item in pictures:
        scale = 96 / min(item.size)
        found.append(np.asarray(item.resize((round(item.width * scale), round(item.height * scale)))))
    return found
