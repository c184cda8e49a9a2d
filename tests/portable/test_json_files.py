"""No model.json ends in a trace: every reader of one takes it or refuses it in one short sentence."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.prepared import load_prepared, preparation_counts, read_summary
from fer.errors import DataError, ModelError
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import ENCODER_SPEC, SPEC, load_classifier, read_folder, save_classifier, save_encoder
from fer.models.initial_weights import resolve_init
from fer.portable import json_files
from fer.portable.json_files import read_json, read_object
from fer.portable.predictions import PortableClassifier, UnusableModel

LONGEST = 500
DEEP = 100_000
REMOVED = object()
Refused = (ModelError, UnusableModel)

TEXTS = {
    "nothing": "",
    "a brace": "{",
    "a list": "[1]",
    "null": "null",
    "text": '"model"',
    "a number": "3",
    "deep lists": "[" * DEEP,
    "deep closed lists": "[" * DEEP + "]" * DEEP,
    "deep mappings": '{"a": ' * DEEP + "1" + "}" * DEEP,
    "a number of 5,000 digits": '{"image_size": ' + "9" * 5000 + "}",
    "text after its end": "{} {}",
    "zeros": "\0" * 5000,
    "a comment": "// a comment\n{}",
}
WRONG: dict[str, list[Any]] = {
    "arch": [None, 3, [], {}, "resnet5O", "", "x" * 5000, "../../x", "vit_b_16", REMOVED],
    "image_size": [None, "32", 32.5, True, [], -32, 0, 10**6, 10**400, float("nan"), float("inf"), REMOVED],
    "crop_size": [None, "32", 1.5, [], -1, 33, 10**400],
    "arch_options": [
        None,
        [],
        3,
        "x",
        {"weights": "DEFAULT"},
        {"num_classes": 3},
        {"a": {"b": [1]}},
        {"a": "x" * 5000},
    ],
    "mean": [
        None,
        3,
        "abc",
        [],
        [1, 2],
        [1, 2, "x"],
        [1, 2, None],
        [1, 2, float("nan")],
        [1, 2, 10**400],
        [[1]] * 3,
        {},
    ],
    "std": [None, 3, [], [0, 1, 1], [-1, 1, 1], [1, 2, float("inf")], {"a": 1}, [1] * 5000],
    "expressions": [None, 3, [], "surprise", [1] * 7, [*EXPRESSIONS[:6], None], [["surprise"]], {}, ["x" * 5000]],
    "framing": [None, 3, "auto", [], {}, "x" * 5000],
    "temperature": [None, 0, -1, "hot", [], float("nan"), float("inf"), 10**400, True],
    "training_prior": [None, 3, [0.5], [None] * 7, [-1] * 7, ["x"] * 7, [0.1] * 5000],
    "training_counts": [None, 3, ["x"] * 7, [-1] * 7, [1.5] * 7],
    "trained_on": [None, 3, "raf", [1], [None], [["raf"]], {}],
    "terms": [None, 3, [1], {}],
    "training_images": [None, 3, [1]],
    "format": [None, 0, 2, "1", REMOVED],
    "another key": [3],
    "x" * 5000: [3],
}
SERVED = ("arch", "image_size", "crop_size", "mean", "std", "expressions", "framing", "temperature")
"""What the served model reads too."""
CASES = [(key, value) for key, values in WRONG.items() for value in values]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(ModelSpec("squeezenet1_1", 32)).eval()


@pytest.fixture(scope="module")
def folder(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save_classifier(classifier, made)
    return made


@pytest.fixture
def described(folder: Path) -> Any:
    """Write a model's description; the right one comes back afterwards."""
    whole = (folder / SPEC).read_bytes()
    yield lambda content: (folder / SPEC).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / SPEC).write_bytes(whole)


def refusal(read: Callable[[], object], *names: str) -> str:
    """Return the sentence of a refusal without the names of files in it, having checked its form."""
    with pytest.raises(Refused) as caught:
        read()
    message = str(caught.value)
    assert any(name in message for name in names)
    for name in names:
        message = message.replace(name, "")
    assert "\n" not in message
    assert len(message) < LONGEST
    return message


def changed(key: str, value: Any) -> dict[str, Any]:
    spec = ModelSpec("squeezenet1_1", 32).to_dict() | {key: value}
    return {name: kept for name, kept in spec.items() if kept is not REMOVED}


