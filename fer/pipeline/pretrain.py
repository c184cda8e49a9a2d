"""Pre-train an encoder on faces without their labels; probes that do use labels watch it learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.data.augment import Augmentation
from fer.data.batches import ViewBatches, ViewSpec, multi_crop
from fer.data.packing import PackedImages, select_label_fraction
from fer.errors import DataError
from fer.evaluation.datasets import outputs
from fer.evaluation.names import FEATURE_STD, KNN_ACCURACY, LINEAR_ACCURACY, RANK_ME, VALIDATION
from fer.evaluation.training_figures import feature_map_figure, learning_curves
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Encoder, ModelSpec
from fer.models.files import save_encoder
from fer.models.weight_files import read_file
from fer.objectives.features import (
    feature_map,
    feature_std,
    knn_accuracy,
    linear_accuracy,
    rank_me,
)
from fer.objectives.registry import METHODS
from fer.pipeline.context import RunContext, training_run
from fer.pipeline.descriptions import describe_pretrained
from fer.pipeline.initialize import initialize_model
from fer.pipeline.options import probe_sets, training_sets
from fer.pipeline.run_page import log_pretrain_page
from fer.tracking.names import CURVES_PLOT, ENCODER, FEATURE_MAP, PRETRAINING, PRETRAINING_VIEW
from fer.training.checkpoints import BEST
from fer.training.optimization import OptimizationSettings
from fer.training.progress import Progress
from fer.utils.processes import exit_nonzero_ranks, rank, world_size

PROBE_BATCH = 256


@dataclass(frozen=True)
class PretrainResult:
    """What `pretrain` made.

    Attributes:
        run_id: The MLflow run, which holds the encoder; `finetune` starts from it with `init=runs:/<run_id>`.
        figures: The probes' figures after the last epoch.
        where: Lines that tell a person where to look.
    """

    run_id: str
    figures: dict[str, float]
    where: str

    def summary(self) -> str:
        """Return the probes' figures, and how to fine-tune the encoder."""
        prefix = f"{VALIDATION}/"
        figures = [f"{name.removeprefix(prefix)} {value:.3f}" for name, value in self.figures.items()]
        return f"\nencoder after the last epoch: {', '.join(figures)}\nfine-tune it with init=runs:/{self.run_id}"


def pretrain_encoder(config: PretrainConfig) -> PretrainResult:
    """Pre-train an encoder as a configuration says, in one tracked run.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set is absent or holds too few images.
        ModelError: Starting weights or checkpoint cannot be used.
        Interrupted: A signal came; the checkpoint is saved.
    """
    # The best epoch is not kept: choosing one would use labels, so the encoder is the last epoch's.
    with training_run("pretrain", config, ()) as context:
        figures = train_and_log(context)
        describe_pretrained(context, figures)
    return PretrainResult(context.run.id, figures, context.run.where(PRETRAINING_VIEW))


def make_views(config: PretrainConfig) -> tuple[ViewSpec, ...]:
    """Return the views of each image that the method compares."""
    augmentation = Augmentation(
        flip=0.5,
        crop_min=config.crop,
        jitter=config.jitter,
        jitter_probability=0.8,
        relight=config.relight,
        grey=config.grey,
        blur=config.blur,
        solarise=config.solarise,
    )
    if METHODS[config.method].multi_crop:
        return multi_crop(config.image_size, config.num_small_crops, augmentation)
    return (ViewSpec(2, config.image_size, augmentation),)


def make_settings(context: RunContext[PretrainConfig]) -> OptimizationSettings:
    """Return how to optimise."""
    config, method = context.config, METHODS[context.config.method]
    own: dict[str, Any] = {
        "lr": method.lr_for(config),
        "optimizer": method.optimizer_for(config),
    }
    # SimSiam's predictor learns best when its rate does not decay (Chen & He, 2021, section 4.2).
    if method.constant and config.predictor_lr:
        own |= {"constant": method.constant, "constant_factor": config.predictor_lr}
    return context.settings(ema=0.0, patience=0, selection="knn_accuracy", choose=False, **own)


