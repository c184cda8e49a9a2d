"""Group runs that repeat one configuration with several seeds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from fer.comparison.runs import Predictions, RunFigures, isolated, one_line
from fer.config.commands import fields_of
from fer.config.options import Scope
from fer.errors import ConfigError, quoted, unknown_name
from fer.evaluation.metrics import Floats

REPETITION_OPTIONS = fields_of(Scope.SEED, Scope.NAME, Scope.TESTED, Scope.MACHINE)
"""Options in which repetitions of one configuration may differ: the seed, names, what is tested, and paths."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")
LINES = ("-", "--", ":", "-.")


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
    def title(self) -> str:
        """Return its name as sentences hold it."""
        return isolated(self.name)

    @property
    def letter(self) -> str:
        """Return what stands for it in figures and tables: A to Z, AA, AB, ..."""
        return _letter(self.index)

    @property
    def reported(self) -> bool:
        """Return whether it is a row of the 2021 table."""
        return self.runs[0].reported

    @property
    def origin(self) -> str:
        """Return its seeds and runs in words."""
        if self.reported:
            return "reported in 2021"
        ids = ", ".join(run.short_id for run in self.runs)
        seeds = ", ".join(str(run.seed) for run in self.runs if run.seed is not None)
        plural = "s" if len(self.runs) > 1 else ""
        return f"seed{plural} {seeds}; run{plural} {ids}" if seeds else f"run{plural} {ids}"

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


def style(one: Configuration) -> tuple[str, str, str]:
    """Return colour, marker and line of a configuration in figures."""
    # The three begin again at different numbers, so that a pair of them still tells many apart.
    colour = COLOURS[one.index % len(COLOURS)]
    marker = MARKERS[one.index % len(MARKERS)]
    return colour, marker, LINES[one.index // len(COLOURS) % len(LINES)]


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
    options = {key: repr(value) for key, value in run.config.items() if key not in REPETITION_OPTIONS}
    # Other training images are another configuration, even with equal options.
    images = tuple(sorted(run.training_digests.items()))
    return run.configuration or tuple(sorted(options.items())), images


def _name(run: RunFigures) -> str:
    name = f"{run.name} (2021)" if run.reported else run.experiment or run.name
    return one_line(name)


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
