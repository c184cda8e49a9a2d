"""What an experiment needs before it can run: prepared sets and starting weights."""

from pathlib import Path

from fer.data.datasets.base import DataSet
from fer.data.datasets.kdef import KDEF
from fer.data.datasets.registry import resolve_datasets
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.errors import DataError, ModelError
from fer.experiments.files import Experiment
from fer.models.initial_weights import ADDRESSES, NAMES, resolve_init
from fer.pipeline import finetune_plan, pretrain_plan
from fer.pipeline.prepare import ensure_prepared, unprepared
from fer.pipeline.training_sets import training_sets

TESTS_OF_2021 = (KDEF, WIKIMEDIA)
"""Test sets of real faces that are prepared, where they are at hand, before an experiment tests on all there are."""
PREPARED = "prepared"


def check(experiment: Experiment, root: Path) -> None:
    """Refuse an experiment whose data or starting weights are not at hand; weights are downloaded if possible.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent; the sentence says how to get it.
        ModelError: Starting weights cannot be had; the sentence names the file and its place.
    """
    unprepared(_needed(experiment), root)
    pretrain, finetune = experiment.pretrain, experiment.finetune
    if pretrain:
        _check_weights(pretrain.init, pretrain.arch)
        pretrain_plan.make_plan(pretrain)
    if finetune:
        _check_weights(finetune.init, finetune.arch)
        plan = finetune_plan.make_plan(finetune)
        if not pretrain and finetune.init == "auto":
            _check_weights(plan.init, finetune.arch)


def prepare(experiment: Experiment, root: Path) -> None:
    """Prepare, in a run of their own, the sets an experiment needs and the test sets it could use.

    Raises:
        DataError: A set it needs is absent or not what it should be.
    """
    ensure_prepared(_needed(experiment), root)
    finetune = experiment.finetune
    if finetune is None or finetune.evaluate_on != PREPARED:
        return
    if all(dataset.drawn for dataset in training_sets(finetune.dataset)):
        return
    for dataset in TESTS_OF_2021:
        try:
            ensure_prepared([dataset], root)
        except DataError as error:
            print(f"not tested on {dataset.title}: {error}")


def _needed(experiment: Experiment) -> list[DataSet]:
    """Return the sets without which the experiment cannot run."""
    needed: list[DataSet] = []
    if pretrain := experiment.pretrain:
        needed += training_sets(pretrain.dataset)
        if pretrain.probe_dataset:
            needed += training_sets(pretrain.probe_dataset)
    if finetune := experiment.finetune:
        needed += training_sets(finetune.dataset)
    tested = [finetune.evaluate_on if finetune else "", experiment.evaluate.dataset if experiment.evaluate else ""]
    for names in tested:
        needed += resolve_datasets(names) if names not in ("", PREPARED) else []
    return list({dataset.name: dataset for dataset in needed}.values())


def _check_weights(init: str, arch: str) -> None:
    if init == "auto" or init.startswith(ADDRESSES):
        return
    path = Path(init).expanduser()
    if init not in NAMES and path.suffix and not path.exists():
        raise ModelError(f"the starting weights {path.name} are missing: put the file at {path}, or give another init")
    resolve_init(init, arch)
