"""Sets of people's own, from folders and tables to a model trained and tested on them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from fer.cli import main
from fer.data.datasets.drawn import write_raf
from fer.data.datasets.own import OwnSet, write_record
from fer.data.manifest import read_manifest
from fer.expressions import EXPRESSIONS
from fer.tracking.names import TERMS
from fer.utils.paths import manifest_path
from tests import stores

WORDS = ("Surprised", "fearful", "disgusted", "happy", "sad", "angry", "calm")
SMALL = ("--arch", "squeezenet1_1", "--image_size", "32", "--epochs", "1", "--batch_size", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `faces/<class>/*.jpg` of drawn faces, some contempt among them, and a table of the same."""
    here = tmp_path_factory.mktemp("own")
    write_raf(here / "raf", {"train": dict.fromkeys(EXPRESSIONS, 12), "test": {}}, seed=4)
    (base,) = (path.parent for path in (here / "raf").rglob("EmoLabel"))
    rows = ["path,label,person"]
    for number, line in enumerate((base / "EmoLabel/list_patition_label.txt").read_text().split("\n")):
        name, code = line.split()
        target = here / "faces" / WORDS[int(code) - 1] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / "Image/aligned" / f"{name[:-4]}_aligned.jpg", target)
        rows.append(f"faces/{target.parent.name}/{name},{code},p{number % 12}")
    (here / "faces/contempt").mkdir()
    shutil.copyfile(target, here / "faces/contempt/x.jpg")
    (here / "faces.csv").write_text("\n".join(rows))
    stores.copy(empty_store, here)
    with stores.connected(here):
        yield here


