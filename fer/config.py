"""One frozen dataclass per command, from which its command-line options and YAML keys are derived."""

from dataclasses import dataclass

from fer.options import option

DATA_ROOT = "folder of prepared data; empty: $FER_DATA, else ../datasets if it exists, else ./datasets"
CONFIG = "YAML file with any of these options; what is given on the command line wins"
DATASET = "one data set or several joined by '+': raf, kdef, ferplus, wikimedia, drawn (its three sets)"
DEVICE = "where to compute"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class MainConfig:
    """The demo: prepare the drawn faces, train two configurations, compare them."""

    data_root: str = option("", DATA_ROOT)
    output: str = option("outputs", "folder for checkpoints while a run lasts")
    scale: float = option(1.0, "how many faces to draw, as a multiple of the demo's", low=0.01, high=100)
    epochs: int = option(0, "epochs of both trainings; 0: as their experiment files say", low=0)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class PrepareConfig:
    """Bring a data set into the common tree, check it and write its manifest."""

    dataset: str = option("drawn", DATASET)
    source: str = option("", "the download, a folder or a zip or tar archive; empty: the data set's usual places")
    data_root: str = option("", DATA_ROOT)
    scale: float = option(1.0, "for the drawn set: how many faces, as a multiple of the demo's", low=0.01, high=100)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class FinetuneConfig:
    """Train a classifier of the seven expressions, evaluate and register it."""

    dataset: str = option("drawn", DATASET)
    data_root: str = option("", DATA_ROOT)
    arch: str = option("resnet50", "any torchvision classification model")
    image_size: int = option(224, "side of the network's input in pixels", low=16, high=1024)
    init: str = option("auto", "auto (scratch for drawn faces, else supervised-imagenet), scratch, or a file")
    epochs: int = option(30, "passes over the training images", low=1)
    batch_size: int = option(64, "images per step", low=2)
    lr: float = option(3e-4, "peak learning rate", low=0)
    optimizer: str = option("adamw", "how weights are updated", choices=("adamw", "sgd"))
    weight_decay: float = option(0.05, "decay of the weights; not of biases and normalisation", low=0)
    momentum: float = option(0.9, "momentum of SGD", low=0, high=1)
    warmup_epochs: float = option(1.0, "epochs of linear warm-up before the cosine", low=0)
    loss: str = option(
        "cross-entropy", "balanced weights classes by inverse frequency", choices=("cross-entropy", "balanced")
    )
    class_weights: tuple[float, ...] = option(
        (), "seven weights in the order surprise ... neutral; instead of balanced"
    )
    sampling: str = option(
        "natural", "undersample drops images until classes are equal", choices=("natural", "undersample")
    )
    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=0.99)
    ema: float = option(0.0, "decay of the weights' moving average, e.g. 0.999; 0: off", low=0, high=0.99999)
    patience: int = option(0, "stop after so many epochs without a better validation score; 0: never", low=0)
    selection: str = option(
        "accuracy", "validation score that chooses the best epoch", choices=("accuracy", "mean_class_accuracy", "loss")
    )
    test_best: bool = option(False, "report also the best epoch on test, as in 2021; never used to choose")
    augment: bool = option(True, "random changes of the training images, with the strengths below")
    flip: float = option(0.5, "probability of a mirrored face", low=0, high=1)
    rotate: float = option(10.0, "largest rotation in degrees", low=0, high=180)
    crop: float = option(0.75, "smallest share of the area kept by a random crop", low=0.05, high=1)
    jitter: float = option(0.2, "strength of brightness, contrast, saturation and (a quarter of it) hue", low=0, high=1)
    erase: float = option(0.25, "probability of a random rectangle erased", low=0, high=1)
    device: str = option("auto", DEVICE, choices=DEVICES)
    precision: str = option("auto", "auto: bf16 where it is faster, else fp32", choices=("auto", "bf16", "fp32"))
    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**31 - 1)
    resume: str = option("", "continue a stopped run: its MLflow run id or a last.ckpt")
    evaluate_on: str = option("prepared", "test sets of the final evaluation: prepared (all there are) or names")
    registered_name: str = option("auto", "registered model: auto (fer, or fer-demo for drawn faces), a name, or none")
    promote: bool = option(False, "give this version the alias champion whatever the present champion is")
    output: str = option("outputs", "folder for checkpoints while the run lasts")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class EvaluateConfig:
    """Test any model on any prepared sets."""

    model: str = option("models:/fer@champion", "runs:/<id>, models:/<name>@<alias>, a checkpoint or a model's folder")
    dataset: str = option("prepared", "prepared (all there are), or " + DATASET)
    data_root: str = option("", DATA_ROOT)
    batch_size: int = option(128, "images per step", low=1)
    device: str = option("auto", DEVICE, choices=DEVICES)
    precision: str = option("auto", "auto: bf16 where it is faster, else fp32", choices=("auto", "bf16", "fp32"))
    config: str = option("", CONFIG)


COMMANDS: dict[str, type] = {
    "main": MainConfig,
    "prepare": PrepareConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
}
