"""Choices and options that several commands share."""

from functools import partial

from fer.config.options import Scope, option

# The registries of higher packages give these names their meaning. They are listed here too, because `--help` and a
# refused option must not wait for torch; tests/config/test_shared.py holds both equal.
DATASETS = ("raf", "kdef", "ferplus", "wikimedia")
METHODS = ("swav", "simclr", "simsiam")
SUPERVISED_OPTIMIZERS = ("adamw", "sgd")
OPTIMIZERS = ("lars", "sgd", "adamw")
EXPORT_FORMATS = ("onnx", "torch")
FRAMINGS = ("auto", "none")

CHAMPION = "models:/fer@champion"
DATASET_HELP = f"one data set or several joined by '+': {', '.join(DATASETS)}, drawn (its three sets)"
INIT_HELP = "scratch, a name that `fer weights` lists, a file, runs:/<id> or models:/<name>@<alias>"

config_option = partial(
    option,
    default="",
    help="YAML file with any of these options; what is given on the command line wins",
    scope=Scope.MACHINE,
)
data_root_option = partial(
    option,
    default="",
    help="folder of prepared data; empty: $FER_DATA, else ../datasets if it exists, else ./datasets",
    scope=Scope.MACHINE,
)
output_option = partial(option, scope=Scope.MACHINE)
checkpoints_option = partial(
    output_option,
    default="outputs",
    help="folder for checkpoints while a run lasts",
)
dataset_option = partial(option, default="drawn", help=DATASET_HELP)
scale_option = partial(
    option,
    default=1.0,
    help="for drawn faces: how many, as a multiple of the demo's",
    low=0.01,
    high=100,
)
# Not of the scope MACHINE: precision=auto trains in bf16 on one device and in fp32 on another.
device_option = partial(
    option,
    default="auto",
    help="where to compute",
    choices=("auto", "cpu", "cuda"),
)
model_option = partial(
    option,
    default=CHAMPION,
    help="runs:/<id>, models:/<name>@<alias>, a checkpoint or a model's folder",
)
contamination_option = partial(
    option,
    default="check",
    help="check: look for the test images among the training images, once for two sets; skip: do not",
    choices=("check", "skip"),
)
registered_name_option = partial(option, default="auto", scope=Scope.NAME)
promote_option = partial(
    option,
    default=False,
    help="give this version the alias champion whatever the present champion is",
    scope=Scope.NAME,
)
