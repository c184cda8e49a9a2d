"""How a training begins: the network with its starting weights, and what of them the run remembers."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.data.datasets.base import DataSet
from fer.data.packing import packed_side
from fer.data.prepared import prepared_framing
from fer.models.backbones import Classifier, Encoder, ModelSpec, arch_options
from fer.models.initial_weights import (
    ADDRESSES,
    InitialWeights,
    load_initial_weights,
    resolve_init,
    weights_from_folder,
)
from fer.pipeline.contamination import past_of, remember
from fer.tracking.models import fetch_model
from fer.tracking.names import STARTED_FROM, TERMS
from fer.tracking.runs import TrackedRun
from fer.utils.distributed import rank
from fer.utils.paths import resolve_data_root

N = TypeVar("N", Classifier, Encoder)


def initialize_model(
    kind: type[N], config: FinetuneConfig | PretrainConfig, init: str, sets: list[DataSet], run: TrackedRun
) -> N:
    """Return a network with its starting weights, and their pixel normalisation, terms and past in its specification.

    Args:
        kind: `Classifier` or `Encoder`.
        config: Gives architecture, size and seed.
        init: Where to start, `auto` resolved.
        sets: What it will be trained on.
        run: Gets what was loaded as tags.

    Raises:
        ModelError: The starting weights cannot be had or do not fit.
    """
    with tempfile.TemporaryDirectory() as downloads:
        start: InitialWeights = fetch_initial_weights(init, config.arch, Path(downloads))
    terms = [*(dataset.terms for dataset in sets), start.terms]
    root = resolve_data_root(config.data_root)
    option = config.contamination if isinstance(config, FinetuneConfig) else "check"
    past = past_of(start, start.run_id).and_then(remember(sets, root, option), labels=kind is Classifier)
    spec = ModelSpec(
        config.arch, config.image_size, arch_options(config.arch, config.image_size), start.mean, start.std,
        # What an encoder was pre-trained on counts as seen.
        trained_on=tuple(dict.fromkeys([*start.trained_on, *(dataset.name for dataset in sets)])),
        terms=tuple(dict.fromkeys(filter(None, terms))),
        framing=expected_framing(sets, root),
        crop_size=max(packed_side(dataset.native_side, config.image_size) for dataset in sets),
        training_images=past.training, pretraining_images=past.pretraining,
    )  # fmt: skip
    torch.manual_seed(config.seed)
    network = kind(spec)
    loaded = load_initial_weights(network, start)
    if rank() == 0:
        print(loaded)
    run.tags({"weights.loaded": str(loaded), TERMS: "; ".join(spec.terms) or "none", **past.tags()})
    if start.run_id:
        run.tags({STARTED_FROM: start.run_id})
    return network


def expected_framing(sets: list[DataSet], root: Path) -> str:
    """Return what a model trained on some prepared sets expects of a picture, as `ModelSpec.framing`.

    Framed faces, as soon as one of the sets has them; sets of photographs that `prepare` does not frame come framed.

    Args:
        sets: The training sets.
        root: The data root.

    Raises:
        DataError: What `prepare` wrote about a set is gone or damaged.
    """
    framed = [
        not dataset.drawn and (dataset.framing is None or prepared_framing(root, dataset.name) == "auto")
        for dataset in sets
    ]
    return "detect" if any(framed) else "none"


def fetch_initial_weights(init: str, arch: str, folder: Path) -> InitialWeights:
    """Return the starting weights an option `init` stands for.

    Args:
        init: `runs:/<id>` (a run of `pretrain` gives its encoder, one of `finetune` its classifier's backbone),
            `runs:/<id>/<artifact>`, `models:/<name>@<alias>`, `models:/<name>/<version>`, or what `resolve_init` takes.
        arch: The backbone they are for.
        folder: Where downloads from MLflow go; not needed afterwards.

    Raises:
        ConfigError: There is no such name, file or folder.
        ModelError: There is no such run or model, or its weights cannot be read or are of another architecture.
    """
    if not init.startswith(ADDRESSES):
        return resolve_init(init, arch)
    fetched = fetch_model(init, folder)
    start = weights_from_folder(fetched.path) if fetched.path.is_dir() else resolve_init(str(fetched.path), arch)
    return replace(start, origin=init, run_id=fetched.run_id)
