"""Runs as a comparison sees them, and which of them are one configuration repeated with several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fer.comparison.predictions import Answers
from fer.config.commands import fields_of
from fer.config.options import Scope
from fer.evaluation.metrics import Floats

REPETITION = fields_of(Scope.SEED, Scope.NAME, Scope.MACHINE)
"""Options in which repetitions of one configuration may differ: the seed, names and places."""
LOSS, SCORE = "train/loss", "validation/accuracy"
"""Metrics whose curves are compared."""
RUN = "runs:/"
"""Beginning of an option `init` that names an earlier run."""
ID = 8
"""Characters of a run's id that are shown."""


@dataclass(frozen=True, eq=False)
class RunFigures:
    """What a comparison needs of one run.

    Attributes:
        id: The run's id.
        name: Its name, as a person gave it.
        config: The options of its command; empty if unknown.
        configuration: Equal for the seeds of one configuration and for no other options; empty if it does not say.
        experiment: The experiment it belongs to, if any.
        reproduces: The row of the 2021 table that it repeats, if any.
        reported: Whether it only records such a row, which has figures but no answers.
        training_digests: Digests of the sets it was trained on, by set.
        tested_digests: Digests of the images it tested, by set.
        contamination: Which tested images were seen in training, or why that is not known, by set.
        metrics: The last value of each.
        answers: Stored answers by data set.
        minutes: Length of its training in minutes; None for runs that train nothing, were continued or have not ended.
        curves: Figures of each epoch by metric: (epoch, value) in order.
    """

    id: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    configuration: str = ""
    experiment: str = ""
    reproduces: str = ""
    reported: bool = False
    training_digests: Mapping[str, str] = field(default_factory=dict)
    tested_digests: Mapping[str, str] = field(default_factory=dict)
    contamination: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, Answers] = field(default_factory=dict)
    minutes: float | None = None
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)

    @property
    def seed(self) -> int | None:
        """Return the seed it was trained with."""
        return self.config.get("seed")

    @property
    def pretraining(self) -> str:
        """Return the address of the run it starts from, such as `runs:/<id>`; empty for other starting weights."""
        init = str(self.config.get("init", ""))
        return init if init.startswith(RUN) else ""

    @property
    def shown(self) -> str:
        """Return its name and the beginning of its id."""
        return f"{self.name} ({self.id[:ID]})"


@dataclass(frozen=True, eq=False)
class Configuration:
    """Runs that differ in their seed only, or a single run.

    Attributes:
        letter: What stands for it in figures and tables: A, B, ...
        name: Its name, different from every other's.
        runs: By seed.
    """

    letter: str
    name: str
    runs: tuple[RunFigures, ...]

    @property
    def reported(self) -> bool:
        """Return whether it is a row of the 2021 table."""
        return self.runs[0].reported

    @property
    def reproduces(self) -> str:
        """Return the row of the 2021 table it repeats; empty for none."""
        return self.runs[0].reproduces

    def answers(self, dataset: str) -> list[Answers]:
        """Return its runs' answers on a set; none unless every run has them."""
        found = [run.answers[dataset] for run in self.runs if dataset in run.answers]
        return found if len(found) == len(self.runs) else []

    def by_pretraining(self, values: Floats) -> Floats:
        """Average what its runs have over those that start from one pre-training, if it has several pre-trainings.

        Runs that share a pre-training resemble each other: each pre-training then counts once, as a seed of its own.
        Where all share one, the runs stay as they are, and what comes out holds for that pre-training.

        Args:
            values: `(runs, ...)`, in the order of `runs`.
        """
        groups: dict[str, list[int]] = {}
        for number, run in enumerate(self.runs):
            groups.setdefault(run.pretraining or run.id, []).append(number)
        if len(groups) == 1:
            return values
        return np.stack([values[numbers].mean(axis=0) for numbers in groups.values()])

    def short(self, width: int = 28) -> str:
        """Return letter and name, the middle left out of a long one; the letter keeps names apart."""
        name = " ".join(self.name.split())
        if len(name) > width:
            head = (width - 1) // 2
            name = f"{name[:head]}…{name[head + 1 - width :]}"
        return f"{self.letter}: {name}"


def configurations(runs: Sequence[RunFigures]) -> tuple[list[Configuration], list[str]]:
    """Group runs into configurations, in the order given.

    Runs belong together if their field `configuration` says so, or else if their options are equal but for
    `REPETITION`; and if their training sets have the same digests and their seeds differ.

    Returns:
        The configurations, and remarks on runs that look like one configuration and are not taken for one.
    """
    groups: dict[object, list[RunFigures]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    members, remarks = [], []
    for group in groups.values():
        if len({run.seed for run in group}) == len(group):
            members.append(tuple(sorted(group, key=lambda run: (run.seed is None, run.seed or 0))))
        else:
            members += [(run,) for run in group]
            names = ", ".join(run.shown for run in group)
            remarks.append(f"{names} have equal configurations but no two different seeds, so they stand apart.")
    named = [_name(group[0]) for group in members]
    doubled = {name for name in named if named.count(name) > 1}
    unique = [
        f"{name} ({group[0].id[:ID]})" if name in doubled else name for name, group in zip(named, members, strict=True)
    ]
    found = [
        Configuration(_letter(n), name, group) for n, (name, group) in enumerate(zip(unique, members, strict=True))
    ]
    return found, remarks


def _identity(run: RunFigures) -> object:
    """Return what is equal for runs of one configuration."""
    if not run.config or run.reported:
        return run.id
    kept = sorted((key, repr(value)) for key, value in run.config.items() if key not in REPETITION)
    return run.configuration or tuple(kept), tuple(sorted(run.training_digests.items()))


def _name(run: RunFigures) -> str:
    if run.reported:
        return f"{run.name} (2021)"
    return run.experiment or run.name


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else _letter(number // 26 - 1) + _letter(number % 26)


def differing_options(found: Sequence[Configuration]) -> dict[str, list[str]]:
    """Return the options in which configurations differ, each with every configuration's value as text.

    A configuration that lacks an option, as runs of another command do, has `-`; runs of the 2021 table, whose options
    are not ours, are not looked at for differences.
    """
    ours = [one for one in found if not one.reported]
    keys = dict.fromkeys(key for one in ours for key in one.runs[0].config if key not in REPETITION)
    values = {key: [_text(one.runs[0].config.get(key)) for one in found] for key in keys}
    return {
        key: row
        for key, row in values.items()
        if len({text for text, one in zip(row, found, strict=True) if not one.reported}) > 1
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return "-" if value is None else str(value) or "none"
