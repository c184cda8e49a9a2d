"""Name the metrics that evaluations write and that tables, comparisons and cards read."""

from fer.expressions import EXPRESSIONS

ACCURACY = "accuracy"
CLASS_MEAN = "mean_class_accuracy"

TRAINING_LOSS = "train/loss"
VALIDATION_ACCURACY = "validation/accuracy"


def metric_key(subset: str, measure: str, end: str = "") -> str:
    """Return the metric that holds a measure, such as `raf/accuracy/fear` or `kdef/frontal/mean_class_accuracy`.

    Args:
        subset: A data set, or a part of it.
        measure: A figure of a report, such as `accuracy`; or an expression, whose accuracy is meant.
        end: `_low` or `_high` for an end of the measure's interval, such as `raf/accuracy_low/fear`.
    """
    if measure in EXPRESSIONS:
        return f"{subset}/{ACCURACY}{end}/{measure}"
    return f"{subset}/{measure}{end}"
