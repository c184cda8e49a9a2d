"""One frozen dataclass per command, from which its command-line options and YAML keys are derived."""

from dataclasses import dataclass

from fer.config.options import option

DATA_ROOT = "folder of prepared data; empty: $FER_DATA, else ../datasets if it exists, else ./datasets"
CONFIG = "YAML file with any of these options; what is given on the command line wins"
DATASET = "one data set or several joined by '+': raf, kdef, ferplus, wikimedia, drawn (its three sets)"
INIT = "scratch, a name that `fer weights` lists, a file, runs:/<id> or models:/<name>@<alias>"
CHAMPION = "models:/fer@champion"
MODEL = "runs:/<id>, models:/<name>@<alias>, a checkpoint or a model's folder"
DEVICE = "where to compute"
PRECISIONS = ("auto", "bf16", "fp32")
CLIP_GRAD_NORM = "largest norm of the gradient, larger ones are scaled to it; 0: any; -1: 1 for transformers, else any"
CONTAMINATION = "check: look for the test images among the training images, once for two sets; skip: do not"
PRECISION = "of training; auto: bf16 where it is faster, else fp32. What is chosen and tested is computed in fp32"
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
    framing: str = option(
        "auto",
        "auto: cut pictures to the detected face, upright and as large as in FER+; none: stretch them, as in 2021",
        choices=("auto", "none"),
    )
    scale: float = option(1.0, "for the drawn set: how many faces, as a multiple of the demo's", low=0.01, high=100)
    allow_unattributed: bool = option(
        False, "show Wikimedia pictures even while author or licence of some is unresolved"
    )
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class PretrainConfig:
    """Train an encoder on faces without their labels, watched by probes that do use labels."""

    method: str = option("simclr", "how to learn without labels", choices=("swav", "simclr", "simsiam"))
    dataset: str = option("drawn", DATASET)
    data_root: str = option("", DATA_ROOT)
    arch: str = option("resnet50", "any torchvision classification model that ends in a linear layer")
    image_size: int = option(224, "side of the large views in pixels", low=16, high=1024)
    init: str = option("scratch", INIT)
    epochs: int = option(100, "passes over the training images", low=1)
    batch_size: int = option(256, "images per step, over all processes together", low=2)
    lr: float = option(0.0, "peak learning rate; 0: the method's own, times batch_size / 256", low=0)
    optimizer: str = option("auto", "auto: lars, for simsiam sgd", choices=("auto", "lars", "sgd", "adamw"))
    weight_decay: float = option(1e-4, "decay of the weights of linear layers, convolutions and attention only", low=0)
    momentum: float = option(0.9, "momentum of SGD and LARS", low=0, high=1)
    clip_grad_norm: float = option(-1.0, CLIP_GRAD_NORM, low=-1)
    warmup_epochs: float = option(10.0, "epochs of linear warm-up before the cosine", low=0)
    proj_hidden_dim: int = option(2048, "width of the projection head", low=1)
    proj_dim: int = option(0, "dimensions compared by the loss; 0: the method's own (128, for simsiam 2048)", low=0)
    temperature: float = option(0.1, "temperature of simclr's and swav's softmax", low=0.001)
    num_prototypes: int = option(300, "swav: prototypes", low=2)
    sinkhorn_iterations: int = option(3, "swav: iterations of Sinkhorn's algorithm", low=1)
    epsilon: float = option(0.05, "swav: entropy of the assignments", low=0.001)
    queue_size: int = option(0, "swav: earlier images that join each assignment; 0: none", low=0)
    queue_from_epoch: int = option(15, "swav: epochs before the queue is used", low=0)
    freeze_prototypes_epochs: int = option(1, "swav: epochs in which the prototypes stay as drawn", low=0)
    num_small_crops: int = option(6, "swav: small views of each image beside the two large ones", low=0)
    predictor_lr: float = option(
        1.0, "simsiam: the predictor's rate as a multiple of lr, without warm-up or decay; 0: as the rest", low=0
    )
    crop: float = option(0.2, "smallest share of the area kept by a large view", low=0.01, high=1)
    jitter: float = option(0.4, "strength of brightness, contrast, saturation and (a quarter of it) hue", low=0, high=1)
    relight: float = option(
        0.0, "probability of a view whose light, shading and contrast are drawn anew", low=0, high=1
    )
    grey: float = option(0.2, "probability of a view without colour", low=0, high=1)
    blur: float = option(0.5, "probability of a blurred view", low=0, high=1)
    solarise: float = option(0.1, "probability of a solarised view", low=0, high=1)
    probe_dataset: str = option("", "labelled sets of the probes; empty: the training sets")
    probe_images: int = option(5000, "training images of the probes at most", low=20)
    device: str = option("auto", DEVICE, choices=DEVICES)
    precision: str = option("auto", PRECISION, choices=PRECISIONS)
    seed: int = option(0, "seed of weights, order and views", low=0, high=2**31 - 1)
    resume: str = option("", "continue a stopped run: its MLflow run id or a last.ckpt")
    output: str = option("outputs", "folder for checkpoints while the run lasts")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class FinetuneConfig:
    """Train a classifier of the seven expressions, evaluate and register it."""

    dataset: str = option("drawn", DATASET)
    data_root: str = option("", DATA_ROOT)
    arch: str = option("resnet50", "any torchvision classification model")
    image_size: int = option(224, "side of the network's input in pixels", low=16, high=1024)
    init: str = option("auto", "auto (scratch for drawn faces, else supervised-imagenet), or " + INIT)
    label_fraction: float = option(1.0, "part of each class's training labels to use, chosen by seed", low=1e-4, high=1)
    epochs: int = option(30, "passes over the training images", low=1)
    batch_size: int = option(64, "images per step", low=2)
    lr: float = option(3e-4, "peak learning rate", low=0)
    optimizer: str = option("adamw", "how weights are updated", choices=("adamw", "sgd"))
    weight_decay: float = option(0.05, "decay of the weights of linear layers, convolutions and attention only", low=0)
    momentum: float = option(0.9, "momentum of SGD", low=0, high=1)
    clip_grad_norm: float = option(-1.0, CLIP_GRAD_NORM, low=-1)
    warmup_epochs: float = option(1.0, "epochs of linear warm-up before the cosine", low=0)
    loss: str = option(
        "cross-entropy", "balanced weights classes by inverse frequency", choices=("cross-entropy", "balanced")
    )
    class_weights: tuple[float, ...] = option(
        (), "seven weights in the order surprise ... neutral; instead of balanced", low=0
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
    precision: str = option("auto", PRECISION, choices=PRECISIONS)
    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**31 - 1)
    resume: str = option("", "continue a stopped run: its MLflow run id or a last.ckpt")
    evaluate_on: str = option("prepared", "test sets of the final evaluation: prepared (all there are) or names")
    contamination: str = option("check", CONTAMINATION, choices=("check", "skip"))
    registered_name: str = option("auto", "registered model: auto (fer, or fer-demo for drawn faces), a name, or none")
    promote: bool = option(False, "give this version the alias champion whatever the present champion is")
    output: str = option("outputs", "folder for checkpoints while the run lasts")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class EvaluateConfig:
    """Test any model on any prepared sets."""

    model: str = option(CHAMPION, MODEL)
    dataset: str = option("prepared", "prepared (all there are), or " + DATASET)
    data_root: str = option("", DATA_ROOT)
    batch_size: int = option(128, "images per step", low=1)
    device: str = option("auto", DEVICE, choices=DEVICES)
    contamination: str = option("check", CONTAMINATION, choices=("check", "skip"))
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class ExperimentConfig:
    """Run what a file of experiments/ says, stage by stage, and show it beside what was reported in 2021."""

    name: str = option("debug", "a file of experiments/ without .yaml, the path of another one, or all")
    seeds: int = option(1, "how often to fine-tune, with the file's seed and the ones after it", low=1, high=100)
    pretrain_seeds: int = option(
        1,
        "how often to pre-train, likewise; fine-tunings start from the pre-trainings in turn, so seeds is a multiple",
        low=1,
        high=100,
    )
    reuse: bool = option(True, "take over finished stages of equal configuration, code and data; continue stopped ones")
    data_root: str = option("", DATA_ROOT)
    output: str = option("outputs", "folder for checkpoints while a run lasts")
    device: str = option("auto", DEVICE, choices=DEVICES)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class CompareConfig:
    """Say which of several runs is better, with tests on the images they all answered, in one report."""

    runs: str = option("", "ids of runs, beginnings of ids, or names, joined by commas")
    experiment: str = option("", "names or ids of runs of `experiment`, whose seeds become one configuration each")
    filter: str = option("", "an MLflow search filter, such as \"params.arch = 'resnet18'\"")
    dataset: str = option("", "the test sets to compare on, joined by '+'; empty: all that two of the runs share")
    baseline: str = option("", "the run or configuration to test all others against; empty: all pairs, of 10 at most")
    output: str = option("", "folder for the report beside the run's artifacts; empty: none")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class PredictConfig:
    """Recognise the expressions of the faces in a picture or in a folder of pictures."""

    image: str = option("", "a picture, or a folder whose pictures are taken at any depth")
    model: str = option(CHAMPION, MODEL)
    framing: str = option(
        "auto", "auto: find the faces, as the model's training did; none: a picture is a face", choices=("auto", "none")
    )
    explain: bool = option(False, "show where on each face the answer comes from; about as long as a hundred answers")
    output: str = option("predictions", "folder for predictions.csv and the annotated pictures")
    log_pictures: int = option(16, "annotated pictures logged as artifacts at most", low=0)
    device: str = option("auto", DEVICE, choices=DEVICES)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class DemoConfig:
    """Open a page on this machine where a dropped picture is answered; needs the extra `demo`."""

    model: str = option(CHAMPION, "the model chosen first; the page offers all registered ones")
    host: str = option("127.0.0.1", "address to listen on; the default can be reached from this machine only")
    port: int = option(7860, "port to listen on; 0: a free one", low=0, high=65535)
    max_megabytes: float = option(20.0, "largest upload in MB, of 1,048,576 bytes", low=0.01, high=200)
    device: str = option("auto", DEVICE, choices=DEVICES)
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class DownloadConfig:
    """Bring a model into a folder, with its card; say what it is worth and which terms it inherits."""

    model: str = option(CHAMPION, "models:/<name>@<alias>, models:/<name>/<version> or runs:/<id>")
    output: str = option("", "the folder, new, empty or of an earlier download; empty: <name>-<version>")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class ExportConfig:
    """Write a model's network as one file for other programs, checked to answer as the model does."""

    model: str = option(CHAMPION, MODEL)
    format: str = option("onnx", "onnx (needs the extra `export`), or torch: torch.export's", choices=("onnx", "torch"))
    output: str = option("", "the file, .onnx or .pt2; empty: <name>-<version> with that ending")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class RegisterConfig:
    """Register the model that a run of finetune has logged, where the registry refused it when the run ended."""

    model: str = option("", "runs:/<id>")
    registered_name: str = option("auto", "registered model: auto (the one the run was meant for), or a name")
    promote: bool = option(False, "give this version the alias champion whatever the present champion is")
    config: str = option("", CONFIG)


