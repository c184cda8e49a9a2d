"""Fine-tune a classifier in one tracked run: train, choose the best epoch on validation, test, log, register."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fer.config.training import FinetuneConfig
from fer.data.augment import Augmentation
from fer.data.batches import TrainingBatches
from fer.data.manifest import Manifest
from fer.data.packing import PackedImages, select_label_fraction, undersample
from fer.errors import DataError
from fer.evaluation.calibration import softmax_with_temperature
from fer.evaluation.datasets import outputs
from fer.evaluation.names import (
    CLASS_MEAN,
    TEST_EACH_EPOCH,
    VALIDATION,
    VALIDATION_ACCURACY,
    VALIDATION_LOSS,
)
from fer.evaluation.report import Report, report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier
from fer.objectives.classification import (
    Classification,
    check_every_class,
    loss_weights,
    training_prior,
)
from fer.pipeline.context import EVALUATION_BATCH, RunContext, training_run
from fer.pipeline.initialize import initialize_model
from fer.pipeline.options import training_sets
from fer.tracking.names import TRAINING
from fer.training.checkpoints import BEST
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
    with training_run("finetune", config, (BEST,), run_name) as context:
        return train_and_finalize(context)


def train_and_finalize(context: RunContext[FinetuneConfig]) -> "FinetuneResult":
    """Train, choose, test, log and register.

    Args:
        context: Of the open run; the sets are prepared.

    Raises:
        DataError: An expression has no training image, or there are no validation images.
    """
    config = context.config
    images = context.open_images(training_sets(config))
    indices = select_training_images(config, images)
    counts = _class_counts(images.labels[indices])
    weights = loss_weights(counts, config.class_weights, balanced=config.loss == "balanced")
    classifier = initialize_model(Classifier, context)
    if config.freeze == "backbone" and context.init == "scratch" and rank() == 0:
        # Of use as a lower bound, and else a slip.
        print("freeze=backbone keeps the random weights of init=scratch: only the head learns")
    # Stored with the model: a test on a set of other proportions can be corrected by it.
    prior = training_prior(counts, weights)
    classifier.spec = replace(classifier.spec, training_counts=tuple(counts), training_prior=prior)
    context = context.for_network(classifier, config.image_size)
    context.log_inputs(images, {"train": TRAINING, "validation": "validation"}, len(indices))
    context.run.tags({"training_counts": dict(zip(EXPRESSIONS, counts, strict=True))})
    batches = TrainingBatches(
        images=images,
        indices=indices,
        image_size=config.image_size,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=augmentation(config),
        rank=rank(),
        world_size=world_size(),
    )
    objective = Classification(classifier, weights, config.label_smoothing)
    validate = make_validation(config, images)
    progress = context.train(objective, batches, validate, context.settings(), classifier.spec)
    # Their part is done: one process logs and tests.
    exit_nonzero_ranks()
    from fer.pipeline.finalize import finalize

    return finalize(context, progress, images)


def select_training_images(config: FinetuneConfig, images: PackedImages) -> Tensor:
    """Return the indices of the images to train on, int64 `(N,)`.

    Raises:
        DataError: An expression has no training image, or there are no validation images.
    """
    indices = images.indices("train")
    # Of the whole split: a part of each class's labels is never none of them.
    check_every_class(_class_counts(images.labels[indices]))
    if not len(images.indices("validation")):
        raise DataError("the training sets hold too few images for a validation split")
    if config.label_fraction < 1:
        # By path, so that the same images are chosen whatever sets stand beside theirs.
        paths = list(images.rows.column("path"))
        indices = select_label_fraction(paths, images.labels, indices, config.label_fraction, config.seed)
    if config.sampling == "undersample":
        indices = undersample(images.labels, indices, config.seed)
    return indices


def augmentation(config: FinetuneConfig) -> Augmentation:
    """Return how far training images are changed."""
    # Its defaults change nothing.
    if not config.augment:
        return Augmentation()
    return Augmentation(
        flip=config.flip,
        rotate=config.rotate,
        crop_min=config.crop,
        jitter=config.jitter,
        erase=config.erase,
    )


def make_validation(config: FinetuneConfig, images: PackedImages) -> Callable[[nn.Module, int], dict[str, float]]:
    """Return the function that measures the network after an epoch: on validation, for `test_best` on test too."""
    validation = images.indices("validation")

    def test(network: nn.Module, indices: Tensor) -> Report:
        scores = outputs(network, images, indices, config.image_size, EVALUATION_BATCH).numpy()
        # The temperature is fitted when training has ended.
        return report(images.labels[indices].numpy(), softmax_with_temperature(scores))

    def validate(network: nn.Module, epoch: int) -> dict[str, float]:
        result = test(network, validation)
        figures = {
            VALIDATION_LOSS: result.nll,
            VALIDATION_ACCURACY: result.accuracy,
            f"{VALIDATION}/{CLASS_MEAN}": result.class_mean,
        }
        if config.test_best:
            for name, indices in _test_indices(images.manifests):
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
