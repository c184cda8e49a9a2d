"""The real MLproject on drawn faces.

Training, its endings and the demo run under `mlflow run` in processes of their own. The other commands run in this
process: that their entry points pass on what was given is tested in `tests/test_cli.py`, and a launcher costs half a
minute.
"""

import base64
import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.store.artifact.cli import commands as artifact_commands
from sklearn import metrics as sk

from fer.cli import main
from fer.data.datasets import drawn
from fer.data.manifest import read_manifest
from fer.evaluation.names import flatten
from fer.expressions import EXPRESSIONS
from fer.utils.paths import manifest_path
from tests import stores
from tests.paths import ROOT

pytestmark = pytest.mark.project
SMALL = {"arch": "resnet18", "image_size": "32", "epochs": "2", "batch_size": "32", "lr": "1e-3", "init": "scratch"}
SPLIT = {"train": 5, "test": 3}


class Place:
    """A folder with a store, data and raw trees of its own."""

    def __init__(self, folder: Path, empty_store: Path) -> None:
        self.folder, self.data, self.output = folder, folder / "data", folder / "outputs"
        self.environment = {
            **os.environ, "MLFLOW_TRACKING_URI": stores.copy(empty_store, folder), "FER_DATA": str(self.data),
            "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
            self.environment.pop(name, None)

    def command(self, entry: str, **params: str) -> list[str]:
        if entry in ("pretrain", "finetune", "main"):
            params["output"] = str(self.output)
        chosen = [word for key, value in params.items() for word in ("-P", f"{key}={value}")]
        mlflow_program = [sys.executable, "-m", "mlflow"]
        return [*mlflow_program, "run", str(ROOT), "-e", entry, "--env-manager", "local", *chosen]

    def run(self, entry: str, code: int = 0, **params: str) -> str:
        done = subprocess.run(
            self.command(entry, **params), cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def report(self, run, path: str) -> dict[str, float]:
        """Return the figures of a JSON artifact of a run by flat name."""
        file = self.client.download_artifacts(run.info.run_id, path)
        return flatten(json.loads(Path(file).read_text(encoding="utf-8")))

    def here(self, command: str, **params: str) -> str:
        """Run a command in this process, where what is tested is not the launcher, and return what it printed."""
        if command in ("finetune", "pretrain"):
            params["output"] = str(self.output)
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.chdir(self.folder)
            for name in ("MLFLOW_TRACKING_URI", "FER_DATA"):
                patch.setenv(name, self.environment[name])
            for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
                patch.delenv(name, raising=False)
            mlflow.set_tracking_uri(None)
            main([command, *(word for key, value in params.items() for word in (f"--{key}", value))])
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
        return printed.getvalue()

    @property
    def client(self) -> mlflow.MlflowClient:
        address = self.environment["MLFLOW_TRACKING_URI"]
        # The registry is named too: a command of an earlier test has set another for the whole process.
        return mlflow.MlflowClient(address, registry_uri=address)

    def last_run(self, command: str) -> mlflow.entities.Run:
        runs = self.client.search_runs(["0"], f"tags.`fer.command` = '{command}'", max_results=1)
        return runs[0]


@pytest.fixture(scope="module")
def place(empty_store, tmp_path_factory) -> Place:
    """RAF, KDEF and Wikimedia in their raw layouts, at their default places where they have one."""
    made = Place(tmp_path_factory.mktemp("project"), empty_store)
    counts = {split: dict.fromkeys(EXPRESSIONS, 4 * number) for split, number in SPLIT.items()}
    drawn.write_raf(made.data / "raf_basic" / "basic", counts, seed=1)
    drawn.write_kdef(made.data / "KDEF_and_AKDEF", ["F01", "F06", "F03", "M31"], seed=1, size=(56, 76))
    drawn.write_wikimedia(made.folder / "downloads", per_class=2, seed=1)
    return made


@pytest.fixture(scope="module")
def prepared(place) -> Place:
    place.here("prepare", dataset="raf+kdef")
    place.here("prepare", dataset="wikimedia", source=str(place.folder / "downloads"))
    return place


@pytest.fixture(scope="module")
def trained(prepared) -> Place:
    prepared.run("finetune", dataset="raf+kdef", registered_name="fer-demo", test_best="true", **SMALL)
    return prepared


def tree_counts(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): len(list(path.iterdir())) for path in folder.glob("*/*/*") if path.is_dir()}


def test_prepare_makes_the_common_tree(prepared):
    counts = tree_counts(prepared.data)
    tree = {key: value for key, value in counts.items() if key.startswith(("train/", "test/"))}
    expected = {f"{split}/raf/{code}": 4 * number for split, number in SPLIT.items() for code in range(1, 8)}
    expected |= {f"test/wikimedia/{code}": 2 for code in range(1, 8)}
    # F01 trains, F06 validates (its files lie under train), F03 and M31 are test people; one picture is black.
    kdef = {f"{split}/kdef/{code}": 20 for split in ("train", "test") for code in range(1, 8)}
    found_kdef = {key: tree.pop(key) for key in kdef}
    assert tree == expected
    assert sum(kdef.values()) - sum(found_kdef.values()) == 1
    assert set(found_kdef.values()) == {19, 20}
    with (prepared.data / "manifests" / "kdef.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["person"], row["split"]) for row in rows} == {
        ("F01", "train"), ("F06", "validation"), ("F03", "test"), ("M31", "test")
    }  # fmt: skip
    (repaired,) = [row for row in rows if row["notes"]]
    assert repaired["path"].endswith("/AM31SUHR.JPG")
    assert repaired["expression"] == "surprise"


def test_prepare_is_tracked_with_manifest_digest_and_counts(prepared):
    run = prepared.last_run("prepare")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["wikimedia/images"] == 14
    summary = json.loads((prepared.data / "manifests" / "wikimedia.json").read_text(encoding="utf-8"))
    assert summary["counts"]["test"]["fear"] == 2
    assert run.data.metrics["wikimedia/left_out"] == 0
    assert run.data.metrics["wikimedia/repaired"] > 0
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("wikimedia", run.data.tags["wikimedia.digest"])
    names = {item.path for item in prepared.client.list_artifacts(run.info.run_id, "manifests/wikimedia")}
    assert names == {"manifests/wikimedia/wikimedia.csv", "manifests/wikimedia/wikimedia.json"}
    assert not prepared.client.list_artifacts(run.info.run_id, "contact_sheets"), "pictures that may not be shown"


def test_preparing_again_costs_nothing(prepared):
    before = {path: path.stat().st_mtime_ns for path in prepared.data.rglob("*.jpg")}
    assert "already prepared" in prepared.here("prepare", dataset="raf")
    assert {path: path.stat().st_mtime_ns for path in prepared.data.rglob("*.jpg")} == before


def test_finetune_logs_trains_evaluates_and_registers(trained):
    run = trained.last_run("finetune")
    assert run.info.status == "FINISHED"
    assert run.data.params["dataset"] == "raf+kdef"
    assert run.data.params["weight_decay"] == "0.05"
    assert run.data.params["init"] == "scratch"
    assert {"git.commit", "version.torch", "hardware.cpu", "raf.digest", "kdef.digest"} <= run.data.tags.keys()
    for key in ("train/loss", "validation/accuracy", "lr", "train/images_per_second"):
        assert [point.step for point in trained.client.get_metric_history(run.info.run_id, key)] == [1, 2], key
    reports = {name: trained.report(run, f"evaluation/{name}/report.json") for name in ("raf", "kdef", "wikimedia")}
    for dataset, images in (("raf", 84), ("wikimedia", 14)):
        assert reports[dataset]["images"] == images
        assert f"{dataset}/fear" in run.data.metrics
    assert 139 <= reports["kdef"]["images"] <= 140, "the model saw KDEF, so only its test people count"
    assert run.data.tags["kdef.part"] == "test"
    groups = [reports["kdef"][f"{group}/images"] for group in ("frontal", "half-profile", "full-profile")]
    assert (reports["kdef"]["preparation/left_out"], reports["kdef"]["preparation/repaired"]) == (1, 1)
    assert groups[0] == 28
    assert sum(groups) == reports["kdef"]["images"]
    assert 0.05 <= run.data.metrics["calibration/temperature"] <= 20
    calibration = trained.report(run, "calibration/report.json")
    assert calibration["nll"] <= calibration["uncalibrated/nll"] + 1e-9
    assert calibration["uncalibrated/nll"] == pytest.approx(run.data.metrics["best/validation/loss"], rel=1e-3)
    assert "uniform_prior/accuracy" in reports["raf"] and "uniform_prior/class_mean" in reports["kdef"]
    each = [point.value for point in trained.client.get_metric_history(run.info.run_id, "raf/test_each_epoch/accuracy")]
    assert run.data.metrics["raf/test_best/accuracy"] == max(each)
    artifacts = {item.path for item in trained.client.list_artifacts(run.info.run_id)}
    assert {"checkpoints", "config.json", "evaluation", "learning_curves.png", "table.txt"} <= artifacts
    version = trained.client.get_model_version_by_alias("fer-demo", "champion")
    assert version.run_id == run.info.run_id
    assert "RAF-DB" in version.tags["terms"]
    for text in (run.data.tags["mlflow.note.content"], version.description):
        assert all(f"\n| {name} " in text for name in ("raf", "kdef", "wikimedia"))
    assert run.info.run_name == "resnet18 · raf+kdef · scratch · seed 0"
    assert not trained.output.exists(), "the checkpoint lies with the run now"


def test_the_joined_run_knows_its_training_sets(trained):
    run = trained.last_run("finetune")
    contexts = {(entry.dataset.name, tag.value) for entry in run.inputs.dataset_inputs for tag in entry.tags}
    assert {("raf", "training"), ("kdef", "training"), ("raf", "validation"), ("kdef", "validation")} <= contexts


@pytest.fixture(scope="module")
def evaluated(trained) -> Place:
    trained.here("evaluate", model="models:/fer-demo@champion", dataset="raf+wikimedia")
    return trained


def test_evaluate_gives_the_figures_of_training_again(evaluated):
    run, training = evaluated.last_run("evaluate"), evaluated.last_run("finetune")
    assert run.info.status == "FINISHED"
    for dataset in ("raf", "wikimedia"):
        for key in ("accuracy", "fear", "class_mean", "macro_f1", "ece"):
            name = f"{dataset}/{key}"
            assert run.data.metrics[name] == pytest.approx(training.data.metrics[name], abs=1e-9), name
        path = f"evaluation/{dataset}/report.json"
        again, before = evaluated.report(run, path), evaluated.report(training, path)
        assert {"nll", "accuracy_low", "uncalibrated/nll", "support/fear"} <= again.keys()
        assert again == pytest.approx(before, abs=1e-9)
    assert "kdef/accuracy" not in run.data.metrics


def test_figures_are_scikit_learns_on_the_logged_predictions(evaluated, tmp_path):
    run = evaluated.last_run("evaluate")
    path = evaluated.client.download_artifacts(run.info.run_id, "evaluation/raf/predictions.csv", str(tmp_path))
    table = pd.read_csv(path)
    assert len(table) == 84
    assert (table[list(EXPRESSIONS)].to_numpy().argmax(1) == table["predicted"].map(EXPRESSIONS.index)).all()
    metrics = run.data.metrics
    assert metrics["raf/accuracy"] == pytest.approx(sk.accuracy_score(table["true"], table["predicted"]), abs=5e-5)
    recalls = sk.recall_score(table["true"], table["predicted"], labels=list(EXPRESSIONS), average=None)
    assert [metrics[f"raf/{name}"] for name in EXPRESSIONS] == pytest.approx(list(recalls), abs=5e-5)
    assert metrics["raf/class_mean"] == pytest.approx(np.mean(recalls), abs=5e-5)
    macro = sk.f1_score(table["true"], table["predicted"], average="macro")
    assert metrics["raf/macro_f1"] == pytest.approx(macro, abs=5e-5)
    matrix = evaluated.client.download_artifacts(run.info.run_id, "evaluation/raf/confusion.csv", str(tmp_path))
    ours = pd.read_csv(matrix, index_col=0)
    expected = sk.confusion_matrix(table["true"], table["predicted"], labels=list(EXPRESSIONS))
    assert (ours.to_numpy() == expected).all()


def test_figures_are_tied_to_the_logged_model_and_its_data_set(evaluated):
    run = evaluated.last_run("finetune")
    (output,) = run.outputs.model_outputs
    logged = evaluated.client.get_logged_model(output.model_id)
    tied = {(metric.key, metric.dataset_name): metric.value for metric in logged.metrics}
    assert tied["wikimedia/accuracy", "wikimedia"] == run.data.metrics["wikimedia/accuracy"]


@pytest.fixture(scope="module")
def pretrained(prepared) -> Place:
    heads = {"proj_hidden_dim": "64", "proj_dim": "32", "batch_size": "16", "epochs": "2", "warmup_epochs": "1"}
    prepared.here("pretrain", method="simclr", dataset="raf", arch="resnet18", image_size="32", **heads)
    return prepared


def test_pretrain_logs_probes_a_map_and_the_encoder(pretrained):
    run = pretrained.last_run("pretrain")
    assert run.info.status == "FINISHED"
    assert float(run.data.params["lr"]) == pytest.approx(0.3 * 16 / 256)
    for key, steps in {"train/loss": [1, 2], "validation/knn_accuracy": [0, 1, 2]}.items():
        assert [point.step for point in pretrained.client.get_metric_history(run.info.run_id, key)] == steps, key
    assert {"validation/linear_accuracy", "validation/feature_std", "validation/rank_me"} <= run.data.metrics.keys()
    contexts = {tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags}
    assert contexts == {"pre-training, without labels"}
    artifacts = {item.path for item in pretrained.client.list_artifacts(run.info.run_id)}
    assert run.data.tags["mlflow.note.content"].startswith("Pre-training of `resnet18` by simclr on raf")
    assert {"encoder", "feature_map.png", "learning_curves.png", "report.html"} <= artifacts
    assert "checkpoints" not in artifacts, "nothing is left to continue"
    assert not pretrained.output.exists()


def test_finetune_starts_from_a_pretrained_run_with_part_of_the_labels(pretrained):
    parent = pretrained.last_run("pretrain")
    told = {**SMALL, "epochs": "1", "init": f"runs:/{parent.info.run_id}", "label_fraction": "0.5"}
    pretrained.here("finetune", dataset="raf", registered_name="none", evaluate_on="raf+kdef", **told)
    run = pretrained.last_run("finetune")
    assert run.data.tags["fer.started_from"] == parent.info.run_id
    assert "missing (backbone.fc" not in run.data.tags["weights.loaded"]
    assert "120 tensors matched, 2 missing" in run.data.tags["weights.loaded"]
    # 20 a class: two of them validate, half of the other 18 train.
    assert run.data.params["training_images"] == str(7 * 9)


def test_a_stopped_launcher_leaves_no_orphan_and_a_run_that_can_be_continued(trained):
    long = {**SMALL, "epochs": "15", "dataset": "raf", "evaluate_on": "raf", "registered_name": "none"}
    process = subprocess.Popen(
        trained.command("finetune", **long), cwd=trained.folder, env=trained.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(r"epoch 2/15", line):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()  # ends when the launcher and the program have both gone
    process.wait(timeout=60)
    run = trained.last_run("finetune")
    assert run.info.status == "KILLED", seen + rest
    assert run.data.tags["fer.error"] == "stopped by signal 15"
    shutil.rmtree(trained.output / run.info.run_id)  # as on another machine: only the tracked checkpoint is left
    before = [point.value for point in trained.client.get_metric_history(run.info.run_id, "train/loss")]
    trained.here("finetune", resume=run.info.run_id)
    continued = trained.last_run("finetune")
    assert (continued.info.run_id, continued.info.status) == (run.info.run_id, "FINISHED")
    assert "fer.error" not in continued.data.tags
    history = trained.client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(1, 16))
    assert [point.value for point in history][: len(before)] == before


def test_ctrl_c_leaves_the_run_killed_though_the_launcher_says_failed(trained):
    params = {**SMALL, "epochs": "40", "dataset": "raf", "evaluate_on": "raf", "registered_name": "none"}
    process = subprocess.Popen(
        trained.command("finetune", **params), cwd=trained.folder, env=trained.environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 1/40" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: launcher and program get it together
    process.stdout.read()
    process.wait(timeout=60)
    run = trained.last_run("finetune")
    deadline = time.monotonic() + 30
    # The launcher's last word is FAILED; it is corrected within seconds and stays so.
    while trained.client.get_run(run.info.run_id).info.status != "KILLED" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert trained.client.get_run(run.info.run_id).info.status == "KILLED"
    (checkpoint,) = trained.client.list_artifacts(run.info.run_id, "checkpoints")[-1:]
    assert checkpoint.path in trained.client.get_run(run.info.run_id).data.tags["fer.checkpoint"]


def test_a_mistake_ends_the_launchers_run_failed_with_one_sentence(prepared):
    printed = prepared.run("prepare", code=1, dataset="rfa")
    sentence = "unknown data set 'rfa': did you mean 'raf'?"
    assert f"fer: {sentence}" in printed
    assert "Traceback" not in printed.split("fer: ")[0]
    (run,) = prepared.client.search_runs(["0"], max_results=1)
    assert run.info.status == "FAILED"
    assert run.data.tags["fer.error"].startswith(sentence)


def test_ones_own_pictures_come_through_the_launcher(prepared, tmp_path):
    words = dict(zip(EXPRESSIONS, ("surprised", "fear", "disgust", "happy", "5", "rage!", "calm"), strict=True))
    # The launcher writes a command for a shell.
    faces = tmp_path / "someone's faces"
    for expression, word in words.items():
        shutil.copytree(prepared.data / f"train/raf/{EXPRESSIONS.index(expression) + 1}", faces / word)
    described = {"name": "mine", "map": "5:sad,rage!:anger", "terms": "for Ann's lab only", "framing": "none"}
    printed = prepared.run(
        "prepare", dataset="folder", source=str(faces), data_root=str(tmp_path / "data"), **described
    )
    assert "rage!      anger" in printed
    assert len(read_manifest(manifest_path(tmp_path / "data", "mine")).images) == 7 * 20
    run = prepared.last_run("prepare")
    assert run.data.tags["mine.terms"] == "mine: for Ann's lab only"


def test_the_champion_downloads_by_name_and_predicts(trained, tmp_path):
    address = trained.environment["MLFLOW_TRACKING_URI"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        words = ["download", "-u", "models:/fer-demo@champion", "-d", str(tmp_path / "model")]
        done = CliRunner().invoke(artifact_commands, words)
    assert done.exit_code == 0, done.output
    picture = next((trained.data / "test" / "wikimedia" / "4").iterdir())
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    text = base64.b64encode(picture.read_bytes()).decode()
    table = model.predict(pd.DataFrame({"image": [text]}), {"framing": "none"})  # the detector knows no drawn faces
    assert table["expression"][0] in EXPRESSIONS


def test_the_demo_compares_two_configurations_on_three_sets(place):
    started = time.monotonic()
    printed = place.run("main", scale="0.02", epochs="1")
    table = printed.split("on the three drawn test sets:")[1]
    for name in ("drawn-plain", "drawn-augmented"):
        assert len(re.findall(rf"^{name} +drawn-(?:raf|kdef|wikimedia) ", table, re.MULTILINE)) == 3
    assert printed.count("/#/") == 1, "stages print no links of their own"
    assert re.search(
        r"/runs\?workflowType=machine_learning&viewStateShareKey=accuracy-by-expression$", table, re.MULTILINE
    )
    assert time.monotonic() - started < 300
    parent = place.last_run("main")
    children = place.client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(run.data.tags["fer.command"] for run in children) == ["finetune", "finetune", "prepare"]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    sheets = next(run for run in children if run.data.tags["fer.command"] == "prepare").info.run_id
    assert len(place.client.list_artifacts(sheets, "contact_sheets")) == 3
