"""Group runs that repeat one configuration with several seeds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np

from fer.comparison.runs import Predictions, RunFigures
from fer.config.commands import fields_of
from fer.config.options import Scope
from fer.errors import ConfigError, DataError, quoted, unknown_name
from fer.evaluation.metrics import Floats
from fer.evaluation.names import ACCURACY, metric_key

REPETITION_OPTIONS = fields_of(Scope.SEED, Scope.NAME, Scope.MACHINE)
"""Options in which repetitions of one configuration may differ: the seed, names and paths."""


@dataclass(frozen=True, eq=False)
class Configuration:
    """Runs that differ in their seed only, or a single run.

    Attributes:
        index: Its index among those compared.
        name: Its name, different from every other's, in one line.
        runs: By seed.
    """

    index: int
    name: str
    runs: tuple[RunFigures, ...]

    @property
    def letter(self) -> str:
        """Return what stands for it in figures and tables: A to Z, AA, AB, ..."""
        return _letter(self.index)

    @property
    def reported(self) -> bool:
        """Return whether it is a row of the 2021 table."""
        return self.runs[0].reported

    @property
    def reproduces(self) -> str:
        """Return the row of the 2021 table it repeats; empty for none."""
        return self.runs[0].reproduces

    @property
    def origin(self) -> str:
        """Return its seeds and runs in words."""
        if self.reported:
            return "reported in 2021"
        seeds = [str(run.seed) for run in self.runs if run.seed is not None]
        runs = f"run{'s' if len(self.runs) > 1 else ''} {', '.join(run.short_id for run in self.runs)}"
        return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}; {runs}" if seeds else runs

    def values(self, key: str) -> list[float]:
        """Return what its runs have of a metric."""
        return [run.metrics[key] for run in self.runs if key in run.metrics]

    def predictions(self, dataset: str) -> list[Predictions]:
        """Return its runs' predictions on a data set; none unless every run has them."""
        # A mean over some of the runs would be about others than the table shows.
        stored = [run.predictions[dataset] for run in self.runs if dataset in run.predictions]
        return stored if len(stored) == len(self.runs) else []

    def by_pretraining(self, values: Floats) -> Floats:
        """Average what its runs have over those that start from one pre-training, if it has several pre-trainings.

        Runs that share a pre-training resemble each other: each pre-training then counts once, as a seed of its own.
        Where all share one, the runs stay as they are, and what comes out holds for that pre-training.

        Args:
            values: `(runs, ...)`, in the order of `runs`.
        """
        indices: dict[str, list[int]] = {}
        for index, run in enumerate(self.runs):
            # A run without a pre-training is a group of its own.
            indices.setdefault(run.pretraining or run.id, []).append(index)
        if len(indices) == 1:
            return values
        return np.stack([values[group].mean(axis=0) for group in indices.values()])

    def short_label(self, width: int = 28) -> str:
        """Return letter and name, the middle left out of a long one; the letter keeps names apart."""
        name = self.name
        # Both ends are kept: names of one project often begin alike and end in what differs.
        if len(name) > width:
            head = (width - 1) // 2
            tail = width - 1 - head
            name = f"{name[:head]}…{name[-tail:]}"
        return f"{self.letter}: {name}"


