import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fer.config.build import build
from fer.data.batches import TrainingBatches, ViewBatches
from fer.errors import ConfigError, ModelError
from fer.experiments.files import (
    FOLDER,
    STAGES,
    Experiment,
    experiment_names,
    read_experiment,
    read_experiments,
    read_reported,
)
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.initial_weights import NAMES, InitialWeights
from fer.pipeline import finetune, initialize, pretrain, requirements
from fer.pipeline.context import RunContext
from fer.pipeline.options import starting_weights
from fer.pipeline.requirements import check_experiment, check_training
from fer.tracking.runs import NullRun
from fer.utils.paths import resolve_data_root
from fer.utils.yaml_files import read_yaml

every = pytest.mark.parametrize("name", experiment_names())
PROBES = "linear-probe-raf"
"""The file that lists several starting weights."""
DRAWN_INSTEAD = {"drawn": "raf", "ferplus": "raf"}
"""Which of the fixtures' drawn sets stands in for a set that is not among them."""


def written(path: Path) -> dict[str, dict[str, Any]]:
    """What a file holds, by stage."""
    content = yaml.safe_load(path.read_text())
    return content if any(isinstance(value, dict) for value in content.values()) else {flat_stage(content): content}


def flat_stage(content: dict[str, Any]) -> str:
    return "pretrain" if "method" in content else "finetune"


@every
def test_an_experiment_is_short_valid_and_says_only_what_differs(name, tmp_path, monkeypatch):
    monkeypatch.setattr(requirements, "unprepared", lambda sets, root: [])  # the real sets are not at hand
    path = FOLDER / f"{name}.yaml"
    assert len(path.read_text().splitlines()) <= 25
    for experiment in read_experiments(name):
        check_stages(experiment, written(path), tmp_path)


def check_stages(experiment: Experiment, stages: dict[str, dict[str, Any]], root: Path) -> None:
    assert experiment.stages.keys() == stages.keys()
    for stage, options in stages.items():
        config = replace(experiment.stages[stage], data_root=str(root))
        if stage != "evaluate":
            check_training(config)
        defaults = {item.name: item.default for item in fields(STAGES[stage])}
        # Method and data set are always named; all else only where it differs.
        same = [
            key for key in options if getattr(config, key) == defaults[key] and key not in ("method", "dataset")
        ]  # fmt: skip
        assert not same


