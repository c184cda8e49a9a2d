"""How much of a network learns: which parameters, at which rates, and that a stopped training goes on exactly."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fer.data.augment import Augmentation
from fer.data.batches import Batch, TrainingBatches
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import PackedImages
from fer.errors import ConfigError, Interrupted
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec, arch_options, head_names
from fer.objectives.classification import Classification
from fer.training.checkpoints import LAST
from fer.training.layers import check_layers, layer_numbers, rate_parts, set_backbone_learning
from fer.training.loop import train
from fer.training.optimization import OptimizationSettings, make_optimizer, make_schedule, rate_factor, thawed_factor

SIDE = 32
COUNT = 21
PLAIN = OptimizationSettings(
    epochs=3, lr=0.01, optimizer="adamw", weight_decay=0.05, momentum=0.9, warmup_epochs=1.0, ema=0.0, patience=0,
    selection="accuracy", device="cpu", bf16=False, seed=0, arch="mobilenet_v2",
)  # fmt: skip


def built(arch: str, device: str = "meta") -> Classifier:
    with torch.device(device):
        return Classifier(ModelSpec(arch, 224, arch_options(arch, 224)))


@pytest.mark.parametrize(
    ("arch", "layers"),
    [
        # The ids of BEiT and MAE: embeddings 0, 12 blocks, and 13 for the last norm and the head.
        ("vit_b_16", {"class_token": 0, "conv_proj": 0, "encoder.pos_embedding": 0, "encoder.ln": 13, "heads": 13,
                      "encoder.layers.encoder_layer_0.": 1, "encoder.layers.encoder_layer_11.": 12}),
        # Blocks of the stages: 2 + 2 + 2 + 2 and 3 + 4 + 6 + 3.
        ("resnet18", {"conv1": 0, "bn1": 0, "layer1.0.": 1, "layer1.1.": 2, "layer2.0.": 3, "layer4.1.": 8, "fc": 9}),
        ("resnet50", {"conv1": 0, "layer1.2.": 3, "layer2.0.": 4, "layer4.2.": 16, "fc": 17}),
        ("wide_resnet50_2", {"bn1": 0, "layer4.2.": 16, "fc": 17}),
        # 3 + 3 + 9 + 3 blocks; halving belongs to the stage it leads to, the last norm to the head.
        ("convnext_tiny", {"features.0.": 0, "features.1.0.": 1, "features.2.": 4, "features.3.0.": 4,
                           "features.7.2.": 18, "classifier": 19}),
        # 2 + 2 + 6 + 2 blocks.
        ("swin_t", {"features.0.": 0, "features.1.1.": 2, "features.2.": 3, "features.3.0.": 3, "features.7.1.": 12,
                    "norm": 13, "head": 13}),
        ("swin_v2_t", {"features.0.": 0, "features.4.": 5, "features.5.0.": 5, "norm": 13}),
        ("mobilenet_v2", {"features.0.": 0, "features.1.": 1, "features.17.": 17, "features.18.": 18,
                          "classifier": 19}),
        ("mobilenet_v3_large", {"features.0.": 0, "features.15.": 15, "features.16.": 16, "classifier": 17}),
        # 1 + 2 + 2 + 3 + 3 + 4 + 1 blocks between two plain convolutions.
        ("efficientnet_b0", {"features.0.": 0, "features.1.0.": 1, "features.2.1.": 3, "features.7.0.": 16,
                             "features.8.": 17, "classifier": 18}),
    ],
)  # fmt: skip
def test_layers_are_numbered_from_the_input_by_block(arch: str, layers: dict[str, int]) -> None:
    network = built(arch)
    numbers = layer_numbers(network, arch)
    for start, layer in layers.items():
        assert {number for name, number in numbers.items() if name.startswith(f"backbone.{start}")} == {layer}, start
    assert set(numbers.values()) == set(range(max(layers.values()) + 1))
    # No parameter lies deeper than one after it.
    assert list(numbers.values()) == sorted(numbers.values())


def test_an_architecture_of_unknown_layers_is_refused_by_the_option() -> None:
    for arch in ("resnet18", "convnext_base", "vit_l_16", "swin_v2_b", "mobilenet_v3_small", "efficientnet_v2_s"):
        check_layers(arch, 0.75)
    with pytest.raises(
        ConfigError, match=r"layer_decay=0\.75 is known for .*not for those of vgg16: leave layer_decay"
    ):
        check_layers("vgg16", 0.75)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "vit_b_32", "squeezenet1_1", "vgg11", "densenet121"])
def test_a_frozen_backbone_gets_no_gradients_and_computes_as_in_a_test(arch: str) -> None:
    network = built(arch).train()
    set_backbone_learning(network, learns=False)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == head_names(network)
    assert len(learning) == 2
    assert not any(module.training for module in network.modules())
    set_backbone_learning(network, learns=True)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())


def rates_of(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, tuple[float, float]]:
    """Return the rate and the decay of each parameter."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_rates_fall_from_the_head_to_the_input_and_the_split_of_the_decay_stays() -> None:
    network = built("mobilenet_v2")
    settings = replace(PLAIN, layer_decay=0.5, head_lr=10.0)
    optimizer = make_optimizer(Classification(network), settings)
    rates = rates_of(optimizer, network)
    assert rates.keys() == {name for name, _ in network.named_parameters()}
    assert rates["backbone.classifier.1.weight"] == (pytest.approx(0.1), 0.05)
    assert rates["backbone.classifier.1.bias"] == (pytest.approx(0.1), 0.0)
    assert rates["backbone.features.18.0.weight"] == (pytest.approx(0.01 / 2), 0.05)
    assert rates["backbone.features.18.1.weight"] == (pytest.approx(0.01 / 2), 0.0)
    assert rates["backbone.features.0.0.weight"] == (pytest.approx(0.01 / 2**19), 0.05)
    # What a training records as `lr`.
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_without_layers_only_the_heads_rate_differs() -> None:
    network = built("vgg11")
    rates = rates_of(make_optimizer(Classification(network), replace(PLAIN, arch="vgg11", head_lr=3.0)), network)
    assert {name for name, (rate, _) in rates.items() if rate == pytest.approx(0.03)} == head_names(network)
    assert {rate for name, (rate, _) in rates.items() if name not in head_names(network)} == {0.01}


