"""What the demo does with a dropped picture, without its page: take the upload, recognise, and keep nothing."""

import shutil
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import fer
from fer.errors import ConfigError, DataError, FerError, unknown_name
from fer.model_card.limits import limits
from fer.portable.images import MAX_PIXELS, UnusableImage, decode_rgb
from fer.prediction.demo_page import answer_page, fault_page, model_page
from fer.prediction.explain import explain_faces
from fer.prediction.recogniser import Recogniser
from fer.tracking.models import pinned, registered_models

KEPT_MODELS = 2
"""Models that stay in memory."""


def choices(address: str) -> dict[str, str]:
    """Return the models a person may choose, address by label: the given one first, then all registered ones.

    An alias is replaced by its version, so that each label goes on naming what is loaded.
    """
    address = pinned(address)
    listed = {model.address: model.label for model in registered_models()}
    first = {address: listed.get(address, address)}
    return {label: place for place, label in (first | listed).items()}


class Answering:
    """Answers to pictures, by the models a person may choose.

    Args:
        models: Addresses by label; no other model is ever loaded.
        device: Where to compute.
    """

    def __init__(self, models: Mapping[str, str], device: str) -> None:
        self._models, self._device = models, device
        self._load = lru_cache(KEPT_MODELS)(fer.load)

    def recogniser(self, label: str) -> Recogniser:
        """Return a model.

        Raises:
            ConfigError: It is none of the choices.
            ModelError: It cannot be loaded.
        """
        if label not in self._models:
            raise ConfigError(unknown_name("model", label, self._models))
        return self._load(self._models[label], self._device)

    def about(self, label: str) -> str:
        """Return what is to be known of a model, as HTML."""
        try:
            spec = self.recogniser(label).spec
        except FerError as error:
            return fault_page(f"{error}.")
        trained = "+".join(spec.trained_on) or "unknown pictures"
        what = f"{label}: {spec.arch}, faces of {spec.image_size} pixels, trained on {trained}."
        return model_page(what, spec.terms, limits(spec, {}))

    def answer(self, content: bytes, label: str, whole: bool, explain: bool) -> str:
        """Return the answer to a picture, or why there is none, as HTML.

        Args:
            content: The picture, encoded.
            label: The chosen model.
            whole: Whether the whole picture is one face.
            explain: Whether to show where on each face the answer comes from.
        """
        start = time.perf_counter()
        try:
            recogniser, picture = self.recogniser(label), decode_rgb(content)
            faces = recogniser.faces(picture, framing="none" if whole else "auto")
            maps = explain_faces(recogniser, faces) if explain else []
        except UnusableImage as fault:
            most = f"A picture may have up to {MAX_PIXELS // 10**6} million pixels."
            return fault_page(f"No answer: {fault}. {most}")
        except FerError as error:
            return fault_page(f"{error}.")
        return answer_page(picture, faces, maps, f"{label}, {time.perf_counter() - start:.1f} seconds.")


def taken(path: Path, folder: Path) -> bytes:
    """Return an upload's content and delete it, with the folder that was made for it.

    Args:
        path: Where the upload lies.
        folder: Where uploads lie; nothing outside it is read or deleted.

    Raises:
        DataError: It is not there, or not there any more.
    """
    place, root = path.resolve(), folder.resolve()
    if not place.is_relative_to(root) or not place.is_file():
        raise DataError("the upload is gone: drop the picture again")
    content = place.read_bytes()
    place.unlink()
    if place.parent != root:
        shutil.rmtree(place.parent, ignore_errors=True)
    return content
