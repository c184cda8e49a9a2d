"""The files of `experiments/`: the stages that each one asks for, and the figures that the 2021 project reported."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer.config.build import build
from fer.config.commands import EvaluateConfig
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.errors import ConfigError, shortened, unknown_name
from fer.evaluation.names import ACCURACY, CLASS_MEAN, IMAGES
from fer.expressions import EXPRESSIONS
from fer.utils.yaml_files import read_yaml

FOLDER = Path(__file__).parents[2] / "experiments"
REPORTED = "reported"
"""The file that holds the 2021 figures and is no experiment."""
ALL = "all"
"""Stands for every experiment."""
NO_NAME = r"[^\w.-]+"
"""Signs of starting weights' addresses that the name of an experiment does not hold."""
STAGES: dict[str, type] = {
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
}


@dataclass(frozen=True)
class Experiment:
    """The stages of an experiment's file; one it does not ask for is None.

    Attributes:
        name: The file's name without `.yaml`.
        pretrain: The pre-training, whose encoder `finetune` then starts from.
        finetune: The training of a classifier, which also tests it on the sets of `evaluate_on`.
        evaluate: A test of its own, on other sets or with other options.
    """

    name: str
    pretrain: PretrainConfig | None = None
    finetune: FinetuneConfig | None = None
    evaluate: EvaluateConfig | None = None

    @property
    def stages(self) -> dict[str, Any]:
        """Return the configurations of the stages asked for, in their order."""
        configs = {stage: getattr(self, stage) for stage in STAGES}
        return {stage: config for stage, config in configs.items() if config}