def test_a_last_norm_learns_at_the_full_rate_but_not_at_the_heads_own() -> None:
    network = built("vit_b_16")
    parts = rate_parts(network, replace(PLAIN, arch="vit_b_16", layer_decay=0.5, head_lr=4.0))
    assert [(factor, is_backbone) for _, factor, is_backbone in parts[:3]] == [(4.0, False), (1.0, True), (0.5, True)]
    assert all(name.startswith("backbone.encoder.ln.") for name in parts[1][0])


def test_the_options_at_their_defaults_leave_the_groups_as_they_were() -> None:
    optimizer = make_optimizer(Classification(built("mobilenet_v2")), PLAIN)
    assert [sorted(group.keys() & {"adapt", "backbone", "constant"}) for group in optimizer.param_groups] == [
        ["adapt", "constant"]
    ] * 2


def test_a_backbone_that_begins_later_warms_up_by_itself_and_the_head_follows_the_schedule() -> None:
    settings = replace(PLAIN, epochs=10, freeze_epochs=4, warmup_epochs=2.0, lr=1.0)
    optimizer = make_optimizer(Classification(built("mobilenet_v2")), settings)
    schedule = make_schedule(optimizer, settings, 10)
    plain = make_optimizer(Classification(built("mobilenet_v2")), replace(settings, freeze_epochs=0))
    usual = make_schedule(plain, replace(settings, freeze_epochs=0), 10)
    head, backbone, whole = [], [], []
    for _ in range(100):
        head.append(schedule.get_last_lr()[0])
        backbone.append(schedule.get_last_lr()[-1])
        whole.append(usual.get_last_lr()[0])
        for stepped in (optimizer, plain):
            stepped.step()
        schedule.step()
        usual.step()
    assert head == pytest.approx(whole)
    assert backbone[:40] == [0.0] * 40
    assert backbone[40:60] == pytest.approx([whole[40 + n] * (n + 1) / 21 for n in range(20)])
    assert backbone[60:] == pytest.approx(whole[60:])


def test_a_short_rest_is_half_warm_up_at_most() -> None:
    factor = thawed_factor(replace(PLAIN, epochs=3, freeze_epochs=2, warmup_epochs=5.0), 10)
    scheduled = rate_factor(replace(PLAIN, epochs=3, warmup_epochs=5.0), 10)
    fractions = [factor(step) / scheduled(step) for step in range(20, 30)]
    assert fractions == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1, 1, 1])


# Trainings


