"""Figures of one experiment repeated with several seeds: mean and deviation, and the table beside reported figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fer.evaluation.report import UNIFORM_PRIOR, prior_note
from fer.evaluation.statistics import seeds_summary
from fer.experiments.reported import ReportedFigures
from fer.expressions import EXPRESSIONS
from fer.utils.tables import text_table

TEST_BEST = "test_best/accuracy"
COLUMNS = {
    **{name: f"accuracy/{name}" for name in EXPRESSIONS},
    "accuracy": "accuracy",
    "class mean": "mean_class_accuracy",
}
"""The table's columns and the figures in them, named as `Report.scalars` does."""
PARTS = ("contaminated", "uncontaminated")
"""What `<set>/<part>/images` counts a part of; neither is a set of its own."""


@dataclass(frozen=True)
class SeedStats:
    """One figure over several seeds.

    Attributes:
        mean: Its mean.
        std: Its sample standard deviation (n - 1 in the denominator); None for a single seed.
    """

    mean: float
    std: float | None


def tested_sets(metrics: Mapping[str, float]) -> list[str]:
    """List the sets and their groups such as `kdef/frontal` that a run has been tested on.

    A set whose predictions were corrected to a uniform prior is followed by `<set>/uniform_prior`.
    """
    counted = [key.removesuffix("/images") for key in metrics if key.endswith("/images")]
    sets = []
    for name in sorted(counted):
        if name.rpartition("/")[2] in PARTS:
            continue
        sets.append(name)
        corrected = f"{name}/{UNIFORM_PRIOR}"
        if f"{corrected}/accuracy" in metrics:
            sets.append(corrected)
    return sets


def seed_stats(seeds: Sequence[Mapping[str, float]]) -> dict[str, SeedStats]:
    """Return the statistics of every test accuracy that all seeds have, by its metric's name, `raf/accuracy/fear`.

    Args:
        seeds: The metrics of each seed's run.
    """
    stats = {}
    for dataset in tested_sets(seeds[0]):
        for figure in (*COLUMNS.values(), TEST_BEST):
            key = f"{dataset}/{figure}"
            # A mean over some of the seeds would stand beside means over all.
            values = [metrics[key] for metrics in seeds if key in metrics]
            if len(values) == len(seeds):
                stats[key] = SeedStats(*seeds_summary(values))
    return stats


def seed_stats_metrics(stats: Mapping[str, SeedStats]) -> dict[str, float]:
    """Return the statistics as metrics: `raf/accuracy/mean`, `raf/accuracy/std`."""
    metrics = {}
    for key, stat in stats.items():
        metrics[f"{key}/mean"] = stat.mean
        if stat.std is not None:
            metrics[f"{key}/std"] = stat.std
    return metrics


def seed_stats_table(
    stats: Mapping[str, SeedStats],
    seeds: int,
    reported: Mapping[str, ReportedFigures],
) -> str:
    """Lay out mean and deviation in per cent, one set below the other, each above what 2021 reported of it.

    Args:
        stats: From `seed_stats`.
        seeds: Their number.
        reported: The figures reported, by set; sets without ours are left out.
    """
    title = "this run" if seeds == 1 else f"mean of {seeds} seeds"
    rows = [["data set", "", *COLUMNS]]
    sets = [key.removesuffix("/accuracy") for key in stats if _is_overall_accuracy(key)]
    for dataset in sets:
        ours = [stats.get(f"{dataset}/{figure}") for figure in COLUMNS.values()]
        rows.append([dataset, title, *map(_cell, ours)])
        best = stats.get(f"{dataset}/{TEST_BEST}")
        if best:
            cells = [_cell(best) if column == "accuracy" else "" for column in COLUMNS]
            rows.append([dataset, "best epoch on test", *cells])
        if dataset in reported:
            scalars = reported[dataset].scalars()
            theirs = [SeedStats(scalars[key], None) if key in scalars else None for key in COLUMNS.values()]
            rows.append([dataset, "reported in 2021", *map(_cell, theirs)])
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


def _is_overall_accuracy(key: str) -> bool:
    # The best epoch's accuracy ends alike, but is a row of its own below its set's.
    return key.endswith("/accuracy") and not key.endswith(f"/{TEST_BEST}")


def _cell(stat: SeedStats | None) -> str:
    if stat is None:
        return "-"
    mean = f"{100 * stat.mean:.1f}"
    return mean if stat.std is None else f"{mean} ± {100 * stat.std:.1f}"
