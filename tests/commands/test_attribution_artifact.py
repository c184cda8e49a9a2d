import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from fer.attribution.artifact import attribution_files, credits_of
from fer.attribution.credits import API, Credit, credits_path, save_credits, shipped_credits
from fer.cli import main
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.images import inspect
from fer.data.manifest import read_manifest
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.pipeline.context import log_dataset
from fer.utils.paths import manifest_path
from tests.paths import REAL_FACES

FILES = {f"attribution/attribution.{ending}" for ending in ("html", "csv")}
SHEET = "contact_sheets/wikimedia.png"


class Store:
    """A store and a data root of the test's own, driven by the real command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.root, self.capsys = folder, folder / "data", capsys
        self.client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")

    def run(self, *arguments: object) -> tuple[mlflow.entities.Run, str]:
        """Run a command and return its run, the last one, and what it printed."""
        self.capsys.readouterr()
        code: object = 0
        try:
            main([str(word) for word in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = self.capsys.readouterr()
        assert code == 0, printed.err
        experiments = [item.experiment_id for item in self.client.search_experiments()]
        return self.client.search_runs(experiments, order_by=["attributes.start_time DESC"])[0], printed.out

    def artifacts(self, run: mlflow.entities.Run) -> set[str]:
        """Return the places of a run's credits and contact sheets."""
        found: set[str] = set()
        for folder in ("attribution", "contact_sheets"):
            found |= {item.path for item in self.client.list_artifacts(run.info.run_id, folder)}
        return found

    def table(self, run: mlflow.entities.Run) -> list[dict[str, str]]:
        """Return the rows of a run's attribution.csv."""
        path = mlflow.artifacts.download_artifacts(
            f"runs:/{run.info.run_id}/attribution/attribution.csv", tracking_uri=f"sqlite:///{self.folder}/mlflow.db"
        )
        with Path(path).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def record(self, unresolved: int = 0) -> dict[str, Credit]:
        """Write a record of made-up credits of the prepared tree, some of them unresolved."""
        known = {}
        for number, row in enumerate(read_manifest(manifest_path(self.root, "wikimedia")).images):
            file = row.path.removeprefix("test/wikimedia/")
            known[file] = Credit(
                file, inspect(self.root / row.path).pixels, f"File:Face {number}.jpg",
                f"https://commons.wikimedia.org/wiki/File:Face_{number}.jpg",
                f"<script>x</script>Painter {number} چهره",
                "CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/",
                looked_up="2026-11-24", source=API if number >= unresolved else "",
            )  # fmt: skip
        save_credits(credits_path(self.root), known)
        return known


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; creating one takes seconds, copying it none."""
    import fer.commands.finetune  # noqa: F401  # here, while caches in the home folder are still found

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(
    empty_store: Path,
    prepared: tuple[Path, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Store]:
    """The drawn downloads prepared as the real sets, with no credit known."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    shutil.copytree(prepared[0], tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    made = Store(tmp_path, capsys)
    save_credits(credits_path(made.root), {})
    yield made
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32)), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def download(raw_trees: Path) -> Path:
    return raw_trees / "wikimedia"


def test_prepare_logs_the_credits_of_every_picture_and_shows_them_on_the_contact_sheet(store, download):
    store.record()
    run, printed = store.run("prepare", "--dataset", "wikimedia", "--source", download)
    assert store.artifacts(run) == FILES | {SHEET}
    assert run.data.tags["wikimedia.unresolved"] == "0"
    assert "attribution: 14 pictures from Wikimedia Commons, 0 unresolved\n" in printed
    assert "no contact sheet" not in printed
    rows = store.table(run)
    assert [row["resolved"] for row in rows] == ["true"] * 14
    assert {row["author"] for row in rows} == {f"Painter {n} چهره" for n in range(14)}


def test_prepare_shows_no_picture_while_one_is_unresolved_and_says_how_many_and_what_to_do(store, download):
    store.record(unresolved=3)
    run, printed = store.run("prepare", "--dataset", "wikimedia", "--source", download)
    assert store.artifacts(run) == FILES
    assert run.data.tags["wikimedia.unresolved"] == "3"
    assert "attribution: 14 pictures from Wikimedia Commons, 3 unresolved; look them up with `fer attr" in printed
    assert "no contact sheet in the run: 3 of its 14 pictures are unresolved: look them up" in printed
    assert "or give allow_unattributed=true" in printed
    assert [row["resolved"] for row in store.table(run)] == ["false"] * 3 + ["true"] * 11


def test_allow_unattributed_shows_unresolved_pictures(store, download):
    store.record(unresolved=3)
    arguments = ("prepare", "--dataset", "wikimedia", "--source", download, "--allow_unattributed", "true")
    run, printed = store.run(*arguments)
    assert store.artifacts(run) == FILES | {SHEET}
    assert run.data.tags["wikimedia.unresolved"] == "3"
    assert "no contact sheet" not in printed


