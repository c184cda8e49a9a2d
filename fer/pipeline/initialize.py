"""Initialize the network of a training from its starting weights."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from fer.config.options import without_folders
from fer.config.training import FinetuneConfig
from fer.data.datasets.base import DataSet
from fer.data.packing import packed_side
from fer.data.prepared import read_summary
from fer.models.backbones import Classifier, Encoder, ModelSpec, arch_options
from fer.models.initial_weights import (
    ADDRESSES,
    InitialWeights,
    load_initial_weights,
    resolve_init,
    weights_from_folder,
)
from fer.pipeline.options import training_sets
from fer.tracking.names import STARTED_FROM, TERMS
from fer.utils.processes import rank

# The context of a training begins with what is resumed here.
if TYPE_CHECKING:
    from fer.pipeline.context import RunContext

N = TypeVar("N", Classifier, Encoder)


def initialize_model(kind: type[N], context: "RunContext[Any]") -> N:
    """Build a training's network and load its starting weights.

    Its specification holds their pixel normalisation and terms, and the images they have seen.

    Args:
        kind: `Classifier` or `Encoder`.
        context: Its run gets what was loaded as tags.

    Raises:
        ModelError: The starting weights cannot be had or do not fit.
    """
    from fer.pipeline.contamination import seen_images, store_signatures

    config = context.config
    sets: list[DataSet] = training_sets(config)
    with tempfile.TemporaryDirectory() as downloads:
        weights: InitialWeights = fetch_initial_weights(context.init, config.arch, Path(downloads))
    # Pre-training has no test of its own, so nothing would be gained by leaving the signatures out.
    look = not isinstance(config, FinetuneConfig) or config.contamination == "check"
    splits = store_signatures(sets, context.root, look)
    seen = seen_images(weights, weights.run_id).after(splits, labels=kind is Classifier)
    terms = [*(dataset.terms for dataset in sets), weights.terms]
    # What an encoder was pre-trained on counts as seen.
    trained_on = [*weights.trained_on, *(dataset.name for dataset in sets)]
    spec = ModelSpec(
        arch=config.arch,
        image_size=config.image_size,
        arch_options=arch_options(config.arch, config.image_size),
        mean=weights.mean,
        std=weights.std,
        trained_on=tuple(dict.fromkeys(trained_on)),
        terms=tuple(dict.fromkeys(filter(None, terms))),
        framing=expected_framing(sets, context.root),
        crop_size=max(packed_side(dataset.native_side, config.image_size) for dataset in sets),
        training_images=seen.training,
        pretraining_images=seen.pretraining,
    )
    torch.manual_seed(config.seed)
    network = kind(spec)
    loaded = load_initial_weights(network, weights)
    if rank() == 0:
        print(loaded)
    shown = replace(loaded, origin=without_folders(loaded.origin))
    tags = {"weights.loaded": str(shown), TERMS: "; ".join(spec.terms) or "none", **seen.tags()}
    if weights.run_id:
        tags[STARTED_FROM] = weights.run_id
    context.run.tags(tags)
    return network


def expected_framing(sets: Sequence[DataSet], root: Path) -> str:
    """Return what a model trained on some prepared sets expects of a picture, as `ModelSpec.framing`.

    Args:
        sets: The training sets.
        root: The data root.

    Raises:
        DataError: What `prepare` wrote about a set is gone or damaged.
    """
    # One set of framed faces is enough: a face cut out of a picture is then no stranger to the network.
    return "detect" if any(_is_framed(dataset, root) for dataset in sets) else "none"


def _is_framed(dataset: DataSet, root: Path) -> bool:
    if dataset.drawn:
        return False
    # Sets of photographs that `prepare` does not frame come framed.
    return dataset.framing is None or bool(read_summary(root, dataset.name)["framing"] == "auto")


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
    from fer.tracking.models import fetch_model

    fetched = fetch_model(init, folder)
    path = fetched.path
    weights = weights_from_folder(path) if path.is_dir() else resolve_init(str(path), arch)
    return replace(weights, origin=init, run_id=fetched.run_id)
