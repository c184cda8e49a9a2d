"""Check and prepare what an experiment needs before it can run: data sets and starting weights."""

from pathlib import Path

from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import DATASETS, resolve_datasets
from fer.errors import DataError, ModelError
from fer.experiments.files import Experiment
from fer.models.initial_weights import ADDRESSES, NAMES, resolve_init
from fer.pipeline.context import ensure_prepared, training_sets, unprepared
from fer.pipeline.finetune import check_finetune
from fer.pipeline.initialize import starting_weights
from fer.pipeline.pretrain import check_pretrain, probe_sets

OPTIONAL_TESTS = ("kdef", "wikimedia")
"""Test sets of real faces that are prepared, where they are at hand, before an experiment tests on all there are."""
PREPARED = "prepared"


def check_requirements(experiment: Experiment, root: Path) -> None:
    """Refuse an experiment whose data or starting weights are not at hand; weights are downloaded if possible.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent; the sentence says how to get it.
        ModelError: Starting weights cannot be had; the sentence names the file and its place.
    """
    unprepared(_required_sets(experiment), root)
    pretrain, finetune = experiment.pretrain, experiment.finetune
    if pretrain:
        _check_weights(pretrain.init, pretrain.arch)
        check_pretrain(pretrain)
    if finetune:
        # After a pre-training `auto` stands for its encoder, which is not there yet.
        if not pretrain or finetune.init != "auto":
            _check_weights(starting_weights(finetune), finetune.arch)
        check_finetune(finetune)


def prepare_requirements(experiment: Experiment, root: Path) -> None:
    """Prepare, in a run of their own, the sets an experiment needs and the test sets it could use.

    Raises:
        DataError: A set it needs is absent or not what it should be.
    """
    ensure_prepared(_required_sets(experiment), root)
    finetune = experiment.finetune
    if finetune is None or finetune.evaluate_on != PREPARED:
        return
    if all(dataset.drawn for dataset in training_sets(finetune.dataset)):
        return
    for name in OPTIONAL_TESTS:
        dataset = DATASETS[name]
        try:
            ensure_prepared([dataset], root)
        except DataError as error:
            print(f"not tested on {dataset.title}: {error}")


def _required_sets(experiment: Experiment) -> list[DataSet]:
    """Return the sets without which the experiment cannot run."""
    required: list[DataSet] = []
    tested = []
    if experiment.pretrain:
        required += training_sets(experiment.pretrain.dataset) + probe_sets(experiment.pretrain)
    if experiment.finetune:
        required += training_sets(experiment.finetune.dataset)
        tested.append(experiment.finetune.evaluate_on)
    if experiment.evaluate:
        tested.append(experiment.evaluate.dataset)
    for names in tested:
        if names != PREPARED:
            required += resolve_datasets(names)
    return list({dataset.name: dataset for dataset in required}.values())


def _check_weights(init: str, arch: str) -> None:
    if init.startswith(ADDRESSES):
        return
    path = Path(init).expanduser()
    # `resolve_init` would take it for a mistyped name.
    if init not in NAMES and path.suffix and not path.exists():
        raise ModelError(f"the starting weights {path.name} are missing: put the file at {path}, or give another init")
    resolve_init(init, arch)
