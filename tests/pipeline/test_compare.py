"""`compare` from the command line, on hand-made runs in a store of the test's own."""

import csv
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric, Param, RunTag
from statsmodels.stats.contingency_tables import mcnemar

from fer.cli import main
from fer.expressions import EXPRESSIONS
from tests.comparison.made import answers, labels, metrics, predictions

TRUTH = labels(210)


class Store:
    """A store filled with runs as the commands leave them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        place = self.client.get_experiment_by_name("fer")
        self.place = (
            place.experiment_id if place else self.client.create_experiment("fer", f"file://{folder}/artifacts")
        )

    def make(self, name, sets, seed=0, command="finetune", stored=True, tags=None, params=None, more=None, **config):
        """Make a finished run: labels and answers by set, stored as predictions unless told otherwise."""
        run = self.client.create_run(self.place, run_name=name).info.run_id
        figures = {name: value for key, pair in sets.items() for name, value in metrics(key, *pair).items()}
        figures |= more or {}
        now = int(time.time() * 1000)
        points = [Metric(key, value, now, 0) for key, value in figures.items()]
        points += [Metric("validation/accuracy", 0.1 * epoch, now + epoch, epoch) for epoch in (1, 2, 3)]
        marks = [RunTag(key, value) for key, value in {"fer.command": command, **(tags or {})}.items()]
        self.client.log_batch(run, points, [Param(key, value) for key, value in (params or {}).items()], marks)
        self.client.log_text(run, json.dumps({"seed": seed, "arch": "resnet18", **config}), "config.json")
        for key, pair in sets.items() if stored else ():
            self.client.log_text(run, predictions(*pair), f"evaluation/{key}/predictions.csv")
        self.client.set_terminated(run, end_time=now + 120_000)
        return str(run)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, str]]:
    """The store, and its runs by a name of the test's own."""
    folder = tmp_path_factory.mktemp("compared")
    here = Store(folder)
    ids = {}
    for lr, (name, share) in enumerate((("good", 0.8), ("bad", 0.6))):
        for seed in (0, 1, 2):
            pair = (TRUTH, answers(TRUTH, share, 10 * lr + seed))
            ids[f"{name}{seed}"] = here.make(name, {"raf": pair}, seed, lr=lr)
    tested = (labels(70), answers(labels(70), 0.5, 3))
    ids["elsewhere"] = here.make("elsewhere", {"wikimedia": tested})
    ids["silent"] = here.make("silent", {"raf": (TRUTH, TRUTH)}, stored=False)
    ids["preparation"] = here.make("prepare raf", {}, command="prepare")
    # What `experiment` leaves: a parent that lists its stages, among them a later test of the training's model.
    tags = {"fer.experiment": "raf-scratch", "fer.configuration": "abc", "fer.reproduces": "raf-scratch"}
    for seed in (0, 1):
        name = f"raf-scratch seed {seed}"
        ids[name] = here.make(name, {"raf": (TRUTH, answers(TRUTH, 0.7, seed))}, seed, tags=tags)
    ids["later"] = here.make(
        "evaluate", {"wikimedia": tested}, command="evaluate", params={"model": f"runs:/{ids['raf-scratch seed 0']}"}
    )
    ids["parent"] = here.make("raf-scratch", {}, command="experiment")
    stages = [("finetune", "raf-scratch seed 0"), ("evaluate", "later"), ("finetune", "raf-scratch seed 1")]
    listed = [{"command": command, "run_id": ids[key]} for command, key in stages]
    here.client.log_text(ids["parent"], json.dumps(listed), "stages.json")
    told = {"wikimedia/accuracy": 0.142857, "raf/accuracy": 0.3862, "minutes_to_best": 7.0}
    marks = {"reported": "true", "fer.reproduces": "raf-scratch"}
    ids["told"] = here.make("raf-scratch", {}, command="", tags=marks, more=told)
    return here, ids


