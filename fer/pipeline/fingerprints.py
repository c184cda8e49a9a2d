"""Tell trainings that must come out equal: by their options, what goes into them and the code."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer.config.commands import fields_of, without_added
from fer.config.options import Scope
from fer.config.training import FinetuneConfig
from fer.data.datasets.base import DataSet
from fer.data.manifest import read_manifest
from fer.experiments.files import Experiment
from fer.models.initial_weights import ADDRESSES, NAMES
from fer.pipeline.options import TrainingConfig, needed_sets, resolved_options, starting_weights
from fer.tracking.naming import resolve_alias
from fer.tracking.provenance import code_digest, fingerprint
from fer.utils.paths import manifest_path, resolve_data_root


def training_fingerprint(command: str, config: TrainingConfig) -> str:
    """Return the fingerprint of a training, whose sets are prepared.

    Args:
        command: `finetune` or `pretrain`.
        config: What to train.
    """
    sets = needed_sets(config)
    inputs = set_digests(sets, resolve_data_root(config.data_root)) | weights_digest(starting_weights(config))
    return fingerprint(command, settings(config, resolved_options(config)), inputs, code_digest())


def set_digests(sets: Sequence[DataSet], root: Path) -> dict[str, str]:
    """Return the digests of prepared sets, by name."""
    manifests = [read_manifest(manifest_path(root, dataset.name)) for dataset in sets]
    return {manifest.dataset: manifest.digest for manifest in manifests}


def configuration_name(experiment: Experiment, finetune: FinetuneConfig) -> str:
    """Return a name that an experiment's seeds share, on any commit, and runs with other options or weights do not.

    Args:
        experiment: The experiment; the encoder it pre-trains is known by the options of its pre-training.
        finetune: Its fine-tuning, as its file says.
    """
    repeated = fields_of(Scope.SEED, Scope.NAME)
    options = without_added(settings(finetune, resolved_options(finetune)))
    chosen = {key: value for key, value in options.items() if key not in repeated}
    init = starting_weights(finetune)
    pretrain = experiment.pretrain
    if pretrain:
        # Its run has another id on every machine.
        chosen["pretrain"] = without_added(settings(pretrain, resolved_options(pretrain)))
        init = pretrain.init
    digest = fingerprint(experiment.name, chosen, weights_digest(init), code="")
    return f"{experiment.name}-{digest[:8]}"


def settings(config: Any, resolved: dict[str, Any]) -> dict[str, Any]:
    """Return the options that change what comes out, with what `auto` and 0 stand for here.

    The device is among them: `precision=auto` trains in bf16 on one and in fp32 on another.
    """
    options = asdict(config) | resolved
    without_effect = fields_of(Scope.MACHINE, Scope.TESTED)
    return {key: value for key, value in options.items() if key not in without_effect}


def weights_digest(init: str) -> dict[str, str]:
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