def command(*arguments: str) -> None:
    """Run a command, which must end well."""
    main([*arguments, "--data_root", "data"])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        command(*arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("fer: ")


@pytest.fixture(scope="module")
def own(folder: Path) -> Path:
    """The data root with `mine`, made of folders, and `people`, made of a table."""
    command("prepare", "--dataset", "folder", "--source", "faces", "--name", "mine", "--framing", "none")
    codes = ",".join(f"{number}:{word}" for number, word in enumerate(WORDS, start=1))
    described = ("--map", codes, "--split", "test", "--terms", "for my lab", "--showable", "true")
    command(
        "prepare", "--dataset", "folder", "--source", "faces.csv", "--name", "people", "--framing", "none", *described
    )
    return folder / "data"


def test_the_set_is_made_of_the_classes_that_show_expressions(own: Path) -> None:
    counts = read_manifest(manifest_path(own, "mine")).counts()
    assert counts == {
        "train": dict.fromkeys(EXPRESSIONS, 9),
        "validation": dict.fromkeys(EXPRESSIONS, 1),
        "test": dict.fromkeys(EXPRESSIONS, 2),
    }
    people = read_manifest(manifest_path(own, "people"))
    assert people.counts() == {"test": dict.fromkeys(EXPRESSIONS, 12)}
    assert {row.person for row in people.images} == {f"p{number}" for number in range(12)}


def test_a_model_is_trained_and_tested_on_ones_own_sets(
    own: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("finetune", "--dataset", "mine", "--init", "scratch", *SMALL)
    (run,) = mlflow.search_runs(filter_string="tags.`fer.command` = 'finetune'", output_format="list")
    assert {"mine/accuracy", "people/accuracy", "mine/fear"} <= run.data.metrics.keys()
    assert run.data.tags[TERMS] == "mine: terms not stated"
    # The table holds the same pictures, all of them for testing.
    assert "people: 63 of 84 images seen in training (63 identical)" in capsys.readouterr().out
    view = json.loads(mlflow.get_experiment("0").tags["mlflow.sharedViewState.accuracy-by-expression"])
    assert view["sets"] == ["mine", "people"]
    command("evaluate", "--model", f"runs:/{run.info.run_id}", "--dataset", "mine+people")
    main(["compare", "--filter", "metrics.`mine/accuracy` >= 0", "--dataset", "mine"])
    assert "mine" in capsys.readouterr().out


def test_a_test_set_of_ones_own_is_none_to_train_on(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "finetune", "--dataset", "people") == "people is a test set: it has no training images"


def test_the_set_is_prepared_again_by_its_name_alone(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # With the framing it was described with.
    command("prepare", "--dataset", "mine")
    assert "already prepared" in capsys.readouterr().out


def test_another_framing_needs_the_pictures_again(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("prepare", "--dataset", "folder", "--source", "faces", "--name", "loose")
    capsys.readouterr()
    (folder / "faces").rename(folder / "away")
    try:
        told = refused(capsys, "prepare", "--dataset", "loose", "--framing", "none")
        command("prepare", "--dataset", "loose")
        command("prepare", "--dataset", "mine")
    finally:
        (folder / "away").rename(folder / "faces")
    assert told.startswith("loose is prepared with framing=auto: give that to keep it; for another framing loose was")
    assert capsys.readouterr().out.count("already prepared") == 2


def test_a_known_set_is_never_read_as_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(folder / "clash", OwnSet("jaffe", str(folder / "faces")))
    with pytest.raises(SystemExit):
        main(["prepare", "--dataset", "jaffe", "--source", "faces", "--data_root", "clash"])
    assert "'jaffe' is a set of your own, and now a known set as well" in capsys.readouterr().err
    shutil.rmtree(folder / "clash")


@pytest.mark.parametrize("source", ["other/train/own", "other/train"])
def test_pictures_in_the_place_of_the_prepared_ones_are_not_deleted(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    shutil.copytree(folder / "faces", folder / "other/train/own")
    with pytest.raises(SystemExit):
        main(["prepare", "--dataset", "folder", "--source", source, "--name", "own", "--data_root", "other"])
    assert "lies where the prepared pictures of own go" in capsys.readouterr().err
    assert len(list((folder / "other/train/own/happy").iterdir())) == 12
    shutil.rmtree(folder / "other")


def test_a_folder_and_an_archive_of_it_give_the_same_set(own: Path, folder: Path) -> None:
    # Packed with a folder around it, as most archives are.
    archive = shutil.make_archive(str(folder / "packed"), "zip", folder, "faces")
    command("prepare", "--dataset", "folder", "--source", archive, "--name", "packed", "--framing", "none")
    plain, packed = (read_manifest(manifest_path(own, name)) for name in ("mine", "packed"))
    assert list(packed.images.columns("source_name", "split")) == list(plain.images.columns("source_name", "split"))
    manifest_path(own, "packed").unlink()


def test_it_is_listed(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("data")
    listed = capsys.readouterr().out
    assert "prepared: 63 train, 7 validation, 14 test; framing none" in listed
    assert "for my lab" in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "folder", "--source", "faces"], "needs a name for the set, such as name=mine"),
        (["--dataset", "folder", "--name", "new"], "give source=<a folder, a CSV or an archive>"),
        (["--dataset", "folder", "--name", "raf", "--source", "faces"], "name 'raf' is taken"),
        (["--dataset", "folder", "--name", "prepared", "--source", "faces"], "name 'prepared' is taken"),
        (["--dataset", "folder", "--name", "A b", "--source", "faces"], "name 'A b' cannot be a data set's"),
        (["--dataset", "folder", "--name", "new", "--source", "nowhere"], "there is no"),
        (["--dataset", "folder", "--name", "new", "--source", "mlflow.db"], "neither a folder, a table (.csv) nor"),
        (["--dataset", "folder", "--name", "new", "--source", "faces.csv"], "no class means an expression"),
        (["--dataset", "folder", "--name", "new", "--source", "faces", "--map", "x:fear"], "map: unknown class 'x'"),
        (["--dataset", "folder", "--name", "new", "--source", "faces", "--map", "x"], "is not of the form"),
        (["--dataset", "folder", "--name", "new", "--source", "faces", "--split", "half"], "split"),
        (["--dataset", "raf", "--map", "x:fear"], "map describes a set of your own: give it with dataset=folder"),
        (["--dataset", "folder+raf", "--name", "new"], "describes a set of your own"),
        (["--dataset", "min"], "unknown data set 'min': did you mean 'mine'?"),
    ],
)
def test_what_cannot_be_prepared_is_refused_in_a_sentence(
    own: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refused(capsys, "prepare", *arguments)
    assert not manifest_path(own, "new").exists()


def test_folder_is_no_set_to_train_on(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "call the set by the name" in refused(capsys, "finetune", "--dataset", "folder")


def test_where_no_face_is_found_in_most_pictures_the_cure_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("prepare", "--dataset", "folder", "--source", "faces", "--name", "tight")
    assert "prepare with framing=none" in capsys.readouterr().out
