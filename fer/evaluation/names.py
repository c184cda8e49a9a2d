"""Name the metrics that trainings and tests write and that tables, comparisons and cards read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fer.expressions import EXPRESSIONS

# Measures of a report. Each stands below the name of a data set or of a part of one.
IMAGES = "images"
SUPPORT = "support"
ACCURACY = "accuracy"
CLASS_MEAN = "class_mean"
MACRO_F1 = "macro_f1"
ECE = "ece"
LOW, HIGH = "_low", "_high"
"""Follow a measure's name for the ends of its interval, such as `accuracy_low`."""

# Parts of a data set's figures, as in `raf/uniform_prior`.
UNIFORM_PRIOR = "uniform_prior"
"""Predictions corrected to equally frequent classes."""
UNCALIBRATED = "uncalibrated"
"""Probabilities without the model's temperature."""
CONTAMINATED = "contaminated"
"""Test images that the model has seen."""
UNCONTAMINATED = "uncontaminated"
"""Test images that the model has not seen."""
CONTAMINATED_IMAGES = "contaminated/images"
"""How many a model has seen with their labels."""
PRETRAINING_CONTAMINATED_IMAGES = "contaminated/pretraining_images"
"""How many its pre-training has seen without labels."""

METRICS = (ACCURACY, CLASS_MEAN, *EXPRESSIONS, MACRO_F1, ECE)
"""Figures of a tested set that are metrics of the run; all others stand in the set's report alone."""

# Test figures of every epoch, which never choose one.
TEST_EACH_EPOCH = "test_each_epoch/accuracy"
TEST_BEST = "test_best/accuracy"
TEST_BEST_EPOCH = "test_best/epoch"

# Figures by epoch.
TRAINING_LOSS = "train/loss"
LEARNING_RATE = "lr"
VALIDATION = "validation"
NOT_TESTED = ("train", VALIDATION)
"""Beginnings of names by epoch, which bear no name of a test set."""
VALIDATION_LOSS = "validation/loss"
VALIDATION_ACCURACY = "validation/accuracy"
KNN_ACCURACY = "validation/knn_accuracy"
LINEAR_ACCURACY = "validation/linear_accuracy"
FEATURE_STD = "validation/feature_std"
RANK_ME = "validation/rank_me"

# Figures of the epoch that was chosen.
BEST_EPOCH = "best_epoch"
TEMPERATURE = "calibration/temperature"

DIGITS = 4
"""Decimals of a share as a metric: more would push the digits that matter out of a column of MLflow's table."""
SHARES = frozenset((*METRICS, *(key.split("/")[-1] for key in (KNN_ACCURACY, LINEAR_ACCURACY))))
"""Last parts of the names of metrics in [0, 1]."""

# What a row of a set's stored predictions says of its image, before the probability of each expression.
PREDICTION_COLUMNS = ("path", "sha256", "person", "angle", "true", "predicted")
PATH, SHA256, PERSON, ANGLE, TRUE, PREDICTED = PREDICTION_COLUMNS


def metric_key(subset: str, measure: str, end: str = "") -> str:
    """Return the name of a figure, such as `raf/fear`, `raf/fear_low` or `kdef/frontal/class_mean`.

    Args:
        subset: A data set, or a part of it.
        measure: A figure of a report, such as `accuracy`; or an expression, whose accuracy is meant.
        end: `LOW` or `HIGH` for an end of the measure's interval.
    """
    return f"{subset}/{measure}{end}"


def sets_with_figures(metrics: Iterable[str]) -> list[str]:
    """Return the test sets whose figures are among metrics, sorted: those with an accuracy.

    Args:
        metrics: Names of metrics, such as `raf/accuracy`; those of parts of sets and of epochs do not count.
    """
    ending = metric_key("", ACCURACY)
    subsets = {name.removesuffix(ending) for name in metrics if name.endswith(ending)}
    return sorted(subset for subset in subsets if "/" not in subset and subset not in NOT_TESTED)


def present_name(name: str) -> str:
    """Return the name that a figure bears now, such as `raf/fear_low` for `raf/accuracy_low/fear`.

    Runs of earlier versions hold all their figures as metrics under other names, and are to compare like runs of today.
    """
    name = re.sub(r"\bmean_class_accuracy(_low|_high|)$", rf"{CLASS_MEAN}\1", name)
    return re.sub(rf"\baccuracy(_low|_high|)/({'|'.join(EXPRESSIONS)})$", r"\2\1", name)


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics with shares in `DIGITS` decimals, and all else as it is."""
    return {key: round(value, DIGITS) if key.split("/")[-1] in SHARES else value for key, value in metrics.items()}


def nest(figures: Mapping[str, float]) -> dict[str, Any]:
    """Return figures as JSON objects within each other, `support/fear` as `{"support": {"fear": ...}}`."""
    content: dict[str, Any] = {}
    for name, value in figures.items():
        *outer, last = name.split("/")
        inner = content
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return content


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested JSON objects by flat name, the opposite of `nest`; lists and texts are left out."""
    figures: dict[str, float] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            figures |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            figures[f"{prefix}{key}"] = float(value)
    return figures
