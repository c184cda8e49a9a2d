import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.entities import Run

from fer.commands import experiment
from fer.commands.experiment import ExperimentResult
from fer.config.commands import EvaluateConfig, ExperimentConfig
from fer.config.training import FinetuneConfig
from fer.data.datasets.registry import DATASETS
from fer.data.prepare import prepare
from fer.errors import ConfigError, DataError, FerError, Interrupted, ModelError
from fer.experiments import files
from fer.expressions import EXPRESSIONS
from fer.models import catalogue
from fer.models.backbones import Classifier, ModelSpec
from fer.pipeline import fingerprints, stages
from fer.tracking import store
from fer.tracking.runs import TrackedRun
from tests import stores

TINY = """\
dataset: raf
arch: squeezenet1_1
image_size: 32
init: scratch
epochs: {epochs}
batch_size: 8
registered_name: none
evaluate_on: raf
"""
NAME = "raf-scratch"
"""A row of the 2021 table, trained here in a tiny way."""
Runner = Callable[..., ExperimentResult]


class Trains(FerError):
    """Raised instead of training: what was asked for is not reused."""


@pytest.fixture(scope="module")
def place(empty_store, tmp_path_factory, raw_trees) -> Path:
    """A folder with a store, experiment files, and the RAF-like download at its usual place, not yet prepared."""
    folder = tmp_path_factory.mktemp("experiments")
    stores.copy(empty_store, folder)
    (folder / "files").mkdir()
    (folder / "files" / f"{NAME}.yaml").write_text(TINY.format(epochs=1))
    shutil.copy(files.FOLDER / "reported.yaml", folder / "files")
    shutil.copytree(raw_trees / "raf", folder / "data" / "raf_basic" / "basic")
    return folder


