"""`experiment` with several pre-trainings, in a tiny way on drawn faces, and what `compare` says of shared ones."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from fer.commands import compare, experiment
from fer.commands.experiment import ExperimentResult
from fer.config.commands import CompareConfig, ExperimentConfig
from fer.errors import ConfigError, FerError
from fer.pipeline import stages
from fer.tracking import store
from tests import stores
from tests.pages import Page

PRETRAIN = """\
pretrain:
  method: simclr
  dataset: raf
  arch: resnet18
  image_size: 32
  epochs: 1
  batch_size: 16
  warmup_epochs: 0
"""
BOTH = (
    PRETRAIN
    + """\
finetune:
  dataset: raf
  arch: resnet18
  image_size: 32
  epochs: 1
  batch_size: 16
  evaluate_on: raf
  registered_name: none
  contamination: skip
"""
)
Runner = Callable[..., ExperimentResult]


@pytest.fixture(scope="module")
def place(empty_store: Path, tmp_path_factory: pytest.TempPathFactory, prepared) -> Path:
    """A folder with a store, an experiment file and prepared drawn faces."""
    folder = tmp_path_factory.mktemp("pretrained")
    stores.copy(empty_store, folder)
    (folder / "both.yaml").write_text(BOTH)
    (folder / "encoder.yaml").write_text(PRETRAIN)
    (folder / "classifier.yaml").write_text("dataset: raf\ninit: scratch\n")
    shutil.copytree(prepared[0], folder / "data")
    return folder


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs an experiment of `place`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    monkeypatch.chdir(place)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    store.connect()
    told = {"data_root": str(place / "data"), "output": str(place / "outputs"), "device": "cpu"}
    yield lambda name="both", **given: experiment.run(
        ExperimentConfig(name=str(place / f"{name}.yaml"), **{**told, **given})
    )
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def told(result: ExperimentResult) -> list[tuple[str, int | None, str]]:
    return [(stage.command, stage.seed, stage.how) for stage in result.stages]


def starts(result: ExperimentResult) -> list[str]:
    """The run that each fine-tuning started from."""
    client = mlflow.MlflowClient()
    trained = [client.get_run(stage.run_id) for stage in result.stages if stage.command == "finetune"]
    return [run.data.params["init"].strip("'").removeprefix("runs:/") for run in trained]


def test_one_pre_training_is_shared_by_all_seeds_and_the_table_and_report_say_so(run):
    result = run(seeds=2)
    assert [stage[:2] for stage in told(result)] == [("pretrain", 0), ("finetune", 0), ("finetune", 1)]
    assert starts(result) == [result.stages[0].run_id] * 2
    assert result.table.endswith("all 2 seeds start from one pre-training: ± says nothing of another one "
                                 "(pretrain_seeds repeats it too)")  # fmt: skip
    found = compare.run(CompareConfig(experiment="both"))
    (line,) = [line for line in found.comparison.methods if "pre-training" in line]
    assert line.startswith(f"All runs of A start from one pre-training (runs:/{result.stages[0].run_id}): what is said")


def test_pre_trainings_are_repeated_taken_in_turn_and_reused(run):
    run(seeds=2)
    result = run(seeds=4, pretrain_seeds=2)
    # The first pre-training and the fine-tuning from it are done; the second fine-tuning started from another one.
    assert told(result) == [
        ("pretrain", 0, "reused"), ("pretrain", 1, "run"), ("finetune", 0, "reused"), ("finetune", 1, "run"),
        ("finetune", 2, "run"), ("finetune", 3, "run"),
    ]  # fmt: skip
    first, second = (stage.run_id for stage in result.stages[:2])
    assert starts(result) == [first, second, first, second]
    assert result.table.endswith("the 4 seeds start from 2 pre-trainings in turn")
    client = mlflow.MlflowClient()
    params = [client.get_run(run_id).data.params for run_id in (first, second)]
    assert [each["seed"] for each in params] == ["0", "1"]
    tags = [client.get_run(stage.run_id).data.tags for stage in result.stages if stage.command == "finetune"]
    assert len({each["fer.configuration"] for each in tags}) == 1
    again = run(seeds=4, pretrain_seeds=2)
    assert [(stage.run_id, stage.how) for stage in again.stages] == [
        (stage.run_id, "reused") for stage in result.stages
    ]  # fmt: skip
    found = compare.run(CompareConfig(experiment="both"))
    assert [len(one.runs) for one in found.comparison.configurations] == [4]
    assert any("The 4 runs of A start from 2 pre-trainings" in line for line in found.comparison.methods)


def test_pre_training_alone_can_be_repeated(run):
    result = run("encoder", pretrain_seeds=2)
    assert result.where.endswith("&viewStateShareKey=pre-training")
    assert [stage[:2] for stage in told(result)] == [("pretrain", 0), ("pretrain", 1)]
    assert len({stage.run_id for stage in result.stages}) == 2
    run_id = result.stages[0].run_id
    page = Page(mlflow.artifacts.load_text(f"runs:/{run_id}/report.html"))
    assert f"fer finetune --dataset raf --arch resnet18 --init runs:/{run_id}" in page.text
    # One epoch, and before it what the random weights are good for.
    by_epoch = page.texts[page.texts.index("Figures by epoch") :]
    assert [text for text in by_epoch if text in ("epoch", "0", "1")][:3] == ["epoch", "0", "1"]
    assert [link[:15] for link in page.links] == ["data:image/png;"] * 2
    assert told(run("encoder", pretrain_seeds=3)) == [
        ("pretrain", 0, "reused"), ("pretrain", 1, "reused"), ("pretrain", 2, "run")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("classifier", {"pretrain_seeds": 2}, "pretrain_seeds repeats pretrain, which classifier has not"),
        (
            "both",
            {"pretrain_seeds": 2},
            "seeds=1 fine-tunings cannot be shared equally by pretrain_seeds=2: .* seeds=2",
        ),
        ("both", {"seeds": 4, "pretrain_seeds": 3}, "make seeds a multiple of it, such as seeds=6"),
    ],
)
def test_what_cannot_be_repeated_or_shared_is_refused_before_a_run_begins(run, monkeypatch, name, given, sentence):
    def train(*rest):
        raise FerError("trained")

    monkeypatch.setattr(stages, "pretrain_encoder", train)
    with pytest.raises(ConfigError, match=sentence):
        run(name, **given)
