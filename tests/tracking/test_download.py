import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pandas
import pytest

from fer.cli import main
from fer.errors import ModelError
from fer.evaluation.report import report
from fer.model_card.card import Origin, card_files, headline
from fer.models.files import load_classifier
from fer.tracking import models
from tests.paths import ROOT
from tests.predictions import draw
from tests.tracking.made import log_version


@pytest.fixture
def place(client, downloaded, classifier, tmp_path, capsys, monkeypatch) -> SimpleNamespace:
    """Two versions of fer-demo, the first the champion and with a card; the current folder is empty."""

    def card(model_id: str) -> dict[str, str]:
        origin = Origin("fer-demo", model_id, classifier.spec, 1, "scratch", "epoch 1", "ab", "commit", "2026-11-25")
        return card_files(origin, {"raf": "test"}, {"raf": report(*draw(0))}, [])

    first = log_version(downloaded, card)
    log_version(downloaded, lambda _: {})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(here)

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = 0
        try:
            main(["download", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return SimpleNamespace(here=here, card=card(first)["README.md"], run=run)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_champion_comes_whole_under_its_name_and_version_and_is_told_about(place, classifier):
    code, said = place.run("--model", "models:/fer-demo@champion")
    assert code == 0, said
    folder = place.here / "fer-demo-1"
    assert names(place.here) == {"fer-demo-1"}
    assert load_classifier(folder).spec == classifier.spec
    assert (folder / "README.md").read_text(encoding="utf-8") == place.card
    assert "models:/fer-demo/1: " in said and str(folder) in said
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert f"{size / 1e6:,.1f} MB" in said
    assert headline(place.card) in said
    assert "Terms it inherits:\n- research only" in said
    assert f"{folder / 'README.md'}" in said


def test_a_version_without_a_card_says_so_and_still_tells_its_terms(place):
    code, said = place.run("--model", "models:/fer-demo/2", "--output", "deep/er")
    assert code == 0, said
    assert "no model card" in said and "research only" in said
    assert {"MLmodel", "requirements.txt"} <= names(place.here / "deep" / "er")


def test_a_runs_model_comes_too(logged, classifier):
    main(["download", "--model", f"runs:/{logged[0]}"])
    assert load_classifier(Path(f"run-{logged[0][:8]}")).spec == classifier.spec


def test_a_download_names_no_folder_of_the_one_who_logged_it_and_loads(stored, logged, tmp_path):
    main(["download", "--model", f"runs:/{logged[0]}", "--output", "model"])
    text = (tmp_path / "model" / "MLmodel").read_text(encoding="utf-8")
    assert f"{stored[0]}/classifier" not in text and str(ROOT) not in text
    table = json.loads((tmp_path / "model" / "serving_input_example.json").read_text(encoding="utf-8"))
    rows = pandas.DataFrame(**table["dataframe_split"])
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")
    assert mlflow.pyfunc.load_model("model").predict(rows, table["params"])["error"].tolist() == [None]


def test_whatever_holds_something_is_refused_and_left_alone(place):
    assert place.run("--model", "models:/fer-demo/1", "--output", "model")[0] == 0
    (place.here / "model" / "notes.txt").write_text("mine")
    (place.here / "file").write_text("mine")
    before = names(place.here / "model")
    for output in ("model", "file"):
        code, said = place.run("--model", "models:/fer-demo/2", "--output", output)
        assert code == 2 and "holds something already: name a new or an empty folder" in said
        assert said.count("\n") == 1
    assert names(place.here / "model") == before
    assert names(place.here) == {"model", "file"}


def test_an_empty_folder_is_filled(place):
    (place.here / "model").mkdir()
    assert place.run("--model", "models:/fer-demo/1", "--output", "model")[0] == 0
    assert "MLmodel" in names(place.here / "model")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("models:/fer-dmeo@champion", "there is no model at models:/fer-dmeo@champion"),
        ("models:/fer-demo@chief", "there is no model at models:/fer-demo@chief"),
        ("models:/fer-demo/9", "there is no model at models:/fer-demo/9"),
        ("some/folder", "model must be models:/<name>@<alias>"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence_and_leaves_nothing(place, address, words):
    code, said = place.run("--model", address)
    assert code == 2 and words in said and said.count("\n") == 1
    assert names(place.here) == set()


def half_way(act):
    """Return a stand-in for `fetch_model` that writes a part and then acts."""

    def fetch(address: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "MLmodel").write_text("half")
        act()

    return fetch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_download_leaves_nothing_of_its_own(place, monkeypatch, number):
    assert place.run("--model", "models:/fer-demo/1", "--output", "model")[0] == 0
    monkeypatch.setattr(models, "fetch_model", half_way(lambda: os.kill(os.getpid(), number)))
    code, _ = place.run("--model", "models:/fer-demo/2", "--output", "fresh")
    assert code == 128 + number
    assert names(place.here) == {"model"}


def test_a_download_that_fails_leaves_nothing(place, monkeypatch):
    def fail() -> None:
        raise ModelError("the server broke off")

    monkeypatch.setattr(models, "fetch_model", half_way(fail))
    assert place.run("--model", "models:/fer-demo/1")[0] == 2
    assert names(place.here) == set()


def test_what_is_no_classifier_is_refused_by_its_address(client, tmp_path, capsys):
    with mlflow.start_run() as run:
        mlflow.log_text("x", "encoder/encoder.json")
    with pytest.raises(SystemExit) as stop:
        main(["download", "--model", f"runs:/{run.info.run_id}/encoder", "--output", str(tmp_path / "model")])
    assert stop.value.code == 2
    assert f"runs:/{run.info.run_id}/encoder holds no model" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
