"""Pre-train an encoder on faces without their labels; probes that do use labels watch it learn."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.config.training import PretrainConfig
from fer.data.batches import PackedImages
from fer.data.datasets.base import DataSet
from fer.data.manifest import Manifest, read_manifest
from fer.data.sampling import select_label_fraction
from fer.data.views import ViewBatches
from fer.errors import DataError
from fer.evaluation.figures import feature_map_figure, learning_curves
from fer.evaluation.inference import outputs
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Encoder, ModelSpec
from fer.models.files import read_file, save_encoder
from fer.objectives.probes import feature_map, feature_std, knn_accuracy, linear_accuracy
from fer.pipeline.evaluation import open_images
from fer.pipeline.initialize import initialize_model
from fer.pipeline.inputs import log_dataset
from fer.pipeline.pretrain_plan import Plan, make_plan
from fer.pipeline.resume import continued, find_checkpoint
from fer.pipeline.training_sets import prepare_once
from fer.tracking.lifecycle import tracked
from fer.tracking.names import CHECKPOINTS, DIGEST, ENCODER, PRETRAINING, RESUMED_FROM, dataset_tag
from fer.tracking.runs import TrackedRun
from fer.training.checkpoints import BEST, LAST, Progress
from fer.training.devices import use_bf16
from fer.training.loop import train
from fer.utils.distributed import exit_nonzero_ranks, rank, world_size
from fer.utils.paths import manifest_path

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
        figures = ", ".join(f"{name.removeprefix('validation/')} {value:.3f}" for name, value in self.figures.items())
        return f"\nencoder after the last epoch: {figures}\nfine-tune it with init=runs:/{self.run_id}"


def pretrain_encoder(config: PretrainConfig) -> PretrainResult:
    """Pre-train an encoder as a configuration says, in one tracked run.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A set is absent or holds too few images.
        ModelError: Starting weights or checkpoint cannot be used.
        Interrupted: A signal came; the checkpoint is saved.
    """
    with tempfile.TemporaryDirectory() as downloads:
        checkpoint = find_checkpoint(config, Path(downloads))
        resumed = continued(config, checkpoint, "pretrain") if checkpoint else config
        return _tracked_pretraining(resumed, checkpoint)


def _tracked_pretraining(config: PretrainConfig, checkpoint: Path | None) -> PretrainResult:
    plan = make_plan(config)
    with tracked("pretrain", config, f"{config.method} {config.arch} {config.dataset}", plan.derived()) as run:
        prepare_once(plan.sets + plan.probe_sets, plan.root)
        folder = Path(config.output).resolve() / run.id
        try:
            figures = _Pretraining(plan, run, folder).run(checkpoint)
        finally:
            # Whatever the ending, the tracking server keeps what the run can be continued from.
            if rank() == 0 and (folder / LAST).is_file():
                run.file(folder / LAST, CHECKPOINTS)
    shutil.rmtree(folder)
    return PretrainResult(run.id, figures, run.where())


class _Pretraining:
    """One pre-training from open data to logged encoder, inside its run."""

    def __init__(self, plan: Plan, run: TrackedRun, folder: Path) -> None:
        self.plan, self.config, self.tracked_run, self.folder = plan, plan.config, run, folder
        self.images, self.manifests = _opened(plan, plan.sets)
        self.indices = self.images.indices("train")
        if len(self.indices) < self.config.batch_size:
            raise DataError(
                f"{len(self.indices)} training images do not fill a batch of {self.config.batch_size}: "
                "give a smaller batch_size"
            )
        self.probe = _Probe(plan, self.images if plan.probe_sets == plan.sets else _opened(plan, plan.probe_sets)[0])

    def run(self, checkpoint: Path | None) -> dict[str, float]:
        """Train, watch, log the encoder, and return the last epoch's probes."""
        config = self.config
        encoder = initialize_model(Encoder, config, config.init, self.plan.sets, self.tracked_run)
        specs = self.plan.views()
        bf16 = use_bf16(config.precision, self.plan.device, encoder, min(spec.size for spec in specs))
        batches = ViewBatches(
            images=self.images,
            indices=self.indices,
            specs=specs,
            batch_size=config.batch_size,
            seed=config.seed,
            rank=rank(),
            world_size=world_size(),
        )
        objective = self.plan.method.build(encoder, config, len(batches))
        self._log_inputs(bf16)
        extra_state = {"spec": encoder.spec.to_dict(), "config": asdict(config)}
        probes = self.probe.validation()
        if rank() == 0:
            # What random or starting weights are good for: the line all later epochs are measured against.
            self.tracked_run.metrics(probes(encoder.to(self.plan.device).eval(), 0), 0)
        progress = train(
            objective, batches, probes, self.plan.settings(bf16), self.tracked_run, self.folder,
            extra_state, checkpoint,
        )  # fmt: skip
        exit_nonzero_ranks()
        return self._conclude(progress, encoder.spec)

    def _log_inputs(self, bf16: bool) -> None:
        run = self.tracked_run
        for manifest in self.manifests:
            log_dataset(run, manifest.of("train"), self.plan.root, PRETRAINING)
        run.params({"precision_used": "bf16" if bf16 else "fp32", "training_images": len(self.indices)})
        run.tags({dataset_tag(manifest.dataset, DIGEST): manifest.digest for manifest in self.manifests})
        if self.config.resume:
            run.tags({RESUMED_FROM: self.config.resume})

    def _conclude(self, progress: Progress, spec: ModelSpec) -> dict[str, float]:
        encoder = Encoder(spec)
        encoder.load_state_dict(read_file(self.folder / BEST)["model"])
        save_encoder(encoder, self.folder / "encoder", self.config.method)
        for path in sorted((self.folder / "encoder").iterdir()):
            self.tracked_run.file(path, ENCODER)
        title = f"{self.config.method}: features after {progress.epoch} epochs"
        points, labels = self.probe.mapped(encoder.to(self.plan.device).eval())
        self.tracked_run.figure(feature_map_figure(points, labels, title), "feature_map.png")
        self.tracked_run.figure(learning_curves(progress.history, "Pre-training"), "learning_curves.png")
        return {key: value for key, value in progress.history[-1].items() if key.startswith("validation/")}