@pytest.fixture
def run(place, monkeypatch) -> Runner:
    """Runs an experiment of `place`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    monkeypatch.chdir(place)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(files, "FOLDER", place / "files")
    mlflow.set_tracking_uri(None)
    store.connect()
    told = {"data_root": str(place / "data"), "output": str(place / "outputs"), "device": "cpu"}
    yield lambda name=NAME, **given: experiment.run(ExperimentConfig(name=name, **{**told, **given}))
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def done(place, run) -> ExperimentResult:
    """The experiment with two seeds; trained by the first test that asks, reused by the others."""
    return run(seeds=2)


@pytest.fixture
def no_training(done, monkeypatch) -> None:
    def train(config, stage=""):
        raise Trains(f"{config.resume or 'anew'}")

    monkeypatch.setattr(stages, "finetune_classifier", train)


def get(run_id: str) -> Run:
    return mlflow.MlflowClient().get_run(run_id)


def children(run_id: str) -> list[Run]:
    client = mlflow.MlflowClient()
    places = [item.experiment_id for item in client.search_experiments()]
    return client.search_runs(places, f"tags.`mlflow.parentRunId` = '{run_id}'", order_by=["attributes.start_time"])


def text(run_id: str, artifact: str) -> str:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact)).read_text()


def test_stages_are_nested_runs_of_one_parent(done, capsys):
    assert capsys.readouterr().out.count("reused run") == 0, "this test is the one that trains"
    parent = get(done.run_id)
    assert (parent.info.status, parent.data.tags["fer.command"], parent.info.run_name) == (
        "FINISHED", "experiment", NAME
    )  # fmt: skip
    nested = children(done.run_id)
    assert [run.data.tags["fer.command"] for run in nested] == ["prepare", "finetune", "finetune"]
    for seed, run in enumerate(nested[1:]):
        assert run.info.status == "FINISHED"
        assert run.data.params["seed"] == str(seed)
        assert {run.data.tags[f"fer.{key}"] for key in ("experiment", "reproduces")} == {NAME}
    same, again = (run.data.tags["fer.configuration"] for run in nested[1:])
    assert same == again
    assert same.startswith(f"{NAME}-")
    assert "fer.experiment" not in nested[0].data.tags, "preparing is no result of the experiment"
    assert [stage["how"] for stage in json.loads(text(done.run_id, "stages.json"))] == ["run", "run"]
    assert [run.info.run_name for run in nested] == ["prepare · raf", f"{NAME} · seed 0", f"{NAME} · seed 1"]
    described = parent.data.tags["mlflow.note.content"]
    assert "over 2 seeds" in described
    assert re.search(r"^\| raf +\| \d+\.\d ± ", described, re.MULTILINE)
    assert all(run.info.run_id in described for run in nested[1:])
    assert done.where.count("/#/") == 1
    assert done.where.endswith("&viewStateShareKey=accuracy-by-expression")
    assert {run.data.tags.get("fer.tested") for run in [parent, nested[0]]} == {None}, "stages' figures are their own"
    assert {run.data.tags.get("fer.tested") for run in nested[1:]} == {"true"}


def test_the_view_is_there_too_where_all_stages_are_taken_over_from_elsewhere(done, run, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert {stage.how for stage in run().stages} == {"reused"}
    other = mlflow.MlflowClient().get_experiment_by_name("another")
    assert "mlflow.sharedViewState.accuracy-by-expression" in other.tags


def test_mean_and_deviation_over_seeds_are_numpys(done):
    seeds = [get(stage.run_id).data.metrics for stage in done.stages]
    metrics = get(done.run_id).data.metrics
    stored = json.loads(text(done.run_id, "seeds.json"))["figures"]
    for key in ("accuracy", "class_mean", *EXPRESSIONS):
        values = [figures[f"raf/{key}"] for figures in seeds]
        assert metrics[f"raf/{key}"] == pytest.approx(np.mean(values), abs=1e-4)
        assert stored[f"raf/{key}"]["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-4)
    assert not [key for key in metrics if key.startswith(("validation/", "train/", "best/"))]


def test_the_table_shows_ours_beside_the_reported_figure(done):
    table = text(done.run_id, "table.txt").splitlines()
    overall = np.array([get(stage.run_id).data.metrics["raf/accuracy"] for stage in done.stages]) * 100
    (ours,) = [line for line in table if line.startswith("raf ") and "mean of 2 seeds" in line]
    assert f"{overall.mean():.1f} ± {overall.std(ddof=1):.1f}" in ours
    (told,) = [line for line in table if "reported in 2021" in line]
    assert told.startswith("raf ")
    assert "38.6" in told


def test_a_second_call_trains_nothing_and_says_so(no_training, done, run, capsys):
    again = run(seeds=2)
    assert [(stage.how, stage.run_id) for stage in again.stages] == [
        ("reused", stage.run_id) for stage in done.stages
    ]  # fmt: skip
    assert capsys.readouterr().out.count("reused run") == 2
    assert again.table == done.table
    assert children(again.run_id) == []
    assert get(again.run_id).data.tags["fer.reused"].split() == [stage.run_id for stage in done.stages]
    assert get(again.run_id).data.metrics == get(done.run_id).data.metrics


def test_a_further_seed_trains_only_itself(no_training, run):
    with pytest.raises(Trains):
        run(seeds=3)


@pytest.mark.parametrize("change", ["configuration", "code", "digest", "unwanted", "device"])
def test_whatever_differs_is_trained_again(change, no_training, place, run, monkeypatch):
    given = {}
    if change == "configuration":
        changed = place / f"{NAME}.yaml"
        changed.write_text(TINY.format(epochs=2))
        given["name"] = str(changed)
    elif change == "digest":
        monkeypatch.setattr(fingerprints, "set_digests", lambda sets, root: {"raf": "another"})
    elif change == "unwanted":
        given["reuse"] = False
    elif change == "device":
        monkeypatch.setattr("fer.pipeline.options.pick_device", lambda name: torch.device("cuda"))
    else:
        monkeypatch.setattr(fingerprints, "code_digest", lambda: "another")
    with pytest.raises(Trains, match="anew"):
        run(**given)


@pytest.mark.parametrize("lost", ["checkpoint", "model"])
def test_a_run_whose_artifacts_are_gone_is_not_reused(lost, no_training, done, run, tmp_path):
    found = get(done.stages[0].run_id)
    if lost == "checkpoint":
        folder = Path(found.info.artifact_uri.removeprefix("file://")) / "checkpoints"
    else:
        model = mlflow.MlflowClient().get_logged_model(found.outputs.model_outputs[0].model_id)
        folder = Path(model.artifact_location.removeprefix("file://"))
    shutil.move(folder, tmp_path / "away")
    try:
        with pytest.raises(Trains, match="anew"):
            run()
    finally:
        shutil.move(tmp_path / "away", folder)


def test_a_set_prepared_since_is_tested_without_training(no_training, done, place, run, raw_trees, monkeypatch):
    prepare(DATASETS["wikimedia"], raw_trees / "wikimedia", place / "data")
    file = place / f"{NAME}.yaml"
    file.write_text(TINY.format(epochs=1).replace("evaluate_on: raf", "evaluate_on: raf+wikimedia"))
    later = run(str(file))
    assert [(stage.command, stage.how) for stage in later.stages] == [("finetune", "reused"), ("evaluate", "run")]
    (tested,) = children(later.run_id)
    assert tested.data.tags["model.run"] == done.stages[0].run_id
    assert "wikimedia/accuracy" in tested.data.metrics
    assert not [key for key in tested.data.metrics if key.startswith("raf/")], "raf was tested by the training"
    metrics = get(later.run_id).data.metrics
    assert metrics["wikimedia/accuracy"] == tested.data.metrics["wikimedia/accuracy"]
    stored = json.loads(text(later.run_id, "seeds.json"))
    assert stored["seeds"] == 1
    assert {figure["std"] for figure in stored["figures"].values()} == {None}, "one seed has no deviation"
    assert [stage.how for stage in run(str(file)).stages] == ["reused", "reused"]

    def test(config):
        raise Trains("tested anew")

    monkeypatch.setattr(stages, "evaluate_model", test)
    monkeypatch.setattr(stages, "pick_device", lambda name: torch.device("cuda"))
    with pytest.raises(Trains, match="tested anew"):
        run(str(file))


def test_a_device_chosen_by_auto_is_the_device_named(no_training, done, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [(stage.how, stage.run_id) for stage in run(device="auto").stages] == [("reused", done.stages[0].run_id)]


def test_a_later_test_is_done_as_the_training_was_told_to(done, place, monkeypatch):
    told: list[EvaluateConfig] = []

    def test(config):
        told.append(config)
        raise Trains("tested")

    monkeypatch.setattr(stages, "evaluate_model", test)
    monkeypatch.setattr(stages.Stages, "_is_untested", lambda self, dataset, tags: True)
    config = FinetuneConfig(
        dataset="raf", data_root=str(place / "data"), evaluate_on="raf", device="cpu", precision="fp32",
        contamination="skip",
    )  # fmt: skip
    with pytest.raises(Trains, match="tested"):
        stages.Stages(place / "data", reuse=True).test_figures(done.stages[0].run_id, None, config)
    assert (told[0].dataset, told[0].device, told[0].contamination) == ("raf", "cpu", "skip")


def test_a_changed_file_of_a_rows_name_is_another_configuration_and_reproduces_nothing(done, run, tmp_path):
    file = tmp_path / f"{NAME}.yaml"
    file.write_text(TINY.format(epochs=1) + "lr: 0.01\n")
    (stage,) = run(str(file)).stages
    tags, named = get(stage.run_id).data.tags, get(done.stages[0].run_id).data.tags
    assert stage.how == "run"
    assert tags["fer.experiment"] == NAME
    assert tags["fer.configuration"].startswith(f"{NAME}-")
    assert tags["fer.configuration"] != named["fer.configuration"]
    assert "fer.reproduces" not in tags


def test_weights_whose_alias_moved_are_trained_from_again(done, run, tmp_path, monkeypatch):
    client, first = mlflow.MlflowClient(), get(done.stages[0].run_id).outputs.model_outputs[0].model_id
    file = tmp_path / "aliased.yaml"
    file.write_text(TINY.format(epochs=1).replace("init: scratch", "init: models:/start@best"))
    with pytest.raises(ModelError, match="there is no model at models:/start@best"):
        run(str(file))
    for _ in range(2):
        mlflow.register_model(f"models:/{first}", "start")
    client.set_registered_model_alias("start", "best", "1")
    assert [stage.how for stage in run(str(file)).stages] == ["run"]
    assert [stage.how for stage in run(str(file)).stages] == ["reused"]

    def train(config, stage=""):
        raise Trains("anew")

    monkeypatch.setattr(stages, "finetune_classifier", train)
    client.set_registered_model_alias("start", "best", "2")
    with pytest.raises(Trains, match="anew"):
        run(str(file))
    client.set_registered_model_alias("start", "best", "1")
    assert [stage.how for stage in run(str(file)).stages] == ["reused"]


def test_ctrl_c_kills_parent_and_stage_and_the_next_call_goes_on(run, place, monkeypatch, capsys):
    file = place / "stopped.yaml"
    file.write_text(TINY.format(epochs=3))
    log = TrackedRun.metrics

    def stop(self, values, step=0):
        log(self, values, step)
        if step == 2 and "train/loss" in values:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TrackedRun, "metrics", stop)
        run(str(file))
    client = mlflow.MlflowClient()
    (parent, *_) = client.search_runs(["0"], "tags.`fer.command` = 'experiment'", max_results=1)
    (child,) = children(parent.info.run_id)
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")
    result = run(str(file))
    assert "which did not finish" in capsys.readouterr().out
    (stage,) = result.stages
    assert (stage.how, stage.run_id) == ("continued", child.info.run_id)
    assert get(stage.run_id).data.tags["fer.resumed_from"] == stage.run_id
    assert [run.info.run_id for run in children(result.run_id)] == [stage.run_id], "it goes on in the new parent"
    assert (get(stage.run_id).info.status, get(parent.info.run_id).info.status) == ("FINISHED", "KILLED")
    history = client.get_metric_history(stage.run_id, "train/loss")
    assert [point.step for point in history] == [1, 2, 3]
    assert [stage.how for stage in run(str(file)).stages] == ["reused"]


def test_all_runs_what_is_at_hand_and_says_why_the_rest_is_not(done, run, place, tmp_path, monkeypatch, capsys):
    def offline(*rest):
        raise OSError("no network")

    monkeypatch.setattr(catalogue, "download_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = Path(shutil.copytree(place / "files", tmp_path / "files"))
    (folder / "swav.yaml").write_text("dataset: raf\ninit: swav-imagenet\n")
    (folder / "ferplus.yaml").write_text("dataset: ferplus\n")
    (folder / "kdef.yaml").write_text("dataset: raf+kdef\ninit: scratch\n")
    (folder / "waiting.yaml").write_text("dataset: raf\ninit: ~/there_is_none.pth\n")
    (folder / "wrong.yaml").write_text("epoch: 3\n")
    monkeypatch.setattr(files, "FOLDER", folder)
    result = run("all")
    assert [(stage.command, stage.how) for stage in result.stages] == [("finetune", "reused")]
    (nested,) = children(result.run_id)
    assert (nested.info.run_name, nested.info.status) == (NAME, "FINISHED")
    assert set(result.skipped) == {"swav", "ferplus", "kdef", "waiting", "wrong"}
    assert str(tmp_path / "hub" / "checkpoints" / "swav_imagenet.pth.tar") in result.skipped["swav"]
    assert "swav_imagenet.pth.tar is not in the cache" in result.skipped["swav"]
    assert "FER+ was not found in" in result.skipped["ferplus"]
    assert DATASETS["kdef"].instructions in result.skipped["kdef"]
    assert "there_is_none.pth are missing: put the file at" in result.skipped["waiting"]
    assert "did you mean 'epochs'" in result.skipped["wrong"]
    printed = capsys.readouterr().out
    assert all(f"skipped {name}: {why}" in printed for name, why in result.skipped.items())
    assert json.loads(text(result.run_id, "skipped.json")) == result.skipped


def test_all_goes_on_after_a_failure_and_ends_failed(no_training, run, place, tmp_path, monkeypatch, capsys):
    folder = Path(shutil.copytree(place / "files", tmp_path / "files"))
    (folder / "another.yaml").write_text(TINY.format(epochs=7))
    monkeypatch.setattr(files, "FOLDER", folder)
    with pytest.raises(FerError, match="1 of 2 experiments failed: another"):
        run("all")
    assert "another failed: anew" in capsys.readouterr().out
    (parent, *_) = mlflow.MlflowClient().search_runs(["0"], "params.name = 'all'", max_results=1)
    assert parent.info.status == "FAILED"
    # Of the one that failed nothing had begun.
    assert {run.info.run_name: run.info.status for run in children(parent.info.run_id)} == {NAME: "FINISHED"}


def test_starting_weights_of_a_list_are_trained_alike_and_compared(run, tmp_path, monkeypatch, capsys):
    def offline(*rest):
        raise OSError("no network")

    monkeypatch.setattr(catalogue, "download_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    made = Classifier(ModelSpec("squeezenet1_1", 32))
    torch.save(made.backbone.state_dict(), tmp_path / "mine.pth")
    file = tmp_path / "probes.yaml"
    starts = f"[{tmp_path / 'mine.pth'}, swav-imagenet, scratch]"
    file.write_text(TINY.format(epochs=1).replace("init: scratch", f"init: {starts}") + "freeze: backbone\n")
    result = run(str(file))
    assert set(result.skipped) == {"probes-swav-imagenet"}
    printed = capsys.readouterr().out
    assert "skipped probes-swav-imagenet: " in printed
    nested = children(result.run_id)
    assert [child.info.run_name for child in nested[:2]] == ["probes-mine.pth", "probes-scratch"]
    assert nested[2].data.tags["fer.command"] == "compare"
    assert nested[2].data.params["baseline"] == "probes-mine.pth"
    assert {child.info.status for child in nested} == {"FINISHED"}
    # The report names both, and says where it lies.
    report = printed[printed.index("skipped ") :]
    assert "probes-mine.pth" in report and "probes-scratch" in report
    assert nested[2].info.run_id in result.where
    for training in (get(stage.run_id).data for stage in result.stages):
        assert training.params["freeze"] == "backbone"
        assert training.tags["mlflow.note.content"].startswith("Linear probe of ")


def test_of_a_list_that_one_start_is_left_of_nothing_is_compared(run, tmp_path, capsys):
    file = tmp_path / "probes.yaml"
    file.write_text(TINY.format(epochs=1).replace("init: scratch", "init: [~/none.pth, scratch]"))
    result = run(str(file))
    printed = capsys.readouterr().out
    assert "probes-scratch alone could be run, so there is nothing to compare it with" in printed
    assert "compare" not in {child.data.tags["fer.command"] for child in children(result.run_id)}


def test_of_a_list_that_no_start_is_left_of_every_reason_is_said(run, tmp_path, capsys):
    file = tmp_path / "probes.yaml"
    file.write_text(TINY.format(epochs=1).replace("init: scratch", "init: [~/none.pth, ~/no.pth]"))
    with pytest.raises(FerError, match=r"none of 2 experiments can be run: .*none\.pth are missing"):
        run(str(file))
    assert "skipped probes-no.pth: the starting weights no.pth are missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "given", "error", "sentence"),
    [
        ("mine.yaml", "dataset: raf\ninit: [~/none.pth, ~/no.pth]\n", {}, FerError, "none of 2 experiments can be run"),
        ("raf-scrach", "", {}, ConfigError, "unknown experiment 'raf-scrach': did you mean 'raf-scratch'"),
        ("mine.yaml", "method: simclr\ndataset: raf\n", {"seeds": 2}, ConfigError, "seeds repeats finetune"),
        ("mine.yaml", "dataset: kdef\ninit: scratch\n", {}, DataError, "KDEF was not found"),
        ("mine.yaml", "dataset: raf\ninit: ~/none.pth\n", {}, ModelError, "none.pth are missing"),
    ],
)
def test_what_cannot_run_is_refused_before_a_run_begins(run, tmp_path, name, content, given, error, sentence):
    if content:
        (tmp_path / name).write_text(content)
        name = str(tmp_path / name)
    client = mlflow.MlflowClient()
    before = len(client.search_runs(["0"]))
    with pytest.raises(error, match=sentence):
        run(name, **given)
    assert len(client.search_runs(["0"])) == before