@pytest.fixture(scope="module")
def batches() -> TrainingBatches:
    names = [EXPRESSIONS[n % 7] for n in range(COUNT)]
    rows = tuple(
        ImageRow(f"{n}.png", name, "train", "", "", "", "", 0, SIDE, SIDE, "", "") for n, name in enumerate(names)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    images = PackedImages([(Manifest("noise", rows), pixels)], torch.device("cpu"))
    augmentation = Augmentation(flip=0.5, crop_min=0.6)
    return TrainingBatches(
        images=images, indices=images.indices("train"), image_size=SIDE, batch_size=7, seed=3,
        augmentation=augmentation,
    )  # fmt: skip


class Silent:
    def metrics(self, values: dict[str, float], step: int) -> None:
        pass

    def checkpoint(self, folder: Path, epoch: int, step: int) -> None:
        pass


class Signalled:
    """Batches in one of which a signal arrives."""

    def __init__(self, inner: TrainingBatches, epoch: int, step: int) -> None:
        self.inner, self.at = inner, (epoch, step)

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(self.inner.epoch(epoch, start), start=start):
            if (epoch, step) == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch


def classification(seed: int = 0) -> Classification:
    torch.manual_seed(seed)
    # Batch norm and dropout, and maps small enough for `SmallMapConv2d`.
    return Classification(Classifier(ModelSpec("mobilenet_v2", SIDE)))


def validate(network: nn.Module, epoch: int) -> dict[str, float]:
    assert not network.training
    return {"validation/accuracy": 1 / epoch}


def trained(
    made: Classification, batches: Any, settings: OptimizationSettings, folder: Path, resume: Path | None = None
):
    return train(made, batches, validate, settings, Silent(), folder, {}, resume)


def state(made: Classification) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in made.network.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_of_a_linear_probe_only_the_head_changes(batches: TrainingBatches, tmp_path: Path, ema: float) -> None:
    made = classification()
    before = state(made)
    settings = replace(PLAIN, epochs=1, freeze="backbone", ema=ema)
    trained(made, batches, settings, tmp_path)
    content = torch.load(tmp_path / LAST, weights_only=True)
    # The running means of batch norm and its counters too.
    assert changed(before, state(made)) == changed(before, content["model"]) == head_names(made.network)
    assert [len(group["params"]) for group in content["optimizer"]["param_groups"]] == [1, 1]


def test_the_backbone_begins_to_learn_after_the_epochs_it_is_frozen_in(
    batches: TrainingBatches, tmp_path: Path
) -> None:
    made = classification()
    states = [state(made)]

    def watch(network: nn.Module, epoch: int) -> dict[str, float]:
        states.append(state(made))
        return validate(network, epoch)

    settings = replace(PLAIN, freeze_epochs=2)
    train(made, batches, watch, settings, Silent(), tmp_path, {})
    head = head_names(made.network)
    assert changed(states[0], states[1]) == changed(states[1], states[2]) == head
    parameters = {name for name, _ in made.network.named_parameters()}
    assert parameters <= changed(states[2], states[3])
    assert any(name.endswith("running_mean") for name in changed(states[2], states[3]))


@pytest.mark.parametrize("changes", [{"freeze_epochs": 1, "ema": 0.9}, {"freeze": "backbone", "optimizer": "sgd"},
                                     {"layer_decay": 0.75, "head_lr": 5.0}], ids=str)  # fmt: skip
@pytest.mark.parametrize("at", [(0, 1), (0, 2), (1, 0), (1, 1)], ids=str)
def test_a_stopped_training_continues_to_the_same_weights(
    batches: TrainingBatches, tmp_path: Path, changes: dict[str, Any], at: tuple[int, int]
) -> None:
    settings = replace(PLAIN, epochs=2, **changes)
    trained(classification(), batches, settings, tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(classification(), Signalled(batches, *at), settings, tmp_path)
    # Other initial weights: everything must come from the checkpoint.
    trained(classification(9), batches, settings, tmp_path / "more", tmp_path / LAST)
    whole, more = (torch.load(tmp_path / name / LAST, weights_only=True) for name in ("whole", "more"))
    assert not changed(whole["objective"], more["objective"])
    assert not changed(whole["model"], more["model"])


def test_patience_begins_with_the_backbone(batches: TrainingBatches, tmp_path: Path) -> None:
    # The first epoch stays the best.
    settings = replace(PLAIN, epochs=6, freeze_epochs=3, patience=1)
    assert trained(classification(), batches, settings, tmp_path).epoch == 4
    settings = replace(PLAIN, epochs=6, freeze="backbone", patience=1)
    assert trained(classification(), batches, settings, tmp_path).epoch == 2
