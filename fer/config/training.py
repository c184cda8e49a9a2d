"""Configurations of the two commands that train: `pretrain` and `finetune`."""

from dataclasses import dataclass
from functools import partial

from fer.config import options
from fer.config.options import Scope, option

# The encoder of a pre-training is the network without its last linear layer.
arch_option = partial(
    option,
    default="resnet50",
    help="any torchvision classification model that ends in a linear layer",
)
# Biases, norms and tokens are no maps of features: pulled to 0 they only lose what they say.
weight_decay_option = partial(
    option,
    help="decay of the weights of linear layers, convolutions and attention only",
    low=0,
)
momentum_option = partial(option, default=0.9, help="momentum of SGD and LARS", low=0, high=1)
# Transformers are published with it; convolutional networks with batch norm do without.
clip_grad_norm_option = partial(
    option,
    default=-1.0,
    help="largest norm of the gradient, larger ones are scaled to it; 0: any; -1: 1 for transformers, else any",
    low=-1,
)
# A fraction of an epoch is allowed: short runs on large sets warm up within their first one.
warmup_option = partial(option, help="epochs of linear warm-up before the cosine", low=0)
crop_option = partial(option, help="smallest share of the area kept by a random crop", low=0.01, high=1)
jitter_option = partial(
    option,
    help="strength of brightness, contrast, saturation and (a quarter of it) hue",
    low=0,
    high=1,
)
# Only training is fast in bf16: a figure that is logged must be the registered model's own on any machine.
precision_option = partial(
    option,
    default="auto",
    help="of training; auto: bf16 where it is faster, else fp32. Tests are computed in fp32",
    choices=("auto", "bf16", "fp32"),
)
seed_option = partial(
    option,
    default=0,
    help="seed of weights, order and random changes of images",
    low=0,
    high=2**31 - 1,
    scope=Scope.SEED,
)


@dataclass(frozen=True)
class PretrainConfig:
    """Train an encoder on faces without their labels, watched by probes that do use labels."""

    method: str = option("simclr", "how to learn without labels", choices=options.METHODS)
    dataset: str = options.dataset()
    data_root: str = options.data_root()
    arch: str = arch_option()
    image_size: int = option(224, "side of the large views in pixels", low=16, high=1024)
    init: str = options.path("scratch", options.INIT_HELP)
    epochs: int = option(100, "passes over the training images", low=1)
    # Batch norm has no variance of a single image.
    batch_size: int = option(256, "images per step, over all processes together", low=2)

    # Each paper tuned rate and optimizer together, so both are left to the method unless given.
    lr: float = option(0.0, "peak learning rate; 0: the method's own, times batch_size / 256", low=0)
    optimizer: str = option("auto", "auto: lars, for simsiam sgd", choices=("auto", *options.OPTIMIZERS))
    weight_decay: float = weight_decay_option(1e-4)
    momentum: float = momentum_option()
    clip_grad_norm: float = clip_grad_norm_option()
    warmup_epochs: float = warmup_option(10.0)

    # Names as in solo-learn and lightly, so that a published recipe can be copied.
    proj_hidden_dim: int = option(2048, "width of the projection head", low=1)
    proj_dim: int = option(
        0,
        "dimensions compared by the loss; 0: the method's own (128, for simsiam 2048)",
        low=0,
    )
    temperature: float = option(0.1, "temperature of simclr's and swav's softmax", low=0.001)
    # A tenth of what the paper takes for the thousand classes of ImageNet.
    num_prototypes: int = option(300, "swav: prototypes", low=2)
    sinkhorn_iterations: int = option(3, "swav: iterations of Sinkhorn's algorithm", low=1)
    epsilon: float = option(0.05, "swav: entropy of the assignments", low=0.001)
    # What the paper adds for batches too small to assign by themselves: 3,840 images, from epoch 15 on.
    queue_size: int = option(0, "swav: earlier images that join each assignment; 0: none", low=0)
    queue_from_epoch: int = option(15, "swav: epochs before the queue is used", low=0)
    freeze_prototypes_epochs: int = option(1, "swav: epochs in which the prototypes stay as drawn", low=0)
    num_small_crops: int = option(6, "swav: small views of each image beside the two large ones", low=0)
    predictor_lr: float = option(
        1.0,
        "simsiam: the predictor's rate as a multiple of lr, without warm-up or decay; 0: as the rest",
        low=0,
    )

    # Without these a network tells views of one image by their colours alone.
    crop: float = crop_option(0.2)
    jitter: float = jitter_option(0.4)
    # What two views of a face share most is its light, which is learnt sooner than the expression.
    relight: float = option(
        0.0,
        "probability of a view whose light, shading and contrast are drawn anew",
        low=0,
        high=1,
    )
    grey: float = option(0.2, "probability of a view without colour", low=0, high=1)
    blur: float = option(0.5, "probability of a blurred view", low=0, high=1)
    solarise: float = option(0.1, "probability of a solarised view", low=0, high=1)

    probe_dataset: str = option("", "labelled sets of the probes; empty: the training sets")
    # Every validation image is compared with each of them, after every epoch.
    probe_images: int = option(5000, "training images of the probes at most", low=20)

    device: str = options.device()
    precision: str = precision_option()
    seed: int = seed_option()
    resume: str = options.resume()
    output: str = options.checkpoints()
    checkpoint_minutes: float = options.checkpoint_minutes()
    checkpoint_upload_gb: float = options.checkpoint_upload_gb()
    tracking_patience: float = options.tracking_patience()
    offline: bool = options.offline()
    config: str = options.config()


