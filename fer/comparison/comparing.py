"""Compare runs: group them, lay out their figures, test them against each other, say what came out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from fer.comparison import verdicts as words
from fer.comparison.configurations import Configuration, RunFigures, configurations
from fer.comparison.tables import ACCURACY, Reported, Row, metric, rows
from fer.comparison.testing import PairedTest, paired_tests
from fer.errors import ConfigError, DataError, quoted, unknown_name
from fer.evaluation.report import UNIFORM_PRIOR

MOST = 10
"""Configurations that are all compared with each other."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs compared.

    Attributes:
        configurations: What was compared.
        baseline: The one that all others were tested against; None where all pairs were.
        titles: The data sets with figures of two configurations or more, by name, with their names in sentences.
        rows: The table: by set, below it its parts, and in each by configuration.
        tests: Paired tests.
        verdicts: What the tests say, by set a sentence for each pair.
        warnings: What should make a reader doubt a figure, and what could not be tested.
        notes: How figures compare with reported ones, and remarks on the grouping.
        methods: How all this was computed.
    """

    configurations: tuple[Configuration, ...]
    baseline: Configuration | None
    titles: dict[str, str]
    rows: tuple[Row, ...]
    tests: tuple[PairedTest, ...]
    verdicts: dict[str, list[str]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    methods: tuple[str, ...]


def compare(
    runs: Sequence[RunFigures],
    sets: Mapping[str, tuple[str, Sequence[str]]],
    reported: Reported,
    baseline: str = "",
) -> Comparison:
    """Compare runs on the test sets they share.

    Args:
        runs: Two or more, each once.
        sets: By data set's name: its name in sentences, and the names of its parts by camera angle.
        reported: The 2021 table.
        baseline: The name, letter or run of the configuration that all others are tested against; empty: all pairs.

    Raises:
        ConfigError: There are too few or too many runs, or the baseline is none of them.
        DataError: No test set was answered by two of them.
    """
    if len(runs) < 2:
        these = f"only {runs[0].shown} fits" if runs else "none fits"
        raise ConfigError(f"a comparison takes at least two runs with test figures, and {these}: name more of them")
    found, remarks = configurations(runs)
    chosen = _baseline(found, baseline) if baseline else None
    titles = {name: title for name, (title, _) in sets.items() if _tested(found, name)}
    if not titles:
        each = "; ".join(f"{one.name}: {', '.join(_sets(one, sets)) or 'none'}" for one in found)
        raise DataError(f"the runs share no test set ({each}): evaluate their models on one set")
    parts = {name: (UNIFORM_PRIOR, *sets[name][1]) for name in titles}
    places = [place for name in titles for place in (name, *(f"{name}/{part}" for part in parts[name]))]
    table = [row for place in places for row in rows(found, place, reported)]
    tests, untested = paired_tests(_pairs(found, chosen), list(titles))
    return Comparison(
        configurations=tuple(found),
        baseline=chosen,
        titles=titles,
        rows=tuple(table),
        tests=tuple(tests),
        verdicts=words.verdicts(tests, titles),
        warnings=(*words.warnings(found, list(titles), titles), *words.refusals(untested, titles)),
        notes=(*words.against_reported(table, titles), *remarks),
        methods=tuple(words.methods(tests, found)),
    )


def _pairs(found: Sequence[Configuration], baseline: Configuration | None) -> list[tuple[Configuration, Configuration]]:
    """Return what is tested against each other: every other configuration and the baseline, or all pairs."""
    if baseline:
        return [(one, baseline) for one in found if one is not baseline]
    pairs = list(combinations(found, 2))
    if len(found) > MOST:
        raise ConfigError(
            f"{len(found)} configurations make {len(pairs)} pairs: name the one to compare the others with as "
            f"baseline=..., or at most {MOST}"
        )
    return pairs


def _sets(one: Configuration, sets: Iterable[str]) -> list[str]:
    return [name for name in sets if any(metric(name, ACCURACY) in run.metrics for run in one.runs)]


def _tested(found: Sequence[Configuration], name: str) -> bool:
    """Return whether two configurations were tested on a set; of a single configuration, whether it was."""
    return sum(name in _sets(one, [name]) for one in found) >= min(2, len(found))


def _baseline(found: Sequence[Configuration], word: str) -> Configuration:
    """Return the configuration a word means: its letter or name, or the id, its beginning or the name of a run."""
    for matches in (
        [one for one in found if word in (one.letter, one.name)],
        [one for one in found if any(word == run.name for run in one.runs)],
        [one for one in found if any(run.id.startswith(word) for run in one.runs)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(one.name for one in matches)
            raise ConfigError(f"baseline {quoted(word)} may be any of {names}: give an id")
    raise ConfigError(unknown_name("baseline", word, [one.name for one in found]))
