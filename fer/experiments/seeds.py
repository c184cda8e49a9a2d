"""Figures of one experiment repeated with several seeds: mean and deviation, and the table beside reported figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    CONTAMINATED,
    IMAGES,
    TEST_BEST,
    UNCONTAMINATED,
    UNIFORM_PRIOR,
)
from fer.evaluation.report import percent, prior_note
from fer.evaluation.statistics import seeds_summary
from fer.experiments.files import ReportedFigures
from fer.expressions import EXPRESSIONS
from fer.utils.rendering import text_table

COLUMNS = {
    **{name: name for name in EXPRESSIONS},
    "accuracy": ACCURACY,
    "class mean": CLASS_MEAN,
}
"""The table's columns and the figures in them, named as `Report.scalars` does."""
SeedStats = tuple[float, float | None]
"""Mean of a figure over seeds, and its sample standard deviation (over n - 1), None for a single seed."""


def tested_sets(figures: Mapping[str, float]) -> list[str]:
    """List the sets, and their parts such as `kdef/uniform_prior` and `kdef/frontal`, that a run has been tested on."""
    counted = [key.removesuffix(f"/{IMAGES}") for key in figures if key.endswith(f"/{IMAGES}")]
    # Images that a model has or has not seen are counted too, and are no set of their own.
    sets = [name for name in counted if not name.endswith((f"/{CONTAMINATED}", f"/{UNCONTAMINATED}"))]

    def place(name: str) -> tuple[str, bool, bool, str]:
        dataset, _, part = name.partition("/")
        return dataset, bool(part), part != UNIFORM_PRIOR, part

    return sorted(sets, key=place)


def seed_stats(seeds: Sequence[Mapping[str, float]]) -> dict[str, SeedStats]:
    """Return the statistics of every test accuracy that all seeds have, by its name, such as `raf/fear`.

    Args:
        seeds: The figures of each seed's run.
    """
    stats = {}
    for dataset in tested_sets(seeds[0]) if seeds else ():
        for figure in (*COLUMNS.values(), TEST_BEST):
            key = f"{dataset}/{figure}"
            # A mean over some of the seeds would stand beside means over all.
            values = [metrics[key] for metrics in seeds if key in metrics]
            if len(values) == len(seeds):
                stats[key] = seeds_summary(values)
    return stats


def seed_stats_metrics(stats: Mapping[str, SeedStats]) -> dict[str, float]:
    """Return the means over seeds as metrics under a single run's names, without those of parts of a set."""
    return {key: mean for key, (mean, _) in stats.items() if key.count("/") == 1}


def seed_stats_json(stats: Mapping[str, SeedStats], seeds: int) -> dict[str, Any]:
    """Return the statistics as JSON takes them: the number of seeds, and mean and deviation of each figure."""
    figures = {key: {"mean": mean, "std": deviation} for key, (mean, deviation) in stats.items()}
    return {"seeds": seeds, "figures": figures}


def seed_stats_rows(stats: Mapping[str, SeedStats]) -> list[list[str]]:
    """Return headings and a row of mean and deviation in per cent for each whole set; nothing without any."""
    # What is asked first stands first: a page may hide the last columns.
    columns = {"accuracy": ACCURACY, "class mean": CLASS_MEAN} | COLUMNS
    rows = []
    for dataset in dict.fromkeys(key.partition("/")[0] for key in stats):
        rows.append([dataset, *(_cell(stats.get(f"{dataset}/{figure}")) for figure in columns.values())])
    return [["data set", *columns], *rows] if rows else []


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
    sets = [key.removesuffix(f"/{ACCURACY}") for key in stats if _is_overall_accuracy(key)]
    for dataset in sets:
        ours = [_cell(stats.get(f"{dataset}/{figure}")) for figure in COLUMNS.values()]
        rows.append([dataset, title, *ours])
        best = stats.get(f"{dataset}/{TEST_BEST}")
        if best:
            cells = [_cell(best) if figure == ACCURACY else "" for figure in COLUMNS.values()]
            rows.append([dataset, "best epoch on test", *cells])
        if dataset in reported:
            scalars = reported[dataset].scalars()
            theirs = [percent(scalars.get(figure)) for figure in COLUMNS.values()]
            rows.append([dataset, "reported in 2021", *theirs])
    return text_table(rows) + prior_note(sets)


def pretraining_note(pretrainings: int, seeds: int) -> str:
    """Return lines that say how seeds share pre-trainings; nothing where they share none."""
    # The deviation over such seeds is easily taken for that of the whole recipe.
    if pretrainings == 1 < seeds:
        return (
            f"\n\nall {seeds} seeds start from one pre-training: ± says nothing of another one "
            "(pretrain_seeds repeats it too)"
        )
    if 1 < pretrainings < seeds:
        return f"\n\nthe {seeds} seeds start from {pretrainings} pre-trainings in turn"
    return ""


def _is_overall_accuracy(key: str) -> bool:
    # The best epoch's accuracy ends alike, but is a row of its own below its set's.
    return key.endswith(f"/{ACCURACY}") and not key.endswith(f"/{TEST_BEST}")


def _cell(stat: SeedStats | None) -> str:
    if stat is None:
        return "-"
    mean, deviation = stat
    return percent(mean) if deviation is None else f"{percent(mean)} ± {percent(deviation)}"
