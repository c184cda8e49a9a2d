"""Name the metrics that trainings and tests write and that tables, comparisons and cards read."""

from fer.expressions import EXPRESSIONS

# Measures of a report. Each stands below the name of a data set or of a part of one.
IMAGES = "images"
SUPPORT = "support"
ACCURACY = "accuracy"
CLASS_MEAN = "mean_class_accuracy"
MACRO_F1 = "macro_f1"
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

# Test figures of every epoch, which never choose one.
TEST_EACH_EPOCH = "test_each_epoch/accuracy"
TEST_BEST = "test_best/accuracy"
TEST_BEST_EPOCH = "test_best/epoch"

# Figures by epoch.
TRAINING_LOSS = "train/loss"
LEARNING_RATE = "lr"
VALIDATION = "validation"
VALIDATION_LOSS = "validation/loss"
VALIDATION_ACCURACY = "validation/accuracy"
KNN_ACCURACY = "validation/knn_accuracy"
LINEAR_ACCURACY = "validation/linear_accuracy"
FEATURE_STD = "validation/feature_std"

# What a row of a set's stored predictions says of its image, before the probability of each expression.
PREDICTION_COLUMNS = ("path", "sha256", "person", "angle", "true", "predicted")
PATH, SHA256, PERSON, ANGLE, TRUE, PREDICTED = PREDICTION_COLUMNS


def measure_key(measure: str, end: str = "") -> str:
    """Return a measure's name within its data set, such as `accuracy/fear` or `accuracy_low/fear`.

    Args:
        measure: A figure of a report, such as `accuracy`; or an expression, whose accuracy is meant.
        end: `LOW` or `HIGH` for an end of the measure's interval.
    """
    if measure in EXPRESSIONS:
        return f"{ACCURACY}{end}/{measure}"
    return f"{measure}{end}"


def metric_key(subset: str, measure: str, end: str = "") -> str:
    """Return the metric that holds a measure, such as `raf/accuracy/fear` or `kdef/frontal/mean_class_accuracy`.

    Args:
        subset: A data set, or a part of it.
        measure: As in `measure_key`.
        end: Likewise.
    """
    return f"{subset}/{measure_key(measure, end)}"
