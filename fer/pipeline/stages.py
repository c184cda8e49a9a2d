"""Do the stages of one experiment: run each, continue it where it was stopped, or reuse an equal run."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fer.config.commands import TRAINING_COMMANDS, EvaluateConfig, fields_of
from fer.config.options import Scope
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import read_manifest
from fer.experiments.files import Experiment
from fer.models.initial_weights import ADDRESSES, NAMES
from fer.pipeline.context import training_sets
from fer.pipeline.evaluate import evaluate_model
from fer.pipeline.finetune import check_finetune, finetune_classifier, finetune_options
from fer.pipeline.initialize import starting_weights
from fer.pipeline.pretrain import check_pretrain, pretrain_encoder, pretrain_options, probe_sets
from fer.tracking.lifecycle import tagging_next
from fer.tracking.models import resolve_alias
from fer.tracking.names import EXPERIMENT, FINGERPRINT, TESTED_DIGEST, dataset_tag
from fer.tracking.provenance import CodeVersion, fingerprint, finished_run, logged_values, stopped_run
from fer.training.devices import pick_device
from fer.utils.paths import manifest_path


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
        check_pretrain(config)
        sets = training_sets(config.dataset) + probe_sets(config)
        mark = self._fingerprint("pretrain", config, pretrain_options(config), sets, config.init)
        return self._run("pretrain", config, mark, _pretrain)

    def finetune(self, config: FinetuneConfig, tags: Mapping[str, str]) -> str:
        """Return the run that holds the classifier.

        Args:
            config: What to train.
            tags: For the run, beside the stage's own.
        """
        check_finetune(config)
        sets = training_sets(config.dataset)
        mark = self._fingerprint("finetune", config, finetune_options(config), sets, starting_weights(config))
        run_name = f"{tags[EXPERIMENT]} seed {config.seed}"
        return self._run("finetune", config, mark, lambda resumed: _finetune(resumed, run_name), tags)

    def test_figures(self, run_id: str, stage: EvaluateConfig | None, finetune: FinetuneConfig) -> dict[str, float]:
        """Return the test figures of a fine-tuned model, having tested it where that was not done yet.

        Args:
            run_id: The run of `finetune`.
            stage: The experiment's own stage `evaluate`, or None.
            finetune: The configuration of `finetune`.
        """
        figures, tags = logged_values(run_id)
        # Training has tested it on the sets there were; those that came or changed since are tested now.
        untested = [
            dataset for dataset in resolve_prepared(finetune.evaluate_on, self.root) if self._is_untested(dataset, tags)
        ]
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
        resolved = {"device_used": pick_device(config.device).type}
        sets = resolve_prepared(config.dataset, self.root)
        mark = self._fingerprint("evaluate", config, resolved, sets)
        metrics, _ = logged_values(self._run("evaluate", config, mark, _evaluate))
        return metrics

    def _is_untested(self, dataset: DataSet, tags: Mapping[str, str]) -> bool:
        manifest = read_manifest(manifest_path(self.root, dataset.name))
        test = manifest.of("test")
        tested_digest = tags.get(dataset_tag(dataset.name, TESTED_DIGEST))
        # The whole set was tested where the model never saw any of it.
        return bool(test.images) and tested_digest not in (test.digest, manifest.digest)

    def _fingerprint(
        self, command: str, config: Any, resolved: Mapping[str, Any], sets: Sequence[DataSet], init: str = ""
    ) -> str:
        # Code that cannot be named gets no fingerprint: it must not be taken for the commit later.
        if self.code.doubt:
            return ""
        inputs = self._digests(sets) | _weights_digest(init)
        return fingerprint(command, _settings(config, resolved), inputs, self.code.commit)

    def _digests(self, sets: Sequence[DataSet]) -> dict[str, str]:
        return {dataset.name: read_manifest(manifest_path(self.root, dataset.name)).digest for dataset in sets}

    def _run(
        self,
        command: str,
        config: Any,
        mark: str,
        start: Callable[[Any], str],
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Return the run in which a stage is done: one that equals it, one that goes on, or a new one."""
        seed = getattr(config, "seed", None)
        title = command if seed is None else f"{command} seed {seed}"
        stopped = ""
        if mark and self.reuse:
            finished = finished_run(mark, command)
            if finished:
                print(f"{title}: reused run {finished} (equal configuration, code and data)")
                self.done.append(Stage(command, finished, "reused", seed))
                return finished
            stopped = stopped_run(mark) if command in TRAINING_COMMANDS else ""
        if stopped:
            print(f"{title}: continuing run {stopped}, which was stopped")
            # The stopped run's device stands in its checkpoint.
            config = replace(config, resume=stopped, device=type(config)().device)
        stage_tags = dict(tags or {})
        if mark:
            stage_tags[FINGERPRINT] = mark
        with tagging_next(stage_tags):
            run_id = start(config)
        self.done.append(Stage(command, run_id, "continued" if stopped else "run", seed))
        return run_id


def _pretrain(config: PretrainConfig) -> str:
    result = pretrain_encoder(config)
    print(f"{result.summary()}\n{result.where}")
    return result.run_id


def _finetune(config: FinetuneConfig, run_name: str) -> str:
    # Where to look is said once, of all seeds together.
    result = finetune_classifier(config, run_name)
    print(result.summary())
    return result.run_id


def _evaluate(config: EvaluateConfig) -> str:
    result = evaluate_model(config)
    print(f"\n{result.table}\n\n{result.where}")
    return result.run_id


def configuration_name(experiment: Experiment, finetune: FinetuneConfig) -> str:
    """Return a name that an experiment's seeds share, on any commit, and runs with other options or weights do not.

    Args:
        experiment: The experiment; the encoder it pre-trains is known by the options of its pre-training.
        finetune: Its fine-tuning, as its file says.
    """
    repeated = fields_of(Scope.SEED, Scope.NAME)
    settings = _settings(finetune, finetune_options(finetune))
    settings = {key: value for key, value in settings.items() if key not in repeated}
    init = starting_weights(finetune)
    if experiment.pretrain:
        settings["pretrain"] = _settings(experiment.pretrain, pretrain_options(experiment.pretrain))
        init = experiment.pretrain.init
    digest = fingerprint(experiment.name, settings, _weights_digest(init), commit="")
    return f"{experiment.name}-{digest[:8]}"


def _settings(config: Any, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change what comes out, with what `auto` and 0 stand for here.

    The device is among them: `precision=auto` trains in bf16 on one and in fp32 on another.
    """
    options = asdict(config) | {key.removesuffix("_used"): value for key, value in resolved.items()}
    machine = fields_of(Scope.MACHINE)
    return {key: value for key, value in options.items() if key not in machine}


def _weights_digest(init: str) -> dict[str, str]:
    """Return the digest of starting weights that are a file or a folder; of a registered model its version."""
    if not init or init in NAMES:
        # A name says it itself, as a run does.
        return {}
    if init.startswith(ADDRESSES):
        return {"init": resolve_alias(init)}
    path = Path(init).expanduser()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return {"init": digest.hexdigest()}