@pytest.fixture
def command(
    filled: tuple[Store, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs `compare` and returns exit code and what it printed."""
    here, _ = filled
    monkeypatch.chdir(here.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here.folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "reports")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)

    def call(**options: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            main(["compare", *(word for key, value in options.items() for word in (f"--{key}", str(value)))])
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield call
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def last_report(here: Store) -> tuple[mlflow.entities.Run, set[str]]:
    """The run of the latest comparison and the places of its report."""
    place = here.client.get_experiment_by_name("reports").experiment_id
    run = here.client.search_runs([place], order_by=["attributes.start_time DESC"])[0]
    files = {item.path for item in here.client.list_artifacts(run.info.run_id, "comparison")}
    return run, files | {item.path for item in here.client.list_artifacts(run.info.run_id, "comparison/figures")}


def test_runs_are_compared_in_the_terminal_and_in_a_tracked_run(filled, command, tmp_path):
    here, ids = filled
    code, out, _ = command(runs=f"{ids['good0']}, {ids['bad0'][:12]}")
    assert code == 0
    assert "* good is better than bad on RAF-DB basic (210 images): accuracy +" in out
    run, files = last_report(here)
    assert run.info.status == "FINISHED"
    assert run.data.tags["fer.command"] == "compare"
    assert {"comparison/report.html", "comparison/report.md", "comparison/table.csv", "comparison/tests.csv"} <= files
    assert {"comparison/figures/per_class-raf.svg", "comparison/figures/learning_curves.svg"} <= files
    assert run.info.run_id in out
    assert out.count("/#/") == 1, "one link"
    assert f"{run.info.run_id}/artifacts/comparison/report.html?workflowType=machine_learning\n" in out
    page = Path(here.client.download_artifacts(run.info.run_id, "comparison/report.html", str(tmp_path))).read_text()
    assert f"/#/experiments/{here.place}/runs/{ids['good0']}" in page
    assert f"commit {run.data.tags['git.commit']}" in page
    tests = here.client.download_artifacts(run.info.run_id, "comparison/tests.csv", str(tmp_path))
    line = Path(tests).read_text().splitlines()[1].split(",")
    ours, theirs = (answers(TRUTH, share, seed) == TRUTH for share, seed in ((0.8, 0), (0.6, 10)))
    table = [[(ours & theirs).sum(), (ours & ~theirs).sum()], [(~ours & theirs).sum(), (~ours & ~theirs).sum()]]
    assert line[:6] == ["raf", "A", "B", "accuracy", "exact McNemar", "210"]
    assert float(line[6]) == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert float(line[9]) == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_a_filter_chooses_runs_and_a_name_means_all_its_runs_which_are_grouped_by_seed(filled, command):
    _, ids = filled
    code, out, _ = command(filter="attributes.run_name = 'bad'", runs="good", baseline=ids["good1"][:9], dataset="raf")
    assert code == 0
    assert "A: good (seeds 0, 1, 2; runs " in out
    assert "B: bad (seeds 0, 1, 2; runs " in out
    assert "good is better than bad on RAF-DB basic (210 images)" in out


def test_an_experiments_seeds_are_one_configuration_with_the_tests_made_later_and_the_reported_figures(filled, command):
    _, ids = filled
    code, out, _ = command(experiment="raf-scratch", runs=f"{ids['told']},good")
    assert code == 0
    assert "raf-scratch (seeds 0, 1; runs " in out
    assert "raf-scratch (2021) (reported in 2021)" in out
    assert "raf-scratch on RAF-DB basic: 70.0%, reported 38.6%, outside our 95 % interval" in out
    # Seed 0 was tested on Wikimedia by a stage of its own.
    assert re.search(r"^C  wikimedia +70 ", out, re.MULTILINE)


@pytest.fixture(scope="module")
def earlier(filled: tuple[Store, dict[str, str]]) -> str:
    """A run as earlier versions left it: other names of metrics, all figures among them, a report of another form."""
    here, _ = filled
    run = here.make("earlier", {}, tags={"raf.tested_digest": "a", "kdef.tested_digest": "b"})
    given = answers(TRUTH, 0.5, 7)
    for key, value in metrics("raf", TRUTH, given).items():
        name = key.replace("class_mean", "mean_class_accuracy")
        name = re.sub(rf"^raf/({'|'.join(EXPRESSIONS)})(_low|_high|)$", r"raf/accuracy\2/\1", name)
        here.client.log_metric(run, name, value)
    report = {"count": 210, "recall": {"fear": 0.0}, "recall_interval": {"fear": [0, 1]}, "support": {"fear": 30}}
    here.client.log_dict(run, report, "evaluation/raf/report.json")
    here.client.log_text(run, "{", "evaluation/kdef/report.json")
    here.client.log_text(run, predictions(TRUTH, given), "evaluation/raf/predictions.csv")
    return run


def test_a_run_of_an_earlier_version_compares_like_others(filled, command, earlier, tmp_path):
    here, ids = filled
    # Its damaged report of another set is not asked for.
    code, _, err = command(runs=f"{earlier},{ids['bad0']}", dataset="raf")
    assert code == 0, err
    run, _ = last_report(here)
    table = Path(here.client.download_artifacts(run.info.run_id, "comparison/table.csv", str(tmp_path)))
    rows = [row for row in csv.DictReader(table.open()) if row["configuration"] == "A"]
    shown = {row["measure"]: [float(row[key]) for key in ("value", "low", "high")] for row in rows}
    expected = metrics("raf", TRUTH, answers(TRUTH, 0.5, 7))
    assert shown.keys() == {"accuracy", "class_mean", *EXPRESSIONS}
    for measure, figures in shown.items():
        assert figures == pytest.approx([expected[f"raf/{measure}{end}"] for end in ("", "_low", "_high")], abs=1e-4)


def test_an_mlflow_experiment_means_all_its_test_figures(command):
    code, out, _ = command(experiment="fer", dataset="wikimedia")
    assert code == 0
    assert {line.split(" (")[0] for line in out.splitlines() if line[1:3] == ": "} == {
        "A: elsewhere", "B: evaluate", "C: raf-scratch"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "say what to compare: runs=<id>,<id>"),
        ({"runs": "goood,bad"}, "unknown run 'goood': no run in"),
        ({"runs": "0123456789abcdef0123456789abcdef,bad"}, "unknown run '0123456789abcdef0123456789abcdef'"),
        ({"runs": "prepare raf,bad"}, "run 'prepare raf' (FINISHED) gives no test figures"),
        ({"experiment": "raf-scrach"}, "unknown experiment 'raf-scrach': no run in"),
        ({"filter": "lr is high"}, "filter 'lr is high' is no MLflow search filter"),
        ({"filter": "params.lr = '7'"}, "filter \"params.lr = '7'\" gives no test figures"),
        ({"runs": "elsewhere"}, "at least two runs with test figures, and only elsewhere ("),
        ({"runs": "elsewhere,bad"}, "share no test set (elsewhere: wikimedia; bad: raf)"),
        ({"runs": "silent,bad"}, "has no stored predictions (evaluation/<set>/predictions.csv)"),
        ({"runs": "good,bad", "baseline": "beter"}, "unknown baseline 'beter'"),
        ({"runs": "good,bad", "dataset": "rav"}, "unknown data set 'rav': did you mean 'raf'?"),
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_no_run(filled, command, options, sentence):
    here, _ = filled
    place = here.client.get_experiment_by_name("reports")
    before = len(here.client.search_runs([place.experiment_id])) if place else 0
    code, out, err = command(**options)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    place = here.client.get_experiment_by_name("reports")
    assert (len(here.client.search_runs([place.experiment_id])) if place else 0) == before


def test_the_beginning_of_several_ids_is_refused(filled, command):
    here, ids = filled
    twin = ids["preparation"][:-1] + ("0" if ids["preparation"][-1] != "0" else "1")
    with sqlite3.connect(here.folder / "mlflow.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(runs)") if row[1] != "run_uuid"]
        names = ", ".join(columns)
        insert = f"INSERT INTO runs (run_uuid, {names}) SELECT ?, {names} FROM runs WHERE run_uuid = ?"
        database.execute(insert, (twin, ids["preparation"]))
    code, _, err = command(runs=f"{twin[:20]},bad")
    assert code == 2
    assert f"run '{twin[:20]}' is the beginning of 2 ids" in err


@pytest.mark.parametrize(
    ("damaged", "file", "content"),
    [
        ("good0", "evaluation/raf/predictions.csv", b"path,\xff\xfe\n"),
        ("good0", "evaluation/raf/predictions.csv", b"path,sha256,person,true,predicted\n" + b"x" * 200_000),
        ("good0", "config.json", b"\xff{}"),
        ("good0", "config.json", b"[" * 100_000),
        ("good0", "config.json", b"[1]"),
        ("good0", "config.json", b'{"lr": NaN}'),
        ("parent", "stages.json", b"{"),
        ("parent", "stages.json", b"3"),
    ],
)
def test_a_damaged_artifact_of_a_run_is_named_in_one_sentence(damaged, file, content, filled, command):
    here, ids = filled
    place = here.folder / "artifacts" / ids[damaged] / "artifacts" / file
    whole = place.read_bytes()
    place.write_bytes(content)
    try:
        code, _, printed = command(runs=f"{ids[damaged]},{ids['bad0']}")
    finally:
        place.write_bytes(whole)
    assert code == 2
    (sentence,) = [line for line in printed.splitlines() if line.startswith("fer: ")]
    assert f"{file} of run {ids[damaged]}" in sentence
    assert len(sentence) < 500
    assert "Traceback" not in printed


def test_runs_of_before_there_was_an_option_had_its_default(filled, command):
    here, _ = filled
    pair = (TRUTH, answers(TRUTH, 0.7, 1))
    here.make("before", {"raf": pair}, seed=0)
    here.make("since", {"raf": pair}, seed=1, freeze="none", head_lr=1.0, freeze_epochs=0, layer_decay=1.0)
    here.make("probe", {"raf": (TRUTH, answers(TRUTH, 0.5, 2))}, seed=0, freeze="backbone", lr=1)
    code, out, _ = command(runs="before,since,probe")
    assert code == 0
    assert re.search(r"^A: .*seeds 0, 1", out, re.MULTILINE)
    run_id = re.search(r"of run (\w{32})", out)[1]
    table = here.client.download_artifacts(run_id, "comparison/report.md")
    differs = Path(table).read_text().partition("## What differs\n\n")[2].partition("\n\n")[0].splitlines()
    assert [cell.strip() for cell in differs[0].split("|")] == ["", "", "freeze", "lr", ""]
    assert [line.split("|")[2].strip() for line in differs[2:]] == ["none", "backbone"]