def small(config: Any, root: Path) -> Any:
    dataset = "+".join(DRAWN_INSTEAD.get(word, word) for word in config.dataset.split("+"))
    return replace(
        config, dataset=dataset, data_root=str(root), arch="resnet18", image_size=32, batch_size=4, init="scratch",
        epochs=1, precision="fp32", device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def stand_in() -> InitialWeights:
    """Weights of a backbone that fits, instead of those from the network."""
    return InitialWeights("stand-in", Classifier(ModelSpec("resnet18", 32)).backbone.state_dict())


@every
def test_an_experiment_trains_two_steps_on_drawn_faces(name, prepared, tmp_path, monkeypatch, stand_in):
    # Those of one file differ in the name of their starting weights alone.
    experiment, (root, _), ended = read_experiments(name)[0], prepared, []
    for batches in (TrainingBatches, ViewBatches):
        monkeypatch.setattr(batches, "__len__", lambda self: 2)

    def fetched(init: str, *rest: object) -> InitialWeights:
        return InitialWeights(init, None) if init == "scratch" else stand_in

    monkeypatch.setattr(initialize, "fetch_initial_weights", fetched)
    monkeypatch.setattr("fer.pipeline.finalize.finalize", lambda context, progress, *rest: ended.append(progress))
    monkeypatch.setattr(pretrain, "log_encoder", lambda context, progress, *rest: ended.append(progress))
    torch.manual_seed(0)
    if experiment.pretrain:
        config = replace(small(experiment.pretrain, root), proj_hidden_dim=16, proj_dim=16, output=str(tmp_path))
        check_training(config)
        pretrain.train_and_log(
            RunContext(NullRun(tmp_path), root, torch.device("cpu"), "fp32", config, starting_weights(config))
        )
    if experiment.finetune:
        config = replace(small(experiment.finetune, root), output=str(tmp_path))
        check_training(config)
        config = replace(config, init=experiment.finetune.init)
        init = starting_weights(config)
        finetune.train_and_finalize(RunContext(NullRun(tmp_path), root, torch.device("cpu"), "fp32", config, init))
    assert len(ended) == len(set(experiment.stages) - {"evaluate"})
    for progress in ended:
        assert progress.epoch == 1
        assert math.isfinite(progress.history[0]["train/loss"])


def test_every_row_of_2021_has_a_file_and_every_such_file_its_row():
    listed = read_yaml(str(FOLDER / "reported.yaml"))
    rows = [*read_reported(), *listed["to_do"]]
    assert len(rows) == len(set(rows)) == 9 + 7
    assert {name for name in experiment_names() if name.startswith("raf-")} == set(rows)


@pytest.mark.parametrize("name", read_reported())
def test_a_file_trains_as_the_row_it_reproduces(name):
    config, row = read_experiment(name).finetune, read_reported()[name]
    ours = {key: value for key, value in row.settings.items() if hasattr(config, key)}
    assert ours.pop("selection") == "best epoch on test"
    assert config.test_best
    # AdamW without decay is Adam.
    assert (ours.pop("optimizer"), config.optimizer, config.weight_decay) == ("adam", "adamw", 0)
    weights = tuple(ours.pop("class_weights", ()))
    assert config.class_weights == pytest.approx(weights)
    assert {key: getattr(config, key) for key in ours} == ours
    assert {"dataset", "init", "lr", "epochs", "batch_size", "augment", "arch", "image_size"} <= ours.keys()


def test_reported_figures_are_shares_and_agree_with_their_classes():
    for row in read_reported().values():
        for dataset, figures in row.figures.items():
            scalars = figures.scalars()
            assert all(0 <= value <= 1 for key, value in scalars.items() if key != "images")
            if dataset == "wikimedia":  # twelve of each class, so the overall figure is the classes' mean
                assert scalars["class_mean"] == pytest.approx(figures.accuracy, abs=1e-5)
                assert tuple(figures.per_class) == EXPRESSIONS
            # A count of images over their number, told with six decimals, of RAF-DB's 3,068 images with four.
            right = figures.accuracy * figures.images
            assert right == pytest.approx(round(right), abs=0.5e-4 * figures.images if dataset == "raf" else 1e-2)


def test_every_experiment_starts_from_known_weights():
    experiments = [experiment for name in experiment_names() for experiment in read_experiments(name)]
    assert {one.finetune.init for one in experiments if one.finetune} <= {"auto", *NAMES}


def test_a_list_of_starting_weights_is_an_experiment_from_each_with_all_else_equal(tmp_path):
    probes = read_experiments(PROBES)
    assert len(probes) == len({probe.name for probe in probes}) == 12
    assert probes[1].name == f"{PROBES}-{probes[1].finetune.init}" == f"{PROBES}-swav-imagenet"
    assert len({replace(probe.finetune, init="") for probe in probes}) == 1
    assert probes[0].finetune.freeze == "backbone"
    path = tmp_path / "mine.yaml"
    path.write_text("init: [runs:/0123, 'models:/fer@champion', ~/weights.pth]\n")
    named = {one.name: one.finetune.init for one in read_experiments(str(path))}
    assert named == {
        "mine-0123": "runs:/0123", "mine-fer-champion": "models:/fer@champion", "mine-weights.pth": "~/weights.pth"
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"mine\.yaml lists 3 starting weights: give one init"):
        read_experiment(str(path))


def test_missing_weights_are_named_with_their_place(prepared, tmp_path):
    root, _ = prepared
    experiment = read_experiment("raf-simsiam-imagenet")
    place = tmp_path / "mine.pth"
    finetune = replace(experiment.finetune, data_root=str(root), init=str(place))
    with pytest.raises(ModelError, match=rf"mine\.pth are missing: put the file at {place}"):
        check_experiment(replace(experiment, finetune=finetune), resolve_data_root(str(root)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("finetun: {epochs: 1}", "unknown stage 'finetun': did you mean 'finetune'?"),
        ("epochs: 1\nfinetune: {epochs: 1}", "unknown stage 'epochs'"),
        ("finetune: {epoch: 1}", "unknown option 'epoch': did you mean 'epochs'?"),
        ("pretrain: {}\nfinetune: {init: scratch}", "init of finetune .* is what pretrain made"),
        ("finetune: {}\nevaluate: {model: a.ckpt}", "model .* is what finetune made"),
        ("evaluate: {dataset: raf}", "evaluate .* tests what finetune made"),
        ("init: []", "init in .* must list starting weights, each with a name of its own"),
        ("init: [a/w.pth, b/w.pth]", "init in .* must list starting weights, each with a name of its own"),
        ("init: [scratch, 3]", "init in .* must be text, not 3"),
        ("method: simclr\ninit: [scratch]", "init in .* lists 1 starting weights"),
        ("finetune: {init: [scratch]}", "init in .* lists 1 starting weights"),
        ("pretrain: {}\nfinetune: 3", "finetune .* must hold lines"),
    ],
)
def test_a_file_with_a_fault_is_refused_in_a_sentence(text, sentence, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_experiment(str(path))


def test_a_file_of_stages_given_to_a_command_is_refused_with_the_cure():
    path = str(FOLDER / "debug.yaml")
    with pytest.raises(ConfigError, match=r"describes stages .* run it as an experiment"):
        build(STAGES["finetune"], {}, file=path)


def test_an_unknown_experiment_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'raf-swav-imagenet'"):
        read_experiment("raf-swav-imagnet")
    with pytest.raises(ConfigError, match="'reported'"):
        read_experiment("reported")
