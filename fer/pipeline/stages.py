"""Do the stages of one experiment: run each, continue it where it was stopped, or reuse an equal run."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fer.config.commands import TRAINING_COMMANDS, EvaluateConfig, fields_of, without_added
from fer.config.options import Scope
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import read_manifest
from fer.experiments.files import Experiment
from fer.models.initial_weights import ADDRESSES, NAMES
from fer.pipeline.evaluate import EvaluateResult, evaluate_model
from fer.pipeline.finalize import FinetuneResult
from fer.pipeline.finetune import finetune_classifier
from fer.pipeline.options import needed_sets, resolved_options, starting_weights
from fer.pipeline.pretrain import PretrainResult, pretrain_encoder
from fer.pipeline.requirements import check_training
from fer.tracking.lifecycle import tagging_next
from fer.tracking.names import EXPERIMENT, FINGERPRINT, TESTED_DIGEST, dataset_tag
from fer.tracking.naming import joined_name, resolve_alias
from fer.tracking.provenance import (
    CodeVersion,
    fingerprint,
    finished_run,
    stopped_run,
)
from fer.tracking.reading import logged_figures
from fer.tracking.store import get_run
from fer.training.devices import pick_device
from fer.utils.paths import manifest_path

C = TypeVar("C", FinetuneConfig, PretrainConfig)
Result = PretrainResult | FinetuneResult | EvaluateResult


@dataclass(frozen=True)
class Stage:
    """One stage that is done.

    Attributes:
        command: `pretrain`, `finetune` or `evaluate`.
        run_id: The run that did it.
        how: `run`, `continued` or `reused`.
        seed: Its seed; None for a test.
    """

    command: str
    run_id: str
    how: str
    seed: int | None = None


class Stages:
    """Do the stages of an experiment one by one.

    Args:
        root: The data root.
        code: The code that runs.
        reuse: Whether finished stages are taken over and stopped ones continued.

    Attributes:
        done: What is done so far.
    """

    def __init__(self, root: Path, code: CodeVersion, reuse: bool) -> None:
        self.root = root
        self.code = code
        self.reuse = reuse
        self.done: list[Stage] = []

    def pretrain(self, config: PretrainConfig) -> str:
        """Return the run that holds the encoder."""
        return self._train("pretrain", config, pretrain_encoder, {})

    def finetune(self, config: FinetuneConfig, tags: Mapping[str, str]) -> str:
        """Return the run that holds the classifier.

        Args:
            config: What to train.
            tags: For the run, beside the stage's own.
        """
        run_name = joined_name(tags[EXPERIMENT], f"seed {config.seed}")

        def start(config: FinetuneConfig) -> FinetuneResult:
            return finetune_classifier(config, run_name)

        return self._train("finetune", config, start, tags)

    def test_figures(
        self,
        run_id: str,
        stage: EvaluateConfig | None,
        finetune: FinetuneConfig,
    ) -> dict[str, float]:
        """Return the test figures of a fine-tuned model, having tested it where that was not done yet.

        Args:
            run_id: The run of `finetune`.
            stage: The experiment's own stage `evaluate`, or None.
            finetune: The configuration of `finetune`.
        """
        training = get_run(run_id)
        figures = logged_figures(training)
        # Training has tested it on the sets there were; those that came or changed since are tested now.
        sets = resolve_prepared(finetune.evaluate_on, self.root)
        untested = [dataset for dataset in sets if self._is_untested(dataset, training.data.tags)]
        if untested:
            config = EvaluateConfig(
                dataset="+".join(dataset.name for dataset in untested),
                data_root=finetune.data_root,
                device=finetune.device,
                contamination=finetune.contamination,
            )
            figures |= self._evaluate(config, run_id)
        if stage:
            figures |= self._evaluate(stage, run_id)
        return figures

    def _evaluate(self, config: EvaluateConfig, run_id: str) -> dict[str, float]:
        config = replace(config, model=f"runs:/{run_id}")
        resolved = {"device": pick_device(config.device).type}
        inputs = self._digests(resolve_prepared(config.dataset, self.root))
        mark = self._mark("evaluate", _settings(config, resolved), inputs)
        tested = self._run("evaluate", config, mark, evaluate_model, {})
        return logged_figures(get_run(tested))

    def _is_untested(self, dataset: DataSet, tags: Mapping[str, str]) -> bool:
        manifest = read_manifest(manifest_path(self.root, dataset.name))
        test = manifest.of("test")
        tested_digest = tags.get(dataset_tag(dataset.name, TESTED_DIGEST))
        # The whole set was tested where the model never saw any of it.
        return bool(test.images) and tested_digest not in (test.digest, manifest.digest)

    def _train(
        self,
        command: str,
        config: C,
        start: Callable[[C], Result],
        tags: Mapping[str, str],
    ) -> str:
        # Before a fingerprint is made of it: what cannot be trained has no meaning on this machine.
        check_training(config)
        weights = _weights_digest(starting_weights(config))
        inputs = self._digests(needed_sets(config)) | weights
        settings = _settings(config, resolved_options(config))
        mark = self._mark(command, settings, inputs)
        return self._run(command, config, mark, start, tags)

    def _mark(self, command: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        # Code that cannot be named gets no fingerprint: it must not be taken for the commit later.
        if self.code.doubt:
            return ""
        return fingerprint(command, settings, inputs, self.code.commit)

    def _digests(self, sets: Sequence[DataSet]) -> dict[str, str]:
        manifests = [read_manifest(manifest_path(self.root, dataset.name)) for dataset in sets]
        return {manifest.dataset: manifest.digest for manifest in manifests}

    def _run(
        self,
        command: str,
        config: Any,
        mark: str,
        start: Callable[[Any], Result],
        tags: Mapping[str, str],
    ) -> str:
        """Return the run in which a stage is done: one that equals it, one that goes on, or a new one."""
        seed = getattr(config, "seed", None)
        title = command if seed is None else f"{command} seed {seed}"
        how = "run"
        if mark and self.reuse:
            finished = finished_run(mark, command)
            if finished:
                print(f"{title}: reused run {finished} (equal configuration, code and data)")
                self.done.append(Stage(command, finished, "reused", seed))
                return finished
            # A test has no checkpoint to go on from.
            stopped = stopped_run(mark) if command in TRAINING_COMMANDS else ""
            if stopped:
                how = "continued"
                print(f"{title}: continuing run {stopped}, which was stopped")
                # The stopped run's device stands in its checkpoint.
                config = replace(config, resume=stopped, device=type(config)().device)
        marked = {**tags, FINGERPRINT: mark} if mark else tags
        with tagging_next(marked):
            result = start(config)
        # Where to look is said once, of all stages together.
        print(result.summary())
        self.done.append(Stage(command, result.run_id, how, seed))
        return result.run_id


def configuration_name(experiment: Experiment, finetune: FinetuneConfig) -> str:
    """Return a name that an experiment's seeds share, on any commit, and runs with other options or weights do not.

    Args:
        experiment: The experiment; the encoder it pre-trains is known by the options of its pre-training.
        finetune: Its fine-tuning, as its file says.
    """
    repeated = fields_of(Scope.SEED, Scope.NAME)
    options = without_added(_settings(finetune, resolved_options(finetune)))
    settings = {key: value for key, value in options.items() if key not in repeated}
    init = starting_weights(finetune)
    pretrain = experiment.pretrain
    if pretrain:
        # Its run has another id on every machine.
        settings["pretrain"] = without_added(_settings(pretrain, resolved_options(pretrain)))
        init = pretrain.init
    digest = fingerprint(experiment.name, settings, _weights_digest(init), commit="")
    return f"{experiment.name}-{digest[:8]}"


def _settings(config: Any, resolved: dict[str, Any]) -> dict[str, Any]:
    """Return the options that change what comes out, with what `auto` and 0 stand for here.

    The device is among them: `precision=auto` trains in bf16 on one and in fp32 on another.
    """
    options = asdict(config) | resolved
    machine = fields_of(Scope.MACHINE)
    return {key: value for key, value in options.items() if key not in machine}


def _weights_digest(init: str) -> dict[str, str]:
    """Return the digest of starting weights that are a file or a folder; of a registered model its version."""
    # A name says itself what it stands for.
    if init in NAMES:
        return {}
    if init.startswith(ADDRESSES):
        return {"init": resolve_alias(init)}
    path = Path(init).expanduser()
    digest = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return {"init": digest.hexdigest()}