def experiment_names() -> list[str]:
    """List the names of all experiments."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != REPORTED)


def read_experiment(name: str) -> Experiment:
    """Read the file of a single experiment; arguments and errors as of `read_experiments`.

    Raises:
        ConfigError: It is not one experiment.
    """
    experiments = read_experiments(name)
    if len(experiments) > 1:
        raise ConfigError(f"{_find_file(name)} lists {len(experiments)} starting weights: give one init")
    return experiments[0]


def read_experiments(name: str) -> list[Experiment]:
    """Read an experiment's file, or the experiments of a file that lists several starting weights.

    A file holds the options of `pretrain` (it then names a `method`) or of `finetune`; or it holds, under the names of
    the stages, the options of each. Where the `init` of a file of `finetune` alone is a list, it stands for an
    experiment from each of these, all else equal, named `<file>-<init>`.

    Args:
        name: One of `experiment_names`, or the path of a file that ends in `.yaml`.

    Raises:
        ConfigError: There is no such experiment, or its file is not in order.
    """
    path = _find_file(name)
    content = read_yaml(str(path))
    starts = content.get("init")
    if not isinstance(starts, list) or "method" in content:
        return [_build(path, content, path.stem)]
    # No two runs of a comparison may bear one name.
    names = [f"{path.stem}-{re.sub(NO_NAME, '-', Path(str(init)).name)}" for init in starts]
    if len(set(names)) < max(len(names), 1):
        raise ConfigError(f"init in {path} must list starting weights, each with a name of its own")
    return [_build(path, content, each, {"init": init}) for each, init in zip(names, starts, strict=True)]


def _build(path: Path, content: dict[str, Any], name: str, instead: dict[str, Any] | None = None) -> Experiment:
    """Return the experiment of a file, with values that stand for some of its own."""
    # No option's value is a mapping, so one shows that the keys are stages.
    sectioned = any(isinstance(value, dict) for value in content.values())
    if not sectioned:
        stage = "pretrain" if "method" in content else "finetune"
        return Experiment(name, **{stage: build(STAGES[stage], {}, file=str(path), instead=instead)})
    configs: dict[str, Any] = {}
    for stage in content:
        if stage not in STAGES:
            raise ConfigError(f"{unknown_name('stage', stage, STAGES)} in {path}")
        configs[stage] = build(STAGES[stage], {}, file=str(path), section=stage)
    experiment = Experiment(name, **configs)
    _check_stages(experiment, path)
    return experiment


def _find_file(name: str) -> Path:
    # A file elsewhere, such as a changed copy of one of ours.
    if name.endswith(".yaml"):
        return Path(name)
    names = experiment_names()
    if name not in names:
        # An installed package comes without the folder.
        if not FOLDER.is_dir():
            raise ConfigError(f"there is no folder {FOLDER}: run experiments from a clone of the project")
        raise ConfigError(unknown_name("experiment", name, [*names, ALL]))
    return FOLDER / f"{name}.yaml"


def _check_stages(experiment: Experiment, path: Path) -> None:
    """Refuse stages that contradict each other: what a stage starts from follows from the one before.

    Raises:
        ConfigError: They do.
    """
    finetune, evaluate = experiment.finetune, experiment.evaluate
    if evaluate and not finetune:
        raise ConfigError(f"evaluate in {path} tests what finetune made: add finetune, or use the command evaluate")
    # An option that would be overwritten without a word is refused instead.
    if evaluate and evaluate.model != EvaluateConfig().model:
        raise ConfigError(f"model in {path} is what finetune made: leave it out")
    if experiment.pretrain and finetune and finetune.init != FinetuneConfig().init:
        raise ConfigError(f"init of finetune in {path} is what pretrain made: leave it out")


@dataclass(frozen=True)
class ReportedFigures:
    """Figures reported of one set of images.

    Attributes:
        accuracy: Fraction of right predictions, in [0, 1].
        images: Their number.
        per_class: Accuracy by expression, in [0, 1]; empty where it was not reported.
        minutes: Training time to the epoch reported; None where unknown.
        of_minutes: Time of the whole training; None where unknown.
    """

    accuracy: float
    images: int
    per_class: dict[str, float]
    minutes: float | None = None
    of_minutes: float | None = None

    def scalars(self) -> dict[str, float]:
        """Return the figures under the names `Report.scalars` gives ours."""
        flat = {IMAGES: float(self.images), ACCURACY: self.accuracy}
        # The table gives some rows the overall accuracy only.
        if self.per_class:
            flat |= self.per_class
            flat[CLASS_MEAN] = math.fsum(self.per_class.values()) / len(self.per_class)
        return flat


@dataclass(frozen=True)
class ReportedRow:
    """One line of the 2021 table.

    Attributes:
        name: The experiment's; a file of that name runs it again.
        note: Its title in the table.
        settings: How it was trained, by the names of our options where there are such.
        figures: By data set.
    """

    name: str
    note: str
    settings: dict[str, Any]
    figures: dict[str, ReportedFigures]


def read_reported() -> dict[str, ReportedRow]:
    """Read the rows of the 2021 table from `experiments/reported.yaml`, by name, in the table's order.

    Raises:
        ConfigError: The file is not there or not in order.
    """
    path = FOLDER / f"{REPORTED}.yaml"
    content = read_yaml(str(path))
    try:
        rows = [_read_row(entry, content["protocol"], content["images"]) for entry in content["runs"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        fault = f"{type(error).__name__}: {shortened(str(error))}"
        raise ConfigError(f"{path} is damaged ({fault}): restore it from the repository") from None
    return {row.name: row for row in rows}


def _read_row(
    entry: dict[str, Any],
    protocol: dict[str, Any],
    images: dict[str, int],
) -> ReportedRow:
    figures = {}
    for dataset, values in entry["figures"].items():
        scalars = {key: float(value) for key, value in values.items() if key != "per_class"}
        fractions = [float(value) for value in values.get("per_class", ())]
        # The file lists them in the one order of expressions; a list of another length is refused.
        per_class = dict(zip(EXPRESSIONS, fractions, strict=True)) if fractions else {}
        figures[dataset] = ReportedFigures(images=int(images[dataset]), per_class=per_class, **scalars)
    # What all rows share is written once in the file.
    settings = {**protocol, **entry["settings"]}
    return ReportedRow(str(entry["name"]), str(entry["note"]), settings, figures)