@pytest.mark.parametrize(
    "text", [*TEXTS.values(), b"\xff\xfe{}", "{}".encode("utf-16")], ids=[*TEXTS, "bytes", "UTF-16"]
)
def test_what_is_no_json_of_names_and_values_is_refused_by_every_reader(
    text: str | bytes, folder: Path, described: Callable[[str | bytes], None]
) -> None:
    described(text)
    for read in (load_classifier, read_folder, PortableClassifier):
        refusal(lambda read=read: read(folder), str(folder / SPEC))


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key[:20]}-{str(value)[:20]}" for key, value in CASES])
def test_a_value_of_another_kind_or_out_of_range_is_refused_by_every_reader(
    key: str, value: Any, folder: Path, classifier: Classifier, described: Callable[[str], None], tmp_path: Path
) -> None:
    spec = changed(key, value)
    described(json.dumps(spec))
    for read in (load_classifier, read_folder):
        refusal(lambda read=read: read(folder), str(folder / SPEC))
    if key in SERVED and value != "vit_b_16":
        refusal(lambda: PortableClassifier(folder), str(folder / SPEC), str(folder))
    torch.save({"spec": spec, "model": classifier.state_dict()}, tmp_path / "best.ckpt")
    refusal(lambda: load_classifier(tmp_path / "best.ckpt"), str(tmp_path / "best.ckpt"))
    if "expressions" in spec:
        refusal(lambda: resolve_init(str(tmp_path / "best.ckpt"), "squeezenet1_1"), str(tmp_path / "best.ckpt"))


def test_the_right_description_is_read_by_every_reader(folder: Path) -> None:
    assert load_classifier(folder).spec == read_folder(folder)[0] == ModelSpec("squeezenet1_1", 32)
    assert PortableClassifier(folder).expressions == list(EXPRESSIONS)


def test_an_encoders_description_is_refused_likewise(tmp_path: Path) -> None:
    save_encoder(Encoder(ModelSpec("resnet18", 32)), tmp_path, "swav")
    for text in (*TEXTS.values(), json.dumps({"arch": "resnet18", "image_size": "32"})):
        (tmp_path / ENCODER_SPEC).write_text(text)
        refusal(lambda: read_folder(tmp_path), str(tmp_path / ENCODER_SPEC))


def mutated(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one of its parts put into another's place."""
    odd = [None, True, -1, 0, 1e300, 10**30, "", "x", [], {}, [[[]]], {"a": {}}, "NaN", float("nan"), "\ud800"]
    if rng.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return rng.choice(odd)
    if isinstance(value, list):
        place = rng.randrange(len(value))
        return [*value[:place], mutated(value[place], rng), *value[place + 1 :]]
    key = rng.choice(sorted(value))
    return value | {key: mutated(value[key], rng)}


def test_whatever_a_description_holds_it_is_read_or_refused_in_one_short_sentence(
    folder: Path, described: Callable[[bytes], None]
) -> None:
    rng, refused = random.Random(0), 0
    whole = json.loads((folder / SPEC).read_text())
    for _ in range(250):
        content = bytearray(json.dumps(mutated(whole, rng)).encode())
        for place in (rng.randrange(len(content)) for _ in range(rng.choice([0, 0, 1, 3]))):
            content[place] = rng.randrange(256)
        described(bytes(content))
        for read in (read_folder, PortableClassifier):
            try:
                read(folder)
            except Refused as fault:
                refused += 1
                assert len(str(fault).replace(str(folder), "")) < LONGEST
    assert refused > 200


@pytest.mark.parametrize("text", [*TEXTS.values(), "{}", '{"version": [], "left_out": 3, "framing": {}}'])
def test_a_damaged_summary_of_a_prepared_set_is_made_anew_or_named(text: str, tmp_path: Path) -> None:
    place = tmp_path / "manifests" / "wikimedia.json"
    place.parent.mkdir()
    place.write_text(text)
    assert load_prepared(WIKIMEDIA, tmp_path) is None
    for read in (read_summary, preparation_counts):
        with pytest.raises(DataError, match="is missing, damaged or of another version"):
            read(tmp_path, "wikimedia")


@pytest.mark.parametrize(
    ("text", "why"),
    [("[" * DEEP, "nested too deep"), ('{"a": NaN}', "it holds NaN"), ('{"a": -Infinity}', "it holds -Infinity")],
)
def test_what_is_wrong_is_said(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "any.json").write_text(text)
    with pytest.raises(ValueError, match=why):
        read_json(tmp_path / "any.json")


def test_other_than_names_and_values_is_said(tmp_path: Path) -> None:
    (tmp_path / "any.json").write_text("[]")
    assert read_json(tmp_path / "any.json") == []
    with pytest.raises(ValueError, match="it holds list, not names and values"):
        read_object(tmp_path / "any.json")


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_object(tmp_path / "a.json") == {"a": 1}
    monkeypatch.setattr(json_files, "MAX_BYTES", 7)
    with pytest.raises(ValueError, match="it is larger than 7 bytes"):
        read_object(tmp_path / "a.json")
