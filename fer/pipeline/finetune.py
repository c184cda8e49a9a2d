"""Fine-tune a classifier in one tracked run: train, choose the best epoch on validation, test, log, register."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fer.config.training import FinetuneConfig
from fer.data.batches import TrainingBatches
from fer.data.manifest import Manifest, read_manifest
from fer.data.sampling import select_label_fraction, undersample
from fer.errors import DataError
from fer.evaluation.inference import probabilities
from fer.evaluation.report import Report, report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier
from fer.objectives.classification import (
    Classification,
    balanced_weights,
    check_every_class,
    scale_weights,
    training_prior,
)
from fer.pipeline.evaluation import open_images
from fer.pipeline.finalize import EVALUATION_BATCH, FinetuneResult, conclude
from fer.pipeline.finetune_plan import Plan, make_plan
from fer.pipeline.initialize import initialize_model
from fer.pipeline.inputs import log_dataset
from fer.pipeline.resume import bring_best, continued, find_checkpoint
from fer.pipeline.training_sets import prepare_once
from fer.tracking.lifecycle import tracked
from fer.tracking.names import CHECKPOINTS, DIGEST, RESUMED_FROM, TRAINING, dataset_tag
from fer.tracking.runs import TrackedRun
from fer.training.checkpoints import BEST, LAST
from fer.training.devices import use_bf16
from fer.training.loop import train
from fer.utils.distributed import exit_nonzero_ranks, rank, world_size
from fer.utils.paths import manifest_path

Validate = Callable[[nn.Module, int], dict[str, float]]


def finetune_classifier(config: FinetuneConfig, run_name: str = "") -> FinetuneResult:
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
    with tempfile.TemporaryDirectory() as downloads:
        checkpoint = find_checkpoint(config, Path(downloads))
        resumed = continued(config, checkpoint, "finetune") if checkpoint else config
        return _tracked_training(resumed, run_name, checkpoint)


def _tracked_training(config: FinetuneConfig, run_name: str, checkpoint: Path | None) -> FinetuneResult:
    plan = make_plan(config)
    run_name = run_name or f"{config.arch} {plan.init} {config.dataset}"
    with tracked("finetune", config, run_name, plan.derived()) as run:
        prepare_once(plan.sets, plan.root)
        folder = Path(config.output).resolve() / run.id
        if checkpoint and rank() == 0:
            bring_best(config, checkpoint, folder)
        try:
            result = replace(_Finetuning(plan, run, folder).run(checkpoint), run_name=run_name)
        finally:
            # Whatever the ending, the tracking server keeps what the run can be continued from.
            for kept in (folder / LAST, folder / BEST):
                if kept.is_file():
                    run.file(kept, CHECKPOINTS)
    shutil.rmtree(folder)
    return result


class _Finetuning:
    """One training from open data to registered model, inside its run."""

    def __init__(self, plan: Plan, run: TrackedRun, folder: Path) -> None:
        self.plan, self.config, self.tracked_run, self.folder = plan, plan.config, run, folder
        manifests = [read_manifest(manifest_path(plan.root, dataset.name)) for dataset in plan.sets]
        self.manifests: list[Manifest] = manifests
        opened = list(zip(plan.sets, manifests, strict=True))
        self.images = open_images(opened, plan.root, self.config.image_size, plan.device)
        self.indices = self._training_indices()
        self.validation = self.images.indices("validation")
        if not len(self.validation):
            raise DataError("the training sets hold too few images for a validation split")

    def _training_indices(self) -> Tensor:
        indices = self.images.indices("train")
        check_every_class(_class_counts(self.images.labels[indices]))
        if self.config.label_fraction < 1:
            names = [row.path for row in self.images.rows]
            indices = select_label_fraction(
                names, self.images.labels, indices, self.config.label_fraction, self.config.seed
            )  # fmt: skip
        if self.config.sampling == "undersample":
            indices = undersample(self.images.labels, indices, self.config.seed)
        return indices

    def run(self, checkpoint: Path | None) -> FinetuneResult:
        """Train, choose, test, log and register."""
        classifier = initialize_model(Classifier, self.config, self.plan.init, self.plan.sets, self.tracked_run)
        counts, weights = _class_counts(self.images.labels[self.indices]), self._class_weights()
        prior = training_prior(counts, weights)
        classifier.spec = replace(classifier.spec, training_counts=tuple(counts), training_prior=prior)
        bf16 = use_bf16(self.config.precision, self.plan.device, classifier, self.config.image_size)
        self._log_inputs(bf16)
        config = self.config
        batches = TrainingBatches(
            images=self.images,
            indices=self.indices,
            image_size=config.image_size,
            batch_size=config.batch_size,
            seed=config.seed,
            augmentation=self.plan.augmentation(),
            rank=rank(),
            world_size=world_size(),
        )
        objective = Classification(classifier, weights, config.label_smoothing)
        extra_state = {"spec": classifier.spec.to_dict(), "config": asdict(config)}
        settings = self.plan.settings(bf16)
        progress = train(
            objective, batches, self._validation(), settings, self.tracked_run, self.folder, extra_state, checkpoint
        )
        exit_nonzero_ranks()
        held_out = (self.images, self.validation)
        return conclude(self.plan, self.tracked_run, self.folder, progress, self.manifests, held_out)

    def _class_weights(self) -> Tensor | None:
        counts = _class_counts(self.images.labels[self.indices])
        if self.config.class_weights:
            return scale_weights(self.config.class_weights, counts)
        if self.config.loss == "balanced":
            return balanced_weights(counts)
        return None

    def _log_inputs(self, bf16: bool) -> None:
        run = self.tracked_run
        for manifest in self.manifests:
            log_dataset(run, manifest.of("train"), self.plan.root, TRAINING)
            log_dataset(run, manifest.of("validation"), self.plan.root, "validation")
        counts = _class_counts(self.images.labels[self.indices])
        run.params({"precision_used": "bf16" if bf16 else "fp32", "training_images": len(self.indices)})
        run.tags({dataset_tag(manifest.dataset, DIGEST): manifest.digest for manifest in self.manifests})
        run.tags({"training_counts": dict(zip(EXPRESSIONS, counts, strict=True))})
        if self.config.resume:
            run.tags({RESUMED_FROM: self.config.resume})

    def _validation(self) -> Validate:
        """Return what measures the network after an epoch: on validation, and for `test_best` on test beside it."""
        config, images = self.config, self.images

        def scored(network: nn.Module, indices: Tensor) -> Report:
            scores = probabilities(network, images, indices, config.image_size, EVALUATION_BATCH)
            return report(images.labels[indices].numpy(), scores)

        def validate(network: nn.Module, epoch: int) -> dict[str, float]:
            result = scored(network, self.validation)
            figures = {
                "validation/loss": result.nll,
                "validation/accuracy": result.accuracy,
                "validation/mean_class_accuracy": result.mean_class_accuracy,
            }
            if config.test_best:
                for manifest, indices in self._test_sets():
                    figures[f"{manifest.dataset}/test_each_epoch/accuracy"] = scored(network, indices).accuracy
            return figures

        return validate

    def _test_sets(self) -> Sequence[tuple[Manifest, Tensor]]:
        place, found = 0, []
        for manifest in self.manifests:
            inside = [place + n for n, row in enumerate(manifest.images) if row.split == "test"]
            place += len(manifest.images)
            if inside:
                found.append((manifest, torch.tensor(inside)))
        return found


def _class_counts(labels: Tensor) -> list[int]:
    counts: list[int] = torch.bincount(labels, minlength=len(EXPRESSIONS)).tolist()
    return counts
