"""Do the stages of one experiment: run each, continue it where it was stopped, or reuse an equal run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fer.config.commands import TRAINING_COMMANDS, EvaluateConfig
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import read_manifest
from fer.pipeline.evaluate import EvaluateResult, evaluate_model
from fer.pipeline.finalize import FinetuneResult
from fer.pipeline.finetune import finetune_classifier
from fer.pipeline.fingerprints import set_digests, settings, training_fingerprint
from fer.pipeline.pretrain import PretrainResult, pretrain_encoder
from fer.pipeline.requirements import check_training
from fer.tracking.lifecycle import tagging_next
from fer.tracking.names import EXPERIMENT, FINGERPRINT, TESTED_DIGEST, dataset_tag
from fer.tracking.naming import joined_name
from fer.tracking.provenance import code_digest, fingerprint, finished_run, unfinished_run
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
        reuse: Whether finished stages are taken over and stopped ones continued.

    Attributes:
        done: What is done so far.
    """

    def __init__(self, root: Path, reuse: bool) -> None:
        self.root = root
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
        inputs = set_digests(resolve_prepared(config.dataset, self.root), self.root)
        mark = fingerprint("evaluate", settings(config, resolved), inputs, code_digest())
        tested = self._run("evaluate", config, mark, evaluate_model, {FINGERPRINT: mark})
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
        return self._run(command, config, training_fingerprint(command, config), start, tags)

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
        if self.reuse:
            finished = finished_run(mark, command)
            if finished:
                print(f"{title}: reused run {finished} (equal configuration, code and data)")
                self.done.append(Stage(command, finished, "reused", seed))
                return finished
            # A test has no checkpoint to go on from.
            stopped = unfinished_run(mark) if command in TRAINING_COMMANDS else ""
            if stopped:
                how = "continued"
                print(f"{title}: continuing run {stopped}, which did not finish")
                # The stopped run's device stands in its checkpoint.
                config = replace(config, resume=stopped, device=type(config)().device)
        with tagging_next(tags):
            result = start(config)
        # Where to look is said once, of all stages together.
        print(result.summary())
        self.done.append(Stage(command, result.run_id, how, seed))
        return result.run_id
