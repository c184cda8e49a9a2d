"""How a training begins: the network with its starting weights, and what of them the run remembers."""

import tempfile
from pathlib import Path
from typing import TypeVar

import torch

from fer.commands.starting import starting_point
from fer.config import FinetuneConfig, PretrainConfig
from fer.data.sources import DataSet
from fer.models.backbones import Classifier, Encoder, ModelSpec, arch_options
from fer.models.weights import Start, load_into
from fer.processes import rank
from fer.tracking.runs import TrackedRun

N = TypeVar("N", Classifier, Encoder)


def begin(kind: type[N], config: FinetuneConfig | PretrainConfig, init: str, sets: list[DataSet], run: TrackedRun) -> N:
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
        start: Start = starting_point(init, config.arch, Path(downloads))
    terms = [*(dataset.terms for dataset in sets), start.terms]
    spec = ModelSpec(
        config.arch, config.image_size, arch_options(config.arch, config.image_size), start.mean, start.std,
        # What an encoder was pre-trained on counts as seen.
        trained_on=tuple(dict.fromkeys([*start.trained_on, *(dataset.name for dataset in sets)])),
        terms=tuple(dict.fromkeys(filter(None, terms))),
    )  # fmt: skip
    torch.manual_seed(config.seed)
    network = kind(spec)
    loaded = load_into(network, start)
    if rank() == 0:
        print(loaded)
    run.tags({"weights.loaded": str(loaded), "terms": "; ".join(spec.terms) or "none"})
    if start.run_id:
        run.tags({"fer.started_from": start.run_id})
    return network
