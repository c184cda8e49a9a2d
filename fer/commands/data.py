"""`data`: the data sets there are, in which state each is, where it was looked for, and how to get it."""

from fer.config.data import DataConfig
from fer.data.datasets.states import set_states
from fer.utils.paths import resolve_data_root
from fer.utils.rendering import render


def run(config: DataConfig) -> None:
    """Print the list."""
    root = resolve_data_root(config.data_root)
    print(render("data.txt", root=root, sets=set_states(root)), end="")