def train_and_log(context: RunContext[PretrainConfig]) -> dict[str, float]:
    """Train, watch, log the encoder, and return the last epoch's probes.

    Args:
        context: Of the open run; the sets are prepared.

    Raises:
        DataError: The training images do not fill a batch, or the probes have no images.
    """
    config = context.config
    sets = training_sets(config)
    images = context.open_images(sets)
    train_indices = images.indices("train")
    if len(train_indices) < config.batch_size:
        raise DataError(
            f"{len(train_indices)} training images do not fill a batch of {config.batch_size}: "
            "give a smaller batch_size"
        )
    # The same sets need not be opened twice.
    watched = probe_sets(config)
    probe = Probe(config, images if watched == sets else context.open_images(watched))
    encoder = initialize_model(Encoder, context)
    views = make_views(config)
    context = context.for_network(encoder, min(view.size for view in views))
    context.log_inputs(images, {"train": PRETRAINING}, len(train_indices))
    batches = ViewBatches(
        images=images,
        indices=train_indices,
        specs=views,
        batch_size=config.batch_size,
        seed=config.seed,
        rank=rank(),
        world_size=world_size(),
    )
    # Built before the encoder moves to the device: the heads draw their weights from the CPU's generator.
    objective = METHODS[config.method].build(encoder, config, len(batches))
    start: dict[str, float] = {}
    if rank() == 0:
        # What random or starting weights are good for: the line all later epochs are measured against.
        start = probe.validate(encoder.to(context.device).eval(), 0)
        context.run.metrics(start, 0)
    progress = context.train(objective, batches, probe.validate, make_settings(context), encoder.spec)
    # Their part is done: one process logs.
    exit_nonzero_ranks()
    figures = log_encoder(context, progress, encoder.spec, probe)
    log_pretrain_page(context, encoder.spec, sets, len(train_indices), [start, *progress.history])
    return figures


class Probe:
    """Measure what an encoder's features are good for, with labels the encoder never sees.

    Args:
        config: Gives image size, seed and the number of training images.
        images: The images of the probes' sets.

    Raises:
        DataError: There are no training or no validation images.
    """

    def __init__(self, config: PretrainConfig, images: PackedImages) -> None:
        self.config = config
        self.images = images
        self.train = images.indices("train")
        if len(self.train) > config.probe_images:
            paths = list(images.rows.column("path"))
            fraction = config.probe_images / len(self.train)
            self.train = select_label_fraction(paths, images.labels, self.train, fraction, config.seed)
        self.validation = images.indices("validation")
        # Before the training begins, not after its first epoch.
        if not len(self.validation) or not len(self.train):
            raise DataError("the probes need a set with training and validation images: choose it with probe_dataset")

    def validate(self, network: nn.Module, epoch: int) -> dict[str, float]:
        """Measure an encoder: nearest neighbours, a linear classifier, how far features have collapsed, their rank."""
        features = self._features(network, self.train)
        tested = self._features(network, self.validation)
        labels = self.images.labels[self.train]
        tested_labels = self.images.labels[self.validation]
        return {
            KNN_ACCURACY: knn_accuracy(features, labels, tested, tested_labels),
            LINEAR_ACCURACY: linear_accuracy(features, labels, tested, tested_labels),
            FEATURE_STD: float(feature_std(tested)),
            # Of all images there are features of, since their number bounds the rank.
            RANK_ME: rank_me(torch.cat([features, tested])),
        }

    def feature_map(self, network: nn.Module) -> tuple[NDArray[np.float64], list[str]]:
        """Return the validation features in two dimensions, `(N, 2)`, and their expressions."""
        features = self._features(network, self.validation)
        expressions = [EXPRESSIONS[label] for label in self.images.labels[self.validation].tolist()]
        return feature_map(features, self.config.seed), expressions

    def _features(self, network: nn.Module, indices: Tensor) -> Tensor:
        return outputs(network, self.images, indices, self.config.image_size, PROBE_BATCH)


def log_encoder(
    context: RunContext[PretrainConfig],
    progress: Progress,
    spec: ModelSpec,
    probe: Probe,
) -> dict[str, float]:
    """Log the encoder of the last epoch, a map of its features and the learning curves; return its probes' figures."""
    encoder = Encoder(spec)
    encoder.load_state_dict(read_file(context.folder / BEST)["model"])
    folder = context.folder / "encoder"
    save_encoder(encoder, folder, context.config.method)
    for path in sorted(folder.iterdir()):
        context.run.file(path, ENCODER)
    # Seen at a glance, and no figure tells it: whether expressions lie apart, and what lies between.
    points, expressions = probe.feature_map(encoder.to(context.device).eval())
    title = f"{context.config.method}: features after {progress.epoch} epochs"
    context.run.figure(feature_map_figure(points, expressions, title), FEATURE_MAP)
    context.run.figure(learning_curves(progress.history, "Pre-training"), CURVES_PLOT)
    last = progress.history[-1]
    return {key: value for key, value in last.items() if key.startswith(f"{VALIDATION}/")}