class _Probe:
    """What the features are good for, measured with labels the encoder never sees."""

    def __init__(self, plan: Plan, images: PackedImages) -> None:
        self.plan, self.images = plan, images
        self.train = _at_most(images, images.indices("train"), plan.config.probe_images, plan.config.seed)
        self.test = images.indices("validation")
        if not len(self.test) or not len(self.train):
            raise DataError("the probes need a set with training and validation images: choose it with probe_dataset")

    def validation(self) -> Callable[[nn.Module, int], dict[str, float]]:
        """Return what measures the encoder after an epoch: neighbours, a linear classifier, and the collapse gauge."""

        def validate(network: nn.Module, epoch: int) -> dict[str, float]:
            known, asked = self._features(network, self.train), self._features(network, self.test)
            of_known, of_asked = self.images.labels[self.train], self.images.labels[self.test]
            return {
                "validation/knn_accuracy": knn_accuracy(known, of_known, asked, of_asked),
                "validation/linear_accuracy": linear_accuracy(known, of_known, asked, of_asked),
                "validation/feature_std": float(feature_std(asked)),
            }

        return validate

    def mapped(self, network: nn.Module) -> tuple[NDArray[np.float64], list[str]]:
        """Return the validation features in two dimensions and their expressions."""
        features = self._features(network, self.test)
        names = [EXPRESSIONS[label] for label in self.images.labels[self.test].tolist()]
        return feature_map(features, self.plan.config.seed), names

    def _features(self, network: nn.Module, indices: Tensor) -> Tensor:
        return outputs(network, self.images, indices, self.plan.config.image_size, PROBE_BATCH)


def _opened(plan: Plan, sets: list[DataSet]) -> tuple[PackedImages, list[Manifest]]:
    manifests = [read_manifest(manifest_path(plan.root, dataset.name)) for dataset in sets]
    images = open_images(list(zip(sets, manifests, strict=True)), plan.root, plan.config.image_size, plan.device)
    return images, manifests


def _at_most(images: PackedImages, indices: Tensor, count: int, seed: int) -> Tensor:
    """Return the given indices, or a stratified part of about `count` of them."""
    if len(indices) <= count:
        return indices
    return select_label_fraction([row.path for row in images.rows], images.labels, indices, count / len(indices), seed)
