"""Fine-tune a classifier in one tracked run: train, choose the best epoch on validation, test, log, register."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fer.config.training import FinetuneConfig
from fer.data.augment import Augmentation
from fer.data.batches import TrainingBatches
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_datasets
from fer.data.manifest import Manifest
from fer.data.packing import PackedImages, select_label_fraction, undersample
from fer.errors import ConfigError, DataError
from fer.evaluation.calibration import softmax_with_temperature
from fer.evaluation.datasets import outputs
from fer.evaluation.names import CLASS_MEAN, TEST_EACH_EPOCH, VALIDATION, VALIDATION_ACCURACY, VALIDATION_LOSS
from fer.evaluation.report import Report, report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier
from fer.objectives.classification import (
    Classification,
    check_every_class,
    loss_weights,
    training_prior,
)
from fer.pipeline.context import (
    EVALUATION_BATCH,
    RunContext,
    check_training,
    ensure_prepared,
    resolved_options,
    training_run,
    training_sets,
)
from fer.pipeline.initialize import fetch_best, initialize_model, resumed, starting_weights
from fer.tracking.names import REGISTERED_NAME_USED, TRAINING
from fer.training.checkpoints import BEST, LAST, Progress
from fer.training.loop import train
from fer.utils.processes import exit_nonzero_ranks, rank, world_size

# Tests, registry and card wait until training is over.
if TYPE_CHECKING:
    from fer.pipeline.finalize import FinetuneResult


def finetune_classifier(config: FinetuneConfig, run_name: str = "") -> "FinetuneResult":
    """Train a classifier as a configuration says, in one tracked run.

    Args:
        config: What to do. With `resume`, what the stopped run did.
        run_name: The run's name; empty for one made of architecture, starting weights and data set.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set is absent, or an expression has no training image.
        ModelError: Starting weights or checkpoint cannot be used.
        Interrupted: A signal came; the checkpoint is saved.
    """
    with resumed("finetune", config) as (config, checkpoint):
        check_finetune(config)
        name = run_name or f"{config.arch} {starting_weights(config)} {config.dataset}"
        with training_run("finetune", config, name, finetune_options(config), (LAST, BEST)) as context:
            ensure_prepared(training_sets(config.dataset), context.root)
            if checkpoint and rank() == 0:
                fetch_best(config, checkpoint, context.folder)
            result = train_and_finalize(context, checkpoint)
    return replace(result, run_name=name)


def check_finetune(config: FinetuneConfig) -> None:
    """Refuse, before a run begins, what cannot be trained.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set's download is absent.
    """
    check_training(config, training_sets(config.dataset), starting_weights(config))
    if config.evaluate_on != "prepared":
        resolve_datasets(config.evaluate_on)
    weights = config.class_weights
    if weights and (len(weights) != len(EXPRESSIONS) or config.loss == "balanced"):
        raise ConfigError(
            f"class_weights takes {len(EXPRESSIONS)} numbers and replaces loss=balanced: give one of them"
        )
    if weights and not any(weights):
        raise ConfigError("class_weights are all 0, so nothing would be learnt: give a weight above 0")


def finetune_options(config: FinetuneConfig) -> dict[str, Any]:
    """Return what the options mean on this machine, as parameters of the run."""
    return resolved_options(config) | {
        "init_used": starting_weights(config),
        REGISTERED_NAME_USED: registered_name(config) or "none",
    }


def registered_name(config: FinetuneConfig) -> str:
    """Return the registered model that a training is meant for, `auto` resolved; empty for none."""
    if config.registered_name == "auto":
        drawn = all(dataset.drawn for dataset in training_sets(config.dataset))
        return "fer-demo" if drawn else "fer"
    return "" if config.registered_name == "none" else config.registered_name


@dataclass(frozen=True)
class TrainingData:
    """The images of a fine-tuning.

    Attributes:
        manifests: Of the training sets.
        images: All their images.
        train: Indices of the images to train on, int64 `(N,)`.
        validation: Indices of the validation images, int64 `(M,)`.
    """

    manifests: list[Manifest]
    images: PackedImages
    train: Tensor
    validation: Tensor

    def class_counts(self) -> list[int]:
        """Return how many images of each expression are trained on."""
        return _class_counts(self.images.labels[self.train])


def open_training_data(context: RunContext[FinetuneConfig], sets: Sequence[DataSet]) -> TrainingData:
    """Open the images of the training sets and choose those to train on.

    Raises:
        DataError: An expression has no training image, or there are no validation images.
    """
    config = context.config
    images, manifests = context.open_images(sets)
    train_indices = images.indices("train")
    check_every_class(_class_counts(images.labels[train_indices]))
    if config.label_fraction < 1:
        # By path, so that the same images are chosen whatever sets stand beside theirs.
        paths = [row.path for row in images.rows]
        train_indices = select_label_fraction(paths, images.labels, train_indices, config.label_fraction, config.seed)
    if config.sampling == "undersample":
        train_indices = undersample(images.labels, train_indices, config.seed)
    validation_indices = images.indices("validation")
    if not len(validation_indices):
        raise DataError("the training sets hold too few images for a validation split")
    return TrainingData(manifests, images, train_indices, validation_indices)


def train_and_finalize(context: RunContext[FinetuneConfig], checkpoint: Path | None) -> "FinetuneResult":
    """Train, choose, test, log and register.

    Args:
        context: Of the open run; the sets are prepared.
        checkpoint: What to continue from, or None.
    """
    config = context.config
    sets = training_sets(config.dataset)
    data = open_training_data(context, sets)
    counts = data.class_counts()
    weights = loss_weights(counts, config.class_weights, balanced=config.loss == "balanced")
    classifier = initialize_model(Classifier, context, starting_weights(config), sets)
    prior = training_prior(counts, weights)
    classifier.spec = replace(classifier.spec, training_counts=tuple(counts), training_prior=prior)
    context = context.for_network(classifier, config.image_size)
    context.log_inputs(data.manifests, {"train": TRAINING, "validation": "validation"}, len(data.train))
    context.run.tags({"training_counts": dict(zip(EXPRESSIONS, counts, strict=True))})
    progress = _train(context, data, classifier, weights, checkpoint)
    # Their part is done: one process logs and tests.
    exit_nonzero_ranks()
    from fer.pipeline.finalize import finalize

    validation = (data.images, data.validation)
    init = starting_weights(config)
    return finalize(context, progress, data.manifests, validation, init, registered_name(config))


def _train(
    context: RunContext[FinetuneConfig],
    data: TrainingData,
    classifier: Classifier,
    weights: Tensor | None,
    checkpoint: Path | None,
) -> Progress:
    config = context.config
    batches = TrainingBatches(
        images=data.images,
        indices=data.train,
        image_size=config.image_size,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=augmentation(config),
        rank=rank(),
        world_size=world_size(),
    )
    return train(
        Classification(classifier, weights, config.label_smoothing),
        batches,
        make_validation(config, data),
        context.settings(),
        context.run,
        context.folder,
        {"spec": classifier.spec.to_dict(), "config": asdict(config)},
        checkpoint,
    )


def augmentation(config: FinetuneConfig) -> Augmentation:
    """Return how far training images are changed."""
    if not config.augment:
        return Augmentation()
    shape = {"flip": config.flip, "rotate": config.rotate, "crop_min": config.crop}
    return Augmentation(**shape, jitter=config.jitter, erase=config.erase)


def make_validation(config: FinetuneConfig, data: TrainingData) -> Callable[[nn.Module, int], dict[str, float]]:
    """Return the function that measures the network after an epoch: on validation, for `test_best` on test too."""

    def test(network: nn.Module, indices: Tensor) -> Report:
        scores = outputs(network, data.images, indices, config.image_size, EVALUATION_BATCH).numpy()
        # The temperature is fitted when training has ended.
        return report(data.images.labels[indices].numpy(), softmax_with_temperature(scores))

    def validate(network: nn.Module, epoch: int) -> dict[str, float]:
        result = test(network, data.validation)
        figures = {
            VALIDATION_LOSS: result.nll,
            VALIDATION_ACCURACY: result.accuracy,
            f"{VALIDATION}/{CLASS_MEAN}": result.mean_class_accuracy,
        }
        if config.test_best:
            for name, indices in _test_indices(data.manifests):
                figures[f"{name}/{TEST_EACH_EPOCH}"] = test(network, indices).accuracy
        return figures

    return validate


def _test_indices(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Tensor]]:
    """Yield each set that has test images, and their indices among the images of all sets."""
    first = 0
    for manifest in manifests:
        indices = [first + n for n, row in enumerate(manifest.images) if row.split == "test"]
        first += len(manifest.images)
        if indices:
            yield manifest.dataset, torch.tensor(indices)


def _class_counts(labels: Tensor) -> list[int]:
    return list(torch.bincount(labels, minlength=len(EXPRESSIONS)).tolist())
