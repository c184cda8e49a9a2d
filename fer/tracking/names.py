"""Names by which runs are written and read: tags, parameters, artifact paths and contexts of inputs.

MLflow finds nothing under a name that differs in one letter, and says nothing of it. So whatever one module writes
and another reads is named here, and only here.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

# Tags of every run.
COMMAND = "fer.command"
"""Tag: the command that the run is of."""
ERROR = "fer.error"
"""Tag: why the run did not finish."""
TESTED = "fer.tested"
"""Tag: `true` for a run with test figures of its own; MLflow's filters know no `or` by which to find them otherwise."""
DESCRIPTION = "mlflow.note.content"
"""Tag of runs, logged models and MLflow experiments: a text in Markdown, which MLflow's pages show."""

HEARTBEAT = "fer.heartbeat"
"""Tag of a run that goes on: which process carries it, and when that was last alive; JSON."""
ATTEMPT = "fer.attempt"
"""Tag: `<n>:<id>` of the process that carries a run, the n-th since it was begun."""
SPOOLED_AS = "fer.spooled_as"
"""Tag of a run that was recorded offline: what it was called before it was delivered."""

RUN_COLOUR = "mlflow.runColor"
"""Tag: the colour that MLflow's charts draw a run in."""

# Tags of trainings.
STARTED_FROM = "fer.started_from"
"""Tag: id of the run whose weights a training started from."""
RESUMED_FROM = "fer.resumed_from"
"""Tag: what a training was continued from."""
CHECKPOINT = "fer.checkpoint"
"""Tag of an unfinished training: the checkpoint that the store holds, with the digests of its files; JSON."""
CONTINUES = "fer.continues"
"""Tag of a run that `mlflow run` made for a continuation: the run that was continued and holds all its figures."""
TRAINING_IMAGES = "fer.training_images"
"""Tag: `<set>/<digest>` of the training splits that a model saw with labels."""
PRETRAINING_IMAGES = "fer.pretraining_images"
"""Tag: likewise of those that its encoder saw without labels."""
REGISTERED = "fer.registered"
"""Tag of a run whose model is registered: as which version, and who is champion."""
UNREGISTERED = "fer.unregistered"
"""Tag of a run whose model was to be registered and is not: why, and the command that does it."""
TERMS = "terms"
"""Tag of runs and models: the terms that weights and training sets bring along."""

# Tags of experiments and their stages.
EXPERIMENT = "fer.experiment"
"""Tag: the experiment that a training belongs to."""
CONFIGURATION = "fer.configuration"
"""Tag: equal for the seeds of one configuration and for no other options."""
REPRODUCES = "fer.reproduces"
"""Tag: the row of the 2021 table that a run repeats."""
FINGERPRINT = "fer.fingerprint"
"""Tag of a stage: equal for two runs only if they must come out equal."""
REUSED = "fer.reused"
"""Tag of an experiment's run: ids of the runs it took over."""

# Tags of runs that were made elsewhere.
REPORTED = "reported"
"""Tag of a run that only records reported figures."""

# Tags of logged models and of registered versions.
SCORE = "score"
"""Tag: validation score, higher is better."""
VALIDATION_DIGEST = "validation_digest"
"""Tag: digest of the validation images that the score was measured on."""
PROTOCOL = "protocol"
"""Tag: how the epoch was chosen."""

# What tags say of one data set, see `dataset_tag`.
DIGEST = "digest"
"""Digest of a prepared set that a run used."""
TESTED_DIGEST = "tested_digest"
"""Digest of the images that a run tested."""
CONTAMINATION = "contamination"
"""Which tested images the model has seen, or why that is not known."""
PART = "part"
"""Which part of the set was tested."""
UNRESOLVED = "unresolved"
"""How many pictures lack a credit."""

# Parameters.
REGISTERED_NAME = "registered_name"
"""Parameter: the registered model that a training was meant for, or `none`."""
REGISTERED_NAME_USED = "registered_name_used"
"""Parameter: the same in runs of earlier versions, whose `registered_name` may be `auto`."""
MODEL_OPTION = "model"
"""Parameter: the address of the model that was tested."""

# Artifacts of runs.
CONFIG_FILE = "config.json"
"""Options of the run's command."""
SEEDS_FILE = "seeds.json"
"""Mean and deviation over seeds of every figure of an experiment."""
STAGES_FILE = "stages.json"
"""The stages of an experiment, each with its run."""
REPORT_PAGE = "report.html"
"""The page of a run: all that its figures, plots and tags say, for people."""
CURVES_PLOT = "learning_curves.png"
"""Losses, validation figures and learning rate by epoch."""
CALIBRATION_PLOT = "calibration/reliability.png"
"""Confidence against accuracy on the validation images."""
FEATURE_MAP = "feature_map.png"
"""Features of the validation images in two dimensions."""
ATTRIBUTION = "attribution"
"""Folder of the credits of pictures that a run used."""
CHECKPOINTS = "checkpoints"
"""Folder of what a training can be continued from."""
ENCODER = "encoder"
"""Folder of an encoder that a run pre-trained."""
MODEL = "model"
"""What the address `runs:/<id>/model` calls the model that a run logs, whatever its name is."""
EVALUATION = "evaluation"
"""Folder with a folder for each tested set."""
REPORT_FILE = "report.json"
"""All figures of a set, in the set's folder."""
CONTAMINATION_FILE = "contamination.csv"
"""The test images that a model has seen, in the set's folder."""
CONFUSION_PLOT, RELIABILITY_PLOT = "confusion.png", "reliability.png"
"""Plots of a set's figures, in the set's folder."""
PREDICTIONS_FILE = "predictions.csv"
"""Predictions on a set, in the set's folder."""

CONFUSION_IMAGES = "confusion"
"""Beginning of the keys of confusion matrices among a run's images; the tested set follows."""

# Prepared views of MLflow's page of runs, by their keys.
ACCURACY_VIEW = "accuracy-by-expression"
CURVES_VIEW = "training-curves"
PRETRAINING_VIEW = "pre-training"

# Contexts in which a data set is logged as an input.
TRAINING = "training"
PRETRAINING = "pre-training, without labels"


def dataset_tag(dataset: str, what: str) -> str:
    """Return the tag that says something of a data set, such as `raf.digest`."""
    return f"{dataset}.{what}"


def dataset_tags(tags: Mapping[str, str], what: str) -> dict[str, str]:
    """Return what tags say of every data set, by the sets' names."""
    ending = f".{what}"
    return {key.removesuffix(ending): value for key, value in tags.items() if key.endswith(ending)}


def param_tag(name: str) -> str:
    """Return the tag of what a parameter means where `mlflow run` has logged another value, such as `auto`."""
    return f"param.{name}"


def param(name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> str:
    """Return what an option of a run meant, or nothing where the run does not say."""
    # The launcher logs what it was given, quoted for a shell.
    return tags.get(param_tag(name)) or params.get(name, "").strip("'")


def checkpoint_path(file: str) -> str:
    """Return the artifact path of a checkpoint, such as `checkpoints/last.ckpt`."""
    return str(PurePosixPath(CHECKPOINTS, file))


def evaluation_path(dataset: str, file: str) -> str:
    """Return the artifact path of what a test on a set gave, such as `evaluation/raf/predictions.csv`."""
    return str(PurePosixPath(EVALUATION, dataset, file))
