"""The demo without its page: take an upload, recognise its faces, render them as HTML, and keep nothing."""

import base64
import io
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

import fer
from fer.errors import ConfigError, DataError, FerError, unknown_name
from fer.model_card.card import limits
from fer.portable.detection import detection_memory
from fer.portable.images import MAX_PIXELS, UnusableImage, decode
from fer.portable.memory import open_within_budget
from fer.prediction.annotate import MAX_CARDS, SaliencyMap, draw_boxes, overlay_saliency
from fer.prediction.explain import explain_faces
from fer.prediction.recogniser import RecognisedFace, Recogniser
from fer.tracking.naming import resolve_alias
from fer.tracking.registry import registered_models
from fer.utils.rendering import render

MAX_LOADED_MODELS = 2
CROP_SIDE = 192
"""Side of a card's pictures in pixels; shown at 112, so that they are sharp on dense screens."""


def model_choices(address: str) -> dict[str, str]:
    """Return the models a person may choose, address by label: the given one first, then all registered ones.

    An alias is replaced by its version, so that each label goes on naming what is loaded.
    """
    address = resolve_alias(address)
    labels = registered_models()
    first = {address: labels.get(address, address)}
    return {label: model for model, label in (first | labels).items()}


class DemoBackend:
    """Recognises faces of uploads with the model a person has chosen.

    Args:
        models: Addresses by label; no other model is ever loaded.
        device: Where to compute.
    """

    def __init__(self, models: Mapping[str, str], device: str) -> None:
        self._models = models
        self._device = device
        # A cache of its own, so that models are freed with the backend.
        self._load = lru_cache(MAX_LOADED_MODELS)(fer.load)

    def recogniser(self, label: str) -> Recogniser:
        """Return a model.

        Raises:
            ConfigError: It is none of the choices.
            ModelError: It cannot be loaded.
        """
        # Whoever reaches the page may send any label; as an address it would load any file of this machine.
        if label not in self._models:
            raise ConfigError(unknown_name("model", label, self._models))
        return self._load(self._models[label], self._device)

    def describe(self, label: str) -> str:
        """Return a model's specification, terms and limits as HTML."""
        try:
            spec = self.recogniser(label).spec
        except FerError as error:
            return error_html(f"{error}.")
        trained_on = "+".join(spec.trained_on) or "unknown pictures"
        summary = f"{label}: {spec.arch}, faces of {spec.image_size} pixels, trained on {trained_on}."
        return render(
            "demo_model.html",
            summary=summary,
            terms=spec.terms,
            limits=limits(spec, {}),
        )

    def predict(self, content: bytes, label: str, whole: bool, explain: bool) -> str:
        """Return the faces of a picture and their expressions, or why there are none, as HTML.

        Args:
            content: The picture, encoded.
            label: The chosen model.
            whole: Whether the whole picture is one face.
            explain: Whether to show a saliency map of each face.
        """
        try:
            recogniser = self.recogniser(label)
            return open_within_budget(
                content,
                lambda image: _answer(recogniser, decode(image)[0], label, whole, explain),
                detection_memory,
            )
        except UnusableImage as error:
            limit = f"A picture may have up to {MAX_PIXELS // 10**6} million pixels."
            return error_html(f"No answer: {error}. {limit}")
        except FerError as error:
            return error_html(f"{error}.")


def _answer(recogniser: Recogniser, picture: Image.Image, label: str, whole: bool, explain: bool) -> str:
    """Return the faces of a picture as HTML; arguments as of `DemoBackend.predict`."""
    start = time.perf_counter()
    faces = recogniser.faces(picture, framing="none" if whole else "auto")
    maps = explain_faces(recogniser, faces) if explain else []
    seconds = time.perf_counter() - start
    return faces_html(picture, faces, maps, f"{label}, {seconds:.1f} seconds.")


def faces_html(
    picture: Image.Image,
    faces: Sequence[RecognisedFace],
    maps: Sequence[SaliencyMap],
    summary: str,
) -> str:
    """Render the picture with its faces marked, and a card for each of the first `MAX_CARDS`.

    Everything is inside the text, pictures too: nothing needs a file or another address.

    Args:
        picture: Upright, RGB.
        faces: The faces.
        maps: Saliency `(S, S)` in [0, 1] of the first faces; may be none.
        summary: A line with the model's name and the time it took.
    """
    cards = []
    for index, face in enumerate(faces[:MAX_CARDS]):
        crop = Image.fromarray(face.crop).resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BICUBIC)
        overlay = overlay_saliency(face.crop, maps[index], CROP_SIDE) if index < len(maps) else None
        cards.append(
            {
                "crop": _data_url(crop),
                "map": _data_url(overlay) if overlay else "",
                "expression": face.expression,
                "probabilities": face.probabilities,
            }
        )
    return render(
        "demo_faces.html",
        picture=_data_url(draw_boxes(picture, faces)),
        summary=summary,
        explained=bool(maps),
        cards=cards,
        count=len(faces),
    )


def error_html(sentence: str) -> str:
    """Render why there is no prediction."""
    return render("demo_error.html", sentence=sentence)


def _data_url(picture: Image.Image) -> str:
    # A photograph is far smaller so than as PNG, and a page holds up to 49 pictures.
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def take_upload(path: Path, folder: Path) -> bytes:
    """Return an upload's content and delete it, with the folder that was made for it.

    Args:
        path: The upload's file.
        folder: Where uploads lie; nothing outside it is read or deleted.

    Raises:
        DataError: It is not there, or not there any more.
    """
    # Links are followed before the check: one in the folder may point outside it.
    file = path.resolve()
    root = folder.resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise DataError("the upload is gone: drop the picture again")
    content = file.read_bytes()
    # Before anything else may fail: an upload is kept nowhere.
    file.unlink()
    if file.parent != root:
        shutil.rmtree(file.parent, ignore_errors=True)
    return content
