"""The served model's requests: tables of any columns and kinds of values, and pictures of any bytes in any encoding."""

import base64
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from fer.data.framing import center_face_weights
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.portable.predictions import FAILED, Predictor
from fer.prediction.recogniser import RecognisedFace, Recogniser
from fer.serving import ServedModel
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import TEXTS, hostile_values, spoilt
from tests.fuzz.pictures import fewer_pixels, png, samples

SPEC = ModelSpec("squeezenet1_1", 32)


@cache
def predictor() -> Predictor:
    torch.manual_seed(0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_classifier(Classifier(SPEC), folder)
        (folder / "detector.onnx").write_bytes(center_face_weights())
        return Predictor(folder, folder / "detector.onnx")


@cache
def served() -> ServedModel:
    """The model as the server holds it, without what MLflow does around it."""
    model = ServedModel()
    model.predictor = predictor()
    return model


def small() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 150, 100)).save(content, "PNG")
    return content.getvalue()


def values() -> SearchStrategy[Any]:
    """Return values of a table's cell: pictures in base64, in other ways, and anything else."""
    pictures = spoilt(samples())
    texts = pictures.map(lambda content: base64.b64encode(content).decode())
    wide = (png([(b"IHDR", bytes.fromhex("0001000000010000") + b"\x08\x02\0\0\0")]), b"BM" + bytes(60))
    return st.one_of(
        texts,
        texts,
        texts.map(lambda text: f"data:image/png;base64,{text}"),
        texts.map(lambda text: "\n".join(text[start : start + 20] for start in range(0, len(text), 20))),
        spoilt([base64.b64encode(small())]).map(lambda content: content.decode("latin-1")),
        pictures,
        st.sampled_from(wide),
        st.sampled_from(TEXTS),
        hostile_values(),
        st.sampled_from((None, float("nan"), float("inf"), pd.NA, pd.NaT, np.nan, np.float32(1), np.int64(3), b"")),
        st.sampled_from((np.zeros(3), np.zeros((2, 2, 3), np.uint8), np.array("x"), bytearray(b"x"), memoryview(b"x"))),
        st.just("A" * 200_000),
        st.just("A \n" * 60_000),
    )


def tables() -> SearchStrategy[tuple[list[Any], list[list[Any]], Any]]:
    """Return columns, rows and params of a request."""
    names = st.one_of(st.just("image"), st.just("image"), st.sampled_from(("Image", "a", 0, None, 1.5, *TEXTS[:10])))
    columns = st.lists(names, min_size=1, max_size=3)
    framings = st.sampled_from(("auto", "none", "none", "none", "none", "both", 3, None, ["auto"]))
    params = st.one_of(framings.map(lambda framing: {"framing": framing}), st.sampled_from((None, {"other": 1})))
    return columns.flatmap(
        lambda chosen: st.tuples(
            st.just(chosen),
            st.lists(st.lists(values(), min_size=len(chosen), max_size=len(chosen)), max_size=3),
            params,
        )
    )


def answer(value: tuple[list[Any], list[list[Any]], Any], folder: Path) -> pd.DataFrame:
    """Answer a request, and check that each row has a sentence or a prediction."""
    columns, rows, params = value
    # One cell after the other, because pandas makes other things of lists and arrays.
    table = pd.DataFrame(index=range(len(rows)), columns=columns, dtype=object)
    for number, row in enumerate(rows):
        for place, cell in enumerate(row):
            table.iat[number, place] = cell
    with fewer_pixels():
        result = served().predict(None, table, params)
    assert list(result.columns) == predictor().columns
    if "image" in columns and columns.count("image") == 1:
        assert set(result["input_row"]) == set(range(len(rows)))
    for sentence, expression in zip(result["error"], result["expression"], strict=True):
        assert (sentence is None) != (expression is None)
        # That is what is said of faults of ours.
        assert sentence != FAILED
        assert sentence is None or (len(sentence) < 300 and sentence.isprintable())
    return result


@cache
def recogniser() -> Recogniser:
    torch.manual_seed(0)
    return Recogniser(Classifier(SPEC))


def recognise(value: tuple[Any, str], folder: Path) -> list[RecognisedFace]:
    """Recognise as a program does that uses this package."""
    picture, framing = value
    with fewer_pixels():
        faces = recogniser().faces(picture, framing)
    assert all(isinstance(face, RecognisedFace) for face in faces)
    return faces


def pictures_of_programs() -> SearchStrategy[tuple[Any, str]]:
    arrays = st.builds(
        lambda shape, kind: np.zeros(shape, kind),
        st.lists(st.integers(0, 9), max_size=4).map(tuple),
        st.sampled_from((np.uint8, np.int64, np.float32, bool, "U3", object)),
    )
    given = st.one_of(
        spoilt(samples()),
        arrays,
        arrays,
        st.sampled_from(("/etc/hostname", "/dev/zero", "/proc/self/mem", "~nobody-there/x", "", ".", *TEXTS)),
        st.sampled_from([Image.new(mode, (9, 9)) for mode in ("1", "L", "P", "RGBA", "CMYK", "I", "F", "LAB", "HSV")]),
        st.sampled_from((None, 3, [], Image.new("RGB", (0, 0)), Image.new("RGB", (1, 3000)))),
    )
    return st.tuples(given, st.sampled_from(("auto", "none", "none", "both", "")))


def targets() -> list[Target[Any]]:
    """Return the readers of pictures that are sent or given."""
    text = base64.b64encode(small()).decode()
    sound = (["image"], [[text], [small()], [None]], {"framing": "none"})
    twice = (["image", "image"], [[text, text]], {"framing": "none"})
    check: Callable[..., Any] = answer
    return [
        Target("requests of the served model", tables(), check, pd.DataFrame, (sound, (["image"], [], None)), (twice,)),
        Target("pictures given to fer.load", pictures_of_programs(), recognise, list, ((small(), "none"),)),
    ]