@dataclass(frozen=True)
class WeightsConfig:
    """List the starting weights, their terms, and which of them are on this machine."""


@dataclass(frozen=True)
class ImportReportedConfig:
    """Record the figures reported in 2021 as runs, so that MLflow shows them beside ours."""


@dataclass(frozen=True)
class AttributionConfig:
    """Look up who made the Wikimedia pictures, under which licences, enter it by hand, or show what is known."""

    action: str = option("show", "what to do, also as the first word", choices=("show", "refresh", "set", "unset"))
    file: str = option("", "set, unset: the picture, such as 6/Sword_of_Anger.jpg, also as the second word")
    author: str = option("", "set: who made the picture, as they ask to be named")
    licence: str = option("", "set: its short name, such as CC BY-SA 3.0")
    licence_url: str = option("", "set: web address of the licence's text")
    source: str = option("", "set: web address of the page that names author and licence")
    title: str = option("", "set: the picture's title; given alone, the one under which refresh looks it up on Commons")
    data_root: str = option("", DATA_ROOT)
    contact: str = option("", "page or e-mail by which Wikimedia can reach you, as it asks; empty: $FER_CONTACT")
    api: str = option("", "address of api.php; empty: that of Wikimedia Commons")
    timeout: float = option(30.0, "seconds without an answer before an attempt is given up", low=0.1, high=600)
    config: str = option("", CONFIG)


COMMANDS: dict[str, type] = {
    "main": MainConfig,
    "prepare": PrepareConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
    "experiment": ExperimentConfig,
    "compare": CompareConfig,
    "predict": PredictConfig,
}
"""Commands that are tracked runs and MLflow entry points."""

TRAINING = ("pretrain", "finetune")
"""Commands that torchrun may start in several processes."""

LISTINGS: dict[str, type] = {
    "download": DownloadConfig,
    "export": ExportConfig,
    "register": RegisterConfig,
    "weights": WeightsConfig,
    "attribution": AttributionConfig,
    "demo": DemoConfig,
    "import-reported": ImportReportedConfig,
}
"""Commands that are no runs of their own: they print, show, or write what others keep."""