def test_evaluate_logs_the_credits_and_accounts_for_pictures_nobody_looked_up(store, model):
    run, printed = store.run("evaluate", "--model", model, "--dataset", "wikimedia", "--device", "cpu")
    assert store.artifacts(run) == FILES
    assert run.data.tags["wikimedia.unresolved"] == "14"
    assert "14 pictures from Wikimedia Commons, 14 unresolved" in printed
    rows = store.table(run)
    manifest = read_manifest(manifest_path(store.root, "wikimedia"))
    assert [row["file"] for row in rows] == [row.path.removeprefix("test/wikimedia/") for row in manifest.images]
    assert all(row["page"].startswith("https://commons.wikimedia.org/") for row in rows)


def test_finetune_logs_the_credits_of_what_it_is_tested_on(store):
    store.record(unresolved=1)
    run, _ = store.run(
        "finetune", "--dataset", "raf", "--arch", "squeezenet1_1", "--image_size", "32", "--init", "scratch",
        "--epochs", "1", "--batch_size", "8", "--device", "cpu", "--registered_name", "none",
        "--evaluate_on", "wikimedia",
    )  # fmt: skip
    assert store.artifacts(run) == FILES
    assert run.data.tags["wikimedia.unresolved"] == "1"


def test_runs_on_drawn_faces_and_other_sets_log_no_credits(store, model, download):
    drawn = ("prepare", "--dataset", "drawn-wikimedia", "--source", download)
    run, printed = store.run(*drawn)
    assert store.artifacts(run) == {"contact_sheets/drawn-wikimedia.png"}
    for dataset in ("drawn-wikimedia", "raf"):
        run, more = store.run("evaluate", "--model", model, "--dataset", dataset, "--device", "cpu")
        assert store.artifacts(run) == set()
        assert "wikimedia.unresolved" not in run.data.tags
        assert "attribution" not in printed + more


class Recorded:
    """A run that remembers what was logged."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.tagged: dict[str, object] = {}

    def dataset(self, manifest, root, context):
        return context

    def text(self, content, path):
        self.texts[path] = content

    def tags(self, values):
        self.tagged |= values


def test_whatever_a_picture_is_used_for_its_credits_are_logged(store):
    manifest, run = read_manifest(manifest_path(store.root, "wikimedia")), Recorded()
    assert log_dataset(run, manifest, store.root, "training") == "training"
    assert set(run.texts) == FILES
    assert run.tagged == {"wikimedia.unresolved": 14}
    unused = Recorded()
    log_dataset(unused, manifest.of("train"), store.root, "training")
    assert not unused.texts


def test_a_credit_belongs_to_pixels_not_to_a_name(store):
    known = store.record()
    manifest = read_manifest(manifest_path(store.root, "wikimedia"))
    first, second, third = (row.path for row in manifest.images[:3])
    files = [path.removeprefix("test/wikimedia/") for path in (first, second, third)]
    shutil.copyfile(store.root / second, store.root / first)
    changed = known | {files[2]: replace(known[files[2]], pixels="0" * 64)}
    save_credits(credits_path(store.root), changed)
    found = credits_of(manifest, store.root)
    assert found[first].title == known[files[1]].title
    assert found[second].resolved
    assert not found[third].resolved
    assert found[third].author == found[third].licence == ""
    assert found[third].notes == ("the record of credits has no such picture",)


def test_a_damaged_picture_or_record_is_one_sentence(store):
    manifest = read_manifest(manifest_path(store.root, "wikimedia"))
    (store.root / manifest.images[0].path).write_bytes(b"no picture")
    with pytest.raises(DataError, match="run prepare again for 'wikimedia'"):
        credits_of(manifest, store.root)
    (store.root / "manifests" / "wikimedia_credits.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match="no record of credits"):
        credits_of(manifest, store.root)


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_all_84_pictures_of_the_real_set_are_in_the_record_and_have_a_page_to_visit(tmp_path):
    manifest = prepare(WIKIMEDIA, REAL_FACES, tmp_path).manifest
    found = credits_of(manifest, tmp_path).values()
    known = shipped_credits()
    assert len(found) == len(known) == 84
    assert {credit.file for credit in found} == set(known)
    assert all(credit.pixels == known[credit.file].pixels for credit in found)
    assert all(credit.resolved or credit.page.startswith("https://commons.wikimedia.org/") for credit in found)
    made = attribution_files(list(found))
    assert "84 pictures from Wikimedia Commons" in made["attribution.html"]
    assert len(made["attribution.csv"].splitlines()) - 1 == 84
