"""Tell of every data set that is known what state it is in under a data root, and how to get it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer.data.datasets.base import DataSet
from fer.data.datasets.own import UNSTATED_TERMS, own_names
from fer.data.datasets.registry import DATASETS, find_source, resolve_datasets
from fer.data.prepared import read_summary
from fer.errors import DataError
from fer.utils.paths import manifest_path


@dataclass(frozen=True)
class SetState:
    """What is known of a data set on this machine.

    Attributes:
        name: Its name in options.
        title: Its name in sentences.
        state: Whether it is prepared, can be, or is not there.
        places: Where its download is looked for.
        terms: What its licence allows; empty for free sets.
        to_do: What to do for it to be prepared; empty where it is.
    """

    name: str
    title: str
    state: str
    places: tuple[str, ...]
    terms: str
    to_do: str


def set_states(root: Path) -> list[SetState]:
    """Return the state of all registered sets, and of people's own under the data root."""
    states = [_state_of(dataset, root) for dataset in DATASETS.values()]
    for name in own_names(root):
        try:
            (dataset,) = resolve_datasets(name, root)
        except DataError as error:
            states.append(SetState(name, name, "record damaged", (), UNSTATED_TERMS, str(error)))
        else:
            states.append(_state_of(dataset, root))
    return states


def _state_of(dataset: DataSet, root: Path) -> SetState:
    prepare = f"fer prepare --dataset {dataset.name}"
    places = tuple(str(path) for path in dataset.default_paths(root))
    download = find_source(dataset, "", root)
    to_do = ""
    if manifest_path(root, dataset.name).is_file():
        try:
            state = _prepared(read_summary(root, dataset.name))
        except DataError:
            state, to_do = "prepared by another version, or damaged", prepare
    elif download:
        state, to_do = f"not prepared; its download is at {download}", prepare
    elif dataset.drawn:
        state, to_do = "not prepared", "fer prepare --dataset drawn draws it"
    elif dataset.download:
        state, to_do = "not prepared", f"{prepare} downloads it"
    else:
        state, to_do = "not here", f"{dataset.instructions}, then {prepare} --source <its folder or archive>"
    return SetState(dataset.name, dataset.title, state, places, dataset.terms, to_do)


def _prepared(summary: Mapping[str, Any]) -> str:
    """Return how many images a prepared set has in each split, and what is missing of the complete set."""
    parts = []
    for split, by_expression in summary["counts"].items():
        parts.append(f"{sum(by_expression.values()):,} {split}")
    state = f"prepared: {', '.join(parts)}; framing {summary['framing']}"
    differences = summary["count_differences"]
    return f"{state}; not the complete set" if differences else state
