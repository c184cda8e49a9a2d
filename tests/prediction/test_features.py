"""`features`: the real command on drawn sets and painted pictures; what it writes is what enters the last layer."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from fer.cli import main
from fer.data.augment import resize
from fer.data.manifest import read_manifest
from fer.data.packing import pack
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import save_classifier, save_encoder
from fer.prediction import features, recogniser
from fer.prediction.recogniser import Recogniser
from fer.utils.paths import manifest_path
from tests.data.test_framing import StandIn, paint

SPEC = ModelSpec("mobilenet_v2", 32, crop_size=20, trained_on=("raf",), terms=("research only",))
WIDTH = 1280


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    network = Classifier(SPEC)
    # Features of an untrained network in evaluation mode are nearly 0.
    network.train()(torch.rand(8, 3, 32, 32) * 255)
    return network.eval()


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_classifier(classifier, folder)
    return folder


@pytest.fixture
def root(prepared: Any, tmp_path: Path) -> Path:
    """A data root of the test's own with three sets."""
    return Path(shutil.copytree(prepared[0], tmp_path / "data"))


Fer = Callable[..., SimpleNamespace]


@pytest.fixture
def fer(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fer:
    """`features` in a folder of its own: its exit code, what it said, and what lies in the folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(recogniser, "_detector", StandIn)

    def run(**options: object) -> SimpleNamespace:
        given = {"model": model, "device": "cpu"} | options
        capsys.readouterr()
        code: object = 0
        try:
            main(["features", *(str(word) for pair in given.items() for word in (f"--{pair[0]}", pair[1]))])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        left = sorted(path.name for path in here.iterdir())
        return SimpleNamespace(code=code, out=said.out, err=said.err, left=left)

    return run


@contextmanager
def last_inputs(classifier: Classifier) -> Iterator[list[torch.Tensor]]:
    """Collect what enters the last layer while the block runs."""
    collected: list[torch.Tensor] = []
    head = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)][-1]
    hook = head.register_forward_hook(lambda layer, inputs, output: collected.append(inputs[0]))
    try:
        with torch.inference_mode():
            yield collected
    finally:
        hook.remove()


def numbers(table: pandas.DataFrame) -> np.ndarray:
    return table[[f"f{n}" for n in range(WIDTH)]].to_numpy()


def test_a_row_holds_what_enters_the_last_layer_for_the_pixels_of_a_test(
    fer: Fer, classifier: Classifier, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several parts of each set, none of which is a whole number of batches.
    monkeypatch.setattr(features, "ROWS", 10)
    ended = fer(dataset="raf+wikimedia", output="mine.parquet", batch_size=4)
    assert ended.code == 0, ended.err
    assert ended.left == ["mine.parquet", "mine.parquet.json"]
    table = pandas.read_parquet("mine.parquet")
    manifests = [read_manifest(manifest_path(root, name)) for name in ("raf", "wikimedia")]
    rows = [(manifest.dataset, row) for manifest in manifests for row in manifest.images]
    for column in ("path", "sha256", "split", "expression", "person", "angle"):
        assert list(table[column]) == [getattr(row, column) for _, row in rows]
    assert list(table["dataset"]) == [name for name, _ in rows]
    assert set(table["split"]) == {"train", "validation", "test"}
    assert numbers(table).dtype == np.float32
    pixels = np.concatenate([pack(manifest, root, SPEC.crop_size) for manifest in manifests])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with last_inputs(classifier) as expected:
        classifier(resize(images, SPEC.image_size))
    assert float(expected[0].std()) > 0.01
    np.testing.assert_allclose(numbers(table), expected[0].numpy(), atol=1e-5)


def test_its_description_says_what_a_reader_must_know(fer: Fer, root: Path) -> None:
    ended = fer(dataset="kdef", output="mine.csv")
    described = json.loads(Path("mine.csv.json").read_text(encoding="utf-8"))
    assert described["expressions"] == list(EXPRESSIONS)
    assert (described["arch"], described["image_size"], described["crop_size"]) == ("mobilenet_v2", 32, 20)
    assert described["digests"] == {"kdef": read_manifest(manifest_path(root, "kdef")).digest}
    assert described["terms"][0] == "research only" and len(described["terms"]) == 2
    assert described["rows"] == len(pandas.read_csv("mine.csv"))
    for words in ("f0 to f1279", "pandas.read_csv('mine.csv')", *described["terms"]):
        assert words in ended.out


def test_both_formats_and_an_encoder_of_the_same_backbone_give_the_same_rows(
    fer: Fer, classifier: Classifier, root: Path, tmp_path: Path
) -> None:
    encoder = Encoder(SPEC)
    encoder.load_state_dict(classifier.state_dict(), strict=False)
    save_encoder(encoder, tmp_path / "encoder", "simclr")
    assert fer(dataset="wikimedia", output="a.parquet").code == 0
    assert fer(dataset="wikimedia", output="b.csv").code == 0
    ended = fer(dataset="wikimedia", model=tmp_path / "encoder")
    assert ended.left == sorted(
        [f"{name}{end}" for name in ("a.parquet", "b.csv", "features-encoder.parquet") for end in ("", ".json")]
    )
    first = pandas.read_parquet("a.parquet")
    assert first.equals(pandas.read_parquet("features-encoder.parquet"))
    as_text = pandas.read_csv("b.csv", keep_default_na=False, dtype={f"f{n}": "float32" for n in range(WIDTH)})
    assert list(as_text.columns) == list(first.columns)
    assert np.array_equal(numbers(as_text), numbers(first))
    assert list(as_text["path"]) == list(first["path"])


def test_faces_of_pictures_are_those_that_predict_sees(fer: Fer, classifier: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "album"
    paint(folder / "one.png", 30, 40)
    paint(folder / "deep/two.png", 50, 44, 20)
    paint(folder / "none.png", 0, 0)
    (folder / "notes.txt").write_text("no picture")
    ended = fer(image=folder, output="mine.parquet")
    assert ended.code == 0, ended.err
    table = pandas.read_parquet("mine.parquet")
    assert list(table["picture"]) == ["deep/two.png", "one.png"]
    assert list(table["face"]) == [1, 1]
    model = Recogniser(classifier)
    for (_, row), values in zip(table.iterrows(), numbers(table), strict=True):
        with last_inputs(classifier) as expected:
            (face,) = model.faces(folder / row["picture"])
        np.testing.assert_allclose(values, expected[0][0].numpy(), atol=1e-5)
        assert row[["left", "top", "right", "bottom"]].tolist() == pytest.approx(face.box)
        assert row["score"] == pytest.approx(face.score)
    skipped = json.loads(Path("mine.parquet.json").read_text(encoding="utf-8"))["skipped"]
    assert "framing=none" in skipped["none.png"] and "picture" in skipped["notes.txt"]
    assert "without a face, and left out: 2 files; mine.parquet.json says why" in ended.out


def test_a_whole_picture_is_a_face_where_that_is_asked_for(fer: Fer, tmp_path: Path) -> None:
    paint(tmp_path / "none.png", 0, 0)
    assert fer(image=tmp_path / "none.png", framing="none", output="mine.parquet").code == 0
    assert pandas.read_parquet("mine.parquet")[["left", "top", "right", "bottom"]].to_numpy().tolist() == [
        [0, 0, 80, 100]
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "features of what? give either dataset=<prepared sets> or image=<a picture or a folder>"),
        ({"dataset": "raf", "image": "one.png"}, "features of what?"),
        ({"dataset": "raf", "output": "mine.npz"}, "output must end in .parquet or .csv, not 'mine.npz'"),
        ({"dataset": "ferplus"}, "FER+ is not prepared under"),
        ({"dataset": "nothing"}, "unknown data set 'nothing'"),
        ({"dataset": "raf", "model": "nowhere"}, "there is no model at nowhere"),
        ({"image": "nowhere"}, "there is no such file or folder"),
        ({"image": "../none.png"}, "there is no face to take features of: of 1 files none.png: no face found"),
        ({"image": "../none.png", "framing": "tight"}, "unknown framing 'tight'"),
    ],
    ids=str,
)
def test_a_mistake_costs_one_sentence_and_leaves_nothing(
    fer: Fer, root: Path, options: dict[str, str], sentence: str
) -> None:
    paint(root.parent / "none.png", 0, 0)
    ended = fer(**options)
    assert ended.code == 2
    assert sentence in ended.err and ended.err.startswith("fer: ") and ended.err.count("\n") == 1
    assert ended.left == []


def test_a_network_that_does_not_end_in_a_linear_layer_is_refused(fer: Fer, root: Path, tmp_path: Path) -> None:
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32)), tmp_path / "squeezenet")
    ended = fer(dataset="raf", model=tmp_path / "squeezenet")
    assert (ended.code, ended.left) == (2, [])
    assert "squeezenet has no features: arch squeezenet1_1 does not end in a linear layer" in ended.err


def test_what_stops_it_leaves_an_earlier_table_as_it_was(fer: Fer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fer(dataset="wikimedia", output="mine.csv").code == 0
    before = Path("mine.csv").read_bytes()

    def stop(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(features, "outputs", stop)
    ended = fer(dataset="raf", output="mine.csv")
    assert (ended.code, ended.left) == (143, ["mine.csv", "mine.csv.json"])
    assert Path("mine.csv").read_bytes() == before
