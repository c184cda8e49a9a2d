"""`predict`: the real command on painted pictures, with a small model and a stand-in for the detector."""

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image

from fer.cli import main
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.prediction import recogniser
from fer.prediction.annotate import CROP_SIDE
from fer.utils.rendering import escape_markdown
from tests import stores
from tests.data.test_framing import StandIn, paint
from tests.paths import REAL_FACES

Fer = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32, terms=("research only",), trained_on=("raf",))), folder)
    return folder


@pytest.fixture
def fer(
    empty_store: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Fer]:
    """`predict` in a folder and with a store of its own."""
    address = stores.copy(empty_store, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(recogniser, "_detector", StandIn)
    mlflow.set_tracking_uri(None)

    def run(**options: object) -> SimpleNamespace:
        given = {"model": model, "output": tmp_path / "out", "device": "cpu"} | options
        code = 0
        try:
            main(["predict", *(str(word) for pair in given.items() for word in (f"--{pair[0]}", pair[1]))])
        except SystemExit as stop:
            code = stop.code
        client = mlflow.MlflowClient(address)
        runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
        return SimpleNamespace(code=code, runs=runs, client=client, **capsys.readouterr()._asdict())

    yield run
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def logged(client: mlflow.MlflowClient, run_id: str, folder: str = "") -> list[str]:
    found = []
    for item in client.list_artifacts(run_id, folder or None):
        found += logged(client, run_id, item.path) if item.is_dir else [item.path]
    return sorted(found)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two pictures with a face, one without, one that is damaged, one text and one hidden file."""
    folder = tmp_path / "album"
    paint(folder / "a.png", 30, 40)
    paint(folder / "deep/er/با b.png", 50, 44, size=(160, 90))
    paint(folder / "none.png", 0, 0)
    (folder / "deep/broken.jpg").write_bytes((folder / "a.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("no picture")
    paint(folder / ".thumbnails/a.png", 30, 40)
    return folder


def test_a_folder_is_answered_face_by_face_and_every_file_is_accounted_for(fer, album, tmp_path):
    ended = fer(image=album)
    assert ended.code == 0, ended.err
    rows = table(tmp_path / "out")
    assert [(row["picture"], row["face"]) for row in rows] == [
        ("a.png", "1"), ("deep/er/با b.png", "1"), ("none.png", ""), ("deep/broken.jpg", ""), ("notes.txt", ""),
    ]  # fmt: skip
    for row in rows[:2]:
        shares = {name: float(row[name]) for name in EXPRESSIONS}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["expression"] == max(shares, key=shares.__getitem__)
        assert row["error"] == ""
    assert "no face found" in rows[2]["error"] and "framing=none" in rows[2]["error"]
    assert all("skipped: no readable picture" in row["error"] for row in rows[3:])
    assert tree(tmp_path / "out") == [
        "a.png.faces.jpg", "deep/er/با b.png.faces.jpg", "none.png.faces.jpg", "predictions.csv",
    ]  # fmt: skip
    assert "2 files are no pictures and were skipped: predictions.csv says which and why" in ended.out
    assert "terms of the model: research only" in ended.out


def test_the_result_is_one_run_with_counts_the_table_and_some_of_the_pictures(fer, album, model):
    (run,) = fer(image=album, log_pictures=2).runs
    client = mlflow.MlflowClient()
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == model.name
    assert run.info.run_name == f"predict · {album.name} · {model.name}"
    counted = {"pictures": 3, "faces": 2, "pictures_without_face": 1, "skipped_files": 2}
    assert {name: run.data.metrics[name] for name in counted} == counted
    assert sum(run.data.metrics[f"faces/{name}"] for name in EXPRESSIONS) == 2
    assert run.data.tags["terms"] == "research only"
    text = run.data.tags["mlflow.note.content"]
    assert text.startswith(f"Predictions of **{escape_markdown(model.name)}**: 2 faces in 3 pictures; 2 files skipped.")
    assert f"/{run.info.run_id}/artifacts/predictions.csv" in text and "(at most 2)" in text
    assert str(model.parent) not in text and str(album) not in text
    assert logged(client, run.info.run_id) == [
        "config.json", "pictures/a.png.faces.jpg", "pictures/deep/er/با b.png.faces.jpg", "predictions.csv",
    ]  # fmt: skip


def test_a_second_look_does_not_take_its_own_output_for_pictures(fer, album):
    first = fer(image=album, output=album / "found")
    assert (first.code, first.runs[0].data.metrics["pictures"]) == (0, 3)
    second = fer(image=album, output=album / "found")
    assert (second.code, second.runs[0].data.metrics["pictures"]) == (0, 3)
    refused = fer(image=album, output=album)
    assert refused.code == 2 and "output is the folder of the pictures" in refused.err


def test_an_output_around_the_pictures_hides_none_of_them(fer, album):
    around = fer(image=album, output=album.parent)
    assert (around.code, around.runs[0].data.metrics["pictures"]) == (0, 3)


def test_boxes_refer_to_the_picture_as_displayed(fer, tmp_path):
    paint(tmp_path / "upright.png", 50, 44, size=(160, 90))
    upright = Image.open(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    found = []
    for name in ("upright", "turned"):
        assert fer(image=tmp_path / f"{name}.png", output=tmp_path / name).code == 0
        (row,) = table(tmp_path / name)
        found.append({key: value for key, value in row.items() if key != "picture"})
        assert Image.open(tmp_path / name / f"{name}.png.faces.jpg").size[0] == 640
    assert found[0] == found[1]


def test_explain_writes_a_map_for_each_face_and_shows_it_beside_the_face(fer, tmp_path):
    paint(tmp_path / "a.png", 30, 40)
    sizes = []
    for explain in (False, True):
        assert fer(image=tmp_path / "a.png", explain=explain).code == 0
        sizes.append(Image.open(tmp_path / "out/a.png.faces.jpg").size)
    assert sizes[0] == sizes[1]
    saved = np.asarray(Image.open(tmp_path / "out/a.png.face1.png")).astype(int)
    assert saved.shape == (CROP_SIDE, CROP_SIDE, 3)
    assert (saved[..., 0] - saved[..., 2]).max() > 60, "orange where the evidence is"


def test_framing_none_takes_the_whole_picture_as_one_face(fer, tmp_path):
    paint(tmp_path / "none.png", 0, 0, size=(80, 100))
    assert fer(image=tmp_path / "none.png", framing="none").code == 0
    (row,) = table(tmp_path / "out")
    assert [row[side] for side in ("left", "top", "right", "bottom")] == ["0.0", "0.0", "80.0", "100.0"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give image=<a picture or a folder"),
        ({"image": "nowhere.jpg"}, "'nowhere.jpg': there is no such file or folder"),
        ({"image": "x" * 5000}, "there is no such file or folder"),
        ({"image": "empty"}, "holds no file"),
        ({"image": "notes.txt"}, "is no picture that can be read: no readable picture"),
        ({"image": "a.png", "model": "models:/nobody@champion"}, "no model at models:/nobody@champion"),
        ({"image": "a.png", "model": "empty"}, "holds no model"),
        ({"image": "a.png", "output": "notes.txt"}, "cannot be written"),
        ({"image": "texts"}, "holds no picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_one_sentence_and_exit_code_2(fer, tmp_path, options, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/one.txt").write_text("no picture")
    paint(tmp_path / "a.png", 30, 40)
    ended = fer(**options)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("fer: ") and words in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    assert ended.runs == []
    assert not (tmp_path / "out").exists()


def test_a_write_that_fails_leaves_the_earlier_table_whole(fer, tmp_path, monkeypatch):
    paint(tmp_path / "a.png", 30, 40)
    assert fer(image=tmp_path / "a.png").code == 0
    before = (tmp_path / "out/predictions.csv").read_bytes()
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write_bytes(path, content[:10])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    ended = fer(image=tmp_path / "a.png")
    monkeypatch.undo()
    assert ended.code == 2 and "no space left" in ended.err.lower()
    assert (tmp_path / "out/predictions.csv").read_bytes() == before
    assert tree(tmp_path / "out") == ["a.png.faces.jpg", "predictions.csv"]


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_faces_of_photographs_are_found(fer, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "photos").mkdir()
    for path in sorted(path for path in REAL_FACES.glob("4/*") if not path.name.endswith("~"))[:3]:
        shutil.copy(path, tmp_path / "photos")
    ended = fer(image=tmp_path / "photos")
    assert ended.code == 0, ended.err
    assert ended.runs[0].data.metrics["pictures_without_face"] == 0
