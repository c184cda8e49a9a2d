"""The stages of one experiment: each is run, continued where it was stopped, or taken over from an equal run."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fer.comparison.grouping import REPETITION_OPTIONS
from fer.config.commands import TRAINING_COMMANDS, EvaluateConfig, fields_of
from fer.config.options import Scope
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import read_manifest
from fer.experiments.files import Experiment
from fer.models.initial_weights import ADDRESSES, NAMES
from fer.pipeline import finetune_plan, pretrain_plan
from fer.pipeline.evaluate import evaluate_model
from fer.pipeline.finetune import finetune_classifier
from fer.pipeline.pretrain import pretrain_encoder
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
    """Does the stages of an experiment one by one.

    Attributes:
        done: What is done so far.
    """

    def __init__(self, root: Path, code: CodeVersion, reuse: bool) -> None:
        self.root, self.code, self.reuse = root, code, reuse
        self.done: list[Stage] = []

    def pretrain(self, config: PretrainConfig) -> str:
        """Return the run that holds the encoder."""
        plan = pretrain_plan.make_plan(config)
        inputs = self._digests(plan.sets + plan.probe_sets) | _start(config.init)
        settings = _settings(config, plan.derived())
        return self._do("pretrain", config, settings, inputs, {}, _pretrain)

    def finetune(self, config: FinetuneConfig, tags: Mapping[str, str]) -> str:
        """Return the run that holds the classifier.

        Args:
            config: What to train.
            tags: For the run, beside the stage's own.
        """
        plan = finetune_plan.make_plan(config)
        inputs = self._digests(plan.sets) | _start(plan.init)
        settings = _settings(config, plan.derived())
        shown = f"{tags[EXPERIMENT]} seed {config.seed}"
        return self._do("finetune", config, settings, inputs, tags, lambda resumed: _finetune(resumed, shown))

    def figures(self, run_id: str, asked: EvaluateConfig | None, config: FinetuneConfig) -> dict[str, float]:
        """Return the test figures of a fine-tuned model, having tested it where that was not done yet.

        Training has tested it on the sets there were; those that came or changed since are tested now, and those the
        experiment's own stage `evaluate` asks for.

        Args:
            run_id: The run of `finetune`.
            asked: The stage's configuration, or None.
            config: That of `finetune`.
        """
        figures, tags = logged_values(run_id)
        sets = resolve_prepared(config.evaluate_on, self.root)
        if changed := [dataset for dataset in sets if self._untested(dataset, tags)]:
            names = "+".join(dataset.name for dataset in changed)
            shared = {key: getattr(config, key) for key in ("data_root", "device", "contamination")}
            figures |= self._evaluate(EvaluateConfig(dataset=names, **shared), run_id)
        return figures | (self._evaluate(asked, run_id) if asked else {})

    def _evaluate(self, config: EvaluateConfig, run_id: str) -> dict[str, float]:
        config = replace(config, model=f"runs:/{run_id}")
        inputs = self._digests(resolve_prepared(config.dataset, self.root))
        settings = _settings(config, {"device_used": pick_device(config.device).type})
        found = self._do("evaluate", config, settings, inputs, {}, _evaluate)
        metrics, _ = logged_values(found)
        return metrics

    def _untested(self, dataset: DataSet, tags: Mapping[str, str]) -> bool:
        manifest = read_manifest(manifest_path(self.root, dataset.name))
        tested = manifest.of("test")
        return bool(tested.images) and tags.get(dataset_tag(dataset.name, TESTED_DIGEST)) not in (
            tested.digest, manifest.digest
        )  # fmt: skip

    def _do(
        self, command: str, config: Any, settings: Mapping[str, Any], inputs: Mapping[str, str],
        tags: Mapping[str, str], start: Callable[[Any], str],
    ) -> str:  # fmt: skip
        """Return the run in which a stage is done: one that equals it, one that goes on, or a new one."""
        # Code that cannot be named gets no fingerprint: it must not be taken for the commit later.
        mark = "" if self.code.doubt else fingerprint(command, settings, inputs, self.code.commit)
        seed = getattr(config, "seed", None)
        shown = command if seed is None else f"{command} seed {seed}"
        stopped = ""
        if mark and self.reuse:
            if found := finished_run(mark, command):
                print(f"{shown}: reused run {found} (equal configuration, code and data)")
                self.done.append(Stage(command, found, "reused", seed))
                return found
            stopped = stopped_run(mark) if command in TRAINING_COMMANDS else ""
        if stopped:
            print(f"{shown}: continuing run {stopped}, which was stopped")
            # The stopped run's device stands in its checkpoint.
            config = replace(config, resume=stopped, device=type(config)().device)
        with tagging_next({**tags, **({FINGERPRINT: mark} if mark else {})}):
            run_id = start(config)
        self.done.append(Stage(command, run_id, "continued" if stopped else "run", seed))
        return run_id

    def _digests(self, sets: list[DataSet]) -> dict[str, str]:
        return {dataset.name: read_manifest(manifest_path(self.root, dataset.name)).digest for dataset in sets}


def _pretrain(config: PretrainConfig) -> str:
    result = pretrain_encoder(config)
    print(f"{result.summary()}\n{result.where}")
    return result.run_id


def _finetune(config: FinetuneConfig, run_name: str) -> str:
    result = finetune_classifier(config, run_name)
    print(result.summary())
    return result.run_id


def _evaluate(config: EvaluateConfig) -> str:
    result = evaluate_model(config)
    print(f"\n{result.table}\n\n{result.where}")
    return result.run_id


def configuration(experiment: Experiment, finetune: FinetuneConfig) -> str:
    """Return a name that an experiment's seeds share, on any commit, and runs with other options or weights do not.

    Args:
        experiment: The experiment; the encoder it pre-trains is known by the options of its pre-training.
        finetune: Its fine-tuning, as its file says.
    """
    plan = finetune_plan.make_plan(finetune)
    derived = _settings(finetune, plan.derived())
    settings = {key: value for key, value in derived.items() if key not in REPETITION_OPTIONS}
    starts = _start(plan.init)
    if before := experiment.pretrain:
        settings["pretrain"] = _settings(before, pretrain_plan.make_plan(before).derived())
        starts = _start(before.init)
    return f"{experiment.name}-{fingerprint(experiment.name, settings, starts, commit='')[:8]}"


def _settings(config: Any, derived: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change what comes out, with what `auto` and 0 stand for here.

    The device is among them: `precision=auto` trains in bf16 on one and in fp32 on another.
    """
    resolved = {key.removesuffix("_used"): value for key, value in derived.items()}
    machine = fields_of(Scope.MACHINE)
    return {key: value for key, value in {**asdict(config), **resolved}.items() if key not in machine}


def _start(init: str) -> dict[str, str]:
    """Return the digest of starting weights that are a file or a folder; of a registered model its version.

    Names and runs say it themselves.
    """
    if init in NAMES:
        return {}
    if init.startswith(ADDRESSES):
        return {"init": resolve_alias(init)}
    path, content = Path(init).expanduser(), hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                content.update(hashlib.file_digest(stream, "sha256").digest())
    return {"init": content.hexdigest()}