def group_runs(runs: Sequence[RunFigures]) -> tuple[list[Configuration], list[str]]:
    """Group runs into configurations, in the order given.

    Runs belong together if their field `configuration` says so, or else if their options are equal but for
    `REPETITION_OPTIONS`; and if their training sets have the same digests and their seeds differ.

    Returns:
        The configurations, and remarks on runs that look like one configuration and are not taken for one.
    """
    alike: dict[object, list[RunFigures]] = {}
    for run in runs:
        alike.setdefault(_identity(run), []).append(run)
    groups: list[list[RunFigures]] = []
    remarks = []
    for group in alike.values():
        if len({run.seed for run in group}) == len(group):
            # Runs without a seed stand last, since None compares with no number.
            groups.append(sorted(group, key=lambda run: (run.seed is None, run.seed or 0)))
        else:
            # The same seed twice gives no independent repetition.
            groups += [[run] for run in group]
            labels = ", ".join(run.label for run in group)
            remarks.append(f"{labels} have equal configurations but no two different seeds, so they stand apart.")
    names = [_name(group[0]) for group in groups]
    counts = Counter(names)
    configurations = []
    for index, (name, group) in enumerate(zip(names, groups, strict=True)):
        # Equal names would make sentences about two configurations ambiguous.
        unique = f"{name} ({group[0].short_id})" if counts[name] > 1 else name
        configurations.append(Configuration(index, unique, tuple(group)))
    return configurations, remarks


def _identity(run: RunFigures) -> object:
    """Return what is equal for runs of one configuration."""
    # Without options nothing shows that two runs repeat each other.
    if not run.config or run.reported:
        return run.id
    options = tuple(sorted((key, repr(value)) for key, value in run.config.items() if key not in REPETITION_OPTIONS))
    # Other training images are another configuration, even with equal options.
    return run.configuration or options, tuple(sorted(run.training_digests.items()))


def _name(run: RunFigures) -> str:
    name = f"{run.name} (2021)" if run.reported else run.experiment or run.name
    return one_line(name)


def one_line(text: str) -> str:
    """Return a text in one line without characters that steer a terminal or that SVG files may not hold."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())


def _letter(number: int) -> str:
    # As spreadsheets count: AA follows Z.
    if number < 26:
        return ascii_uppercase[number]
    return _letter(number // 26 - 1) + _letter(number % 26)


def find_baseline(configurations: Sequence[Configuration], word: str) -> Configuration:
    """Return the configuration a word means: its letter or name, or the id, its beginning or the name of a run.

    Raises:
        ConfigError: It means none or several.
    """
    # Letters and names before ids, which may begin with any letter from a to f.
    for matches in (
        [one for one in configurations if word in (one.letter, one.name)],
        [one for one in configurations if any(word == run.name for run in one.runs)],
        [one for one in configurations if any(run.id.startswith(word) for run in one.runs)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(one.name for one in matches)
            raise ConfigError(f"baseline {quoted(word)} may be any of {names}: give an id")
    raise ConfigError(unknown_name("baseline", word, [one.name for one in configurations]))


def shared_datasets(configurations: Sequence[Configuration], titles: Mapping[str, str]) -> dict[str, str]:
    """Return the data sets, with titles, that two configurations were tested on; or that the only one was.

    Raises:
        DataError: There is none.
    """
    tested = {
        one.name: [dataset for dataset in titles if one.values(metric_key(dataset, ACCURACY))] for one in configurations
    }
    # A single configuration shares nothing, and its table is shown nevertheless.
    enough = min(2, len(configurations))
    shared = {
        dataset: title
        for dataset, title in titles.items()
        if sum(dataset in datasets for datasets in tested.values()) >= enough
    }
    if not shared:
        each = "; ".join(f"{name}: {', '.join(datasets) or 'none'}" for name, datasets in tested.items())
        raise DataError(f"the runs share no test set ({each}): evaluate their models on one set")
    return shared


def differing_options(configurations: Sequence[Configuration]) -> dict[str, list[str]]:
    """Return the options in which configurations differ, each with every configuration's value as text.

    A configuration that lacks an option, as runs of another command do, has `-`. Rows of the 2021 table, whose options
    are not ours, are left out.
    """
    configs = [one.runs[0].config for one in configurations if not one.reported]
    keys: dict[str, None] = {}
    for config in configs:
        keys |= dict.fromkeys(key for key in config if key not in REPETITION_OPTIONS)
    texts = {key: [_option_text(config.get(key)) for config in configs] for key in keys}
    return {key: row for key, row in texts.items() if len(set(row)) > 1}


def _option_text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return str(value) or "none"
