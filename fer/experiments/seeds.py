"""Figures of one experiment repeated with several seeds: mean and deviation, and the table beside what was reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fer.evaluation.report import UNIFORM_PRIOR, prior_note
from fer.evaluation.statistics import seeds_summary
from fer.experiments.reported import Figures
from fer.expressions import EXPRESSIONS
from fer.utils.tables import text_table

TEST_BEST = "test_best/accuracy"
COLUMNS = {**{name: f"accuracy/{name}" for name in EXPRESSIONS}, "accuracy": "accuracy"} | {
    "class mean": "mean_class_accuracy"
}
"""The table's columns and the figures in them, named as `Report.scalars` does."""
PARTS = ("contaminated", "uncontaminated")
"""What `<set>/<part>/images` counts a part of; neither is a set of its own."""


@dataclass(frozen=True)
class Spread:
    """One figure over several seeds.

    Attributes:
        mean: Its mean.
        std: Its sample standard deviation (n - 1 in the denominator); None for a single seed.
    """

    mean: float
    std: float | None


def tested_sets(metrics: Mapping[str, float]) -> list[str]:
    """Return the sets and their groups such as `kdef/frontal` that a run's metrics tell of.

    A set whose answers were corrected to a uniform prior is followed by `<set>/uniform_prior`.
    """
    counted = sorted(key.removesuffix("/images") for key in metrics if key.endswith("/images"))
    named = [name for name in counted if name.rpartition("/")[2] not in PARTS]
    rows = [row for name in named for row in (name, f"{name}/{UNIFORM_PRIOR}")]
    return [row for row in rows if row in named or f"{row}/accuracy" in metrics]


def spreads(seeds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Return every test accuracy that all seeds have, by its metric's name such as `raf/accuracy/fear`.

    Args:
        seeds: The metrics of each seed's run.
    """
    figures = [*COLUMNS.values(), TEST_BEST]
    keys = [f"{dataset}/{figure}" for dataset in tested_sets(seeds[0]) for figure in figures]
    found = {key: [metrics[key] for metrics in seeds if key in metrics] for key in keys}
    return {key: Spread(*seeds_summary(values)) for key, values in found.items() if len(values) == len(seeds)}


def spread_metrics(found: Mapping[str, Spread]) -> dict[str, float]:
    """Return spreads as metrics: `raf/accuracy/mean`, `raf/accuracy/std`."""
    flat = {f"{key}/mean": spread.mean for key, spread in found.items()}
    return flat | {f"{key}/std": spread.std for key, spread in found.items() if spread.std is not None}


def spread_table(found: Mapping[str, Spread], seeds: int, reported: Mapping[str, Figures]) -> str:
    """Lay out mean and deviation in per cent, a set after the other, with what 2021 reported of it below.

    Args:
        found: As `spreads` gives them.
        seeds: How many there were.
        reported: The figures reported, by set; sets without ours are left out.
    """
    sets = list(dict.fromkeys(key.removesuffix("/accuracy") for key in found if _is_overall(key)))
    ours = "this run" if seeds == 1 else f"mean of {seeds} seeds"
    rows = [["data set", "", *COLUMNS]]
    for dataset in sets:
        rows.append([dataset, ours, *[_cell(found.get(f"{dataset}/{figure}")) for figure in COLUMNS.values()]])
        if best := found.get(f"{dataset}/{TEST_BEST}"):
            rows.append([dataset, "best epoch on test", *_only_overall(_cell(best))])
        if dataset in reported:
            told = reported[dataset].scalars()
            cells = [_cell(Spread(told[key], None) if key in told else None) for key in COLUMNS.values()]
            rows.append([dataset, "reported in 2021", *cells])
    return text_table(rows) + prior_note(sets)


def pretraining_note(pretrainings: int, seeds: int) -> str:
    """Return lines that say how seeds share pre-trainings; nothing for one seed or without pre-training."""
    if not pretrainings or seeds == 1:
        return ""
    if pretrainings == 1:
        return (
            f"\n\nall {seeds} seeds start from one pre-training: ± says nothing of another one "
            "(pretrain_seeds repeats it too)"
        )
    if pretrainings < seeds:
        return f"\n\nthe {seeds} seeds start from {pretrainings} pre-trainings in turn"
    return "\n\neach seed starts from a pre-training of its own"


def _is_overall(key: str) -> bool:
    return key.endswith("/accuracy") and not key.endswith(f"/{TEST_BEST}")


def _only_overall(cell: str) -> list[str]:
    return [cell if column == "accuracy" else "" for column in COLUMNS]


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.mean * 100:.1f}" + ("" if spread.std is None else f" ± {spread.std * 100:.1f}")