@dataclass(frozen=True)
class FinetuneConfig:
    """Train a classifier of the seven expressions, evaluate and register it."""

    dataset: str = options.dataset()
    data_root: str = options.data_root()
    arch: str = arch_option(help="any torchvision classification model")
    image_size: int = option(224, "side of the network's input in pixels", low=16, high=1024)
    init: str = options.path(
        "auto",
        f"auto (scratch for drawn faces, else supervised-imagenet), or {options.INIT_HELP}",
    )
    label_fraction: float = option(
        1.0,
        "part of each class's training labels to use, chosen by seed",
        low=1e-4,
        high=1,
    )
    # How much of the starting weights is kept, from all of them to a slower change of the early layers.
    freeze: str = option(
        "none",
        "backbone: only the head, the last layer, learns (a linear probe)",
        choices=("none", "backbone"),
        added=True,
    )
    freeze_epochs: int = option(0, "epochs at first in which only the head learns", low=0, added=True)
    layer_decay: float = option(
        1.0,
        "layer-wise decay of the rate: n layers below the head it is lr * layer_decay^n, e.g. 0.75; 1: off",
        low=0.01,
        high=1,
        added=True,
    )
    head_lr: float = option(1.0, "the head's rate as a multiple of lr, e.g. 10", low=0.01, added=True)

    epochs: int = option(30, "passes over the training images", low=1)
    batch_size: int = option(64, "images per step", low=2)

    lr: float = option(3e-4, "peak learning rate", low=0)
    optimizer: str = option("adamw", "how weights are updated", choices=options.SUPERVISED_OPTIMIZERS)
    # AdamW multiplies it by the rate, so it is larger than what SGD takes.
    weight_decay: float = weight_decay_option(0.05)
    momentum: float = momentum_option(help="momentum of SGD")
    clip_grad_norm: float = clip_grad_norm_option()
    warmup_epochs: float = warmup_option(1.0)

    # RAF-DB shows seventeen times as much happiness as fear: three ways to weigh that.
    loss: str = option(
        "cross-entropy",
        "balanced weights classes by inverse frequency",
        choices=("cross-entropy", "balanced"),
    )
    class_weights: tuple[float, ...] = option(
        (),
        "seven weights in the order surprise ... neutral; instead of balanced",
        low=0,
    )
    sampling: str = option(
        "natural",
        "undersample drops images until classes are equal",
        choices=("natural", "undersample"),
    )
    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=0.99)
    ema: float = option(
        0.0,
        "decay of the weights' moving average, e.g. 0.999; 0: off",
        low=0,
        high=0.99999,
    )
    patience: int = option(
        0,
        "stop after so many epochs without a better validation score; 0: never",
        low=0,
    )
    # Never on test: the best epoch on test is an optimistic figure, reported beside it if asked for.
    selection: str = option(
        "accuracy",
        "validation score that chooses the best epoch",
        choices=("accuracy", "class_mean", "loss"),
    )
    test_best: bool = option(False, "report also the best epoch on test, as in 2021; never used to choose")

    # One switch, since the comparison with and without is the first that people make.
    augment: bool = option(True, "random changes of the training images, with the strengths below")
    flip: float = option(0.5, "probability of a mirrored face", low=0, high=1)
    rotate: float = option(10.0, "largest rotation in degrees", low=0, high=180)
    # Less of a face than a twentieth shows no expression.
    crop: float = crop_option(0.75, low=0.05)
    jitter: float = jitter_option(0.2)
    erase: float = option(0.25, "probability of a random rectangle erased", low=0, high=1)

    device: str = options.device()
    precision: str = precision_option()
    seed: int = seed_option()
    resume: str = options.resume()
    # The sets there are differ by machine, and testing on more of them changes nothing that was trained.
    evaluate_on: str = option(
        "prepared",
        "test sets of the final evaluation: prepared (all there are) or names",
        scope=Scope.TESTED,
    )
    contamination: str = options.contamination()
    # The demo must not become the champion of real faces, so `auto` gives it a name of its own.
    registered_name: str = options.registered_name(
        help="registered model: auto (fer, or fer-demo for drawn faces), a name, or none",
    )
    promote: bool = options.promote()
    output: str = options.checkpoints()
    checkpoint_minutes: float = options.checkpoint_minutes()
    checkpoint_upload_gb: float = options.checkpoint_upload_gb()
    tracking_patience: float = options.tracking_patience()
    offline: bool = options.offline()
    config: str = options.config()
