"""Files as trainers of other years wrote them: their names, their classes, small numbers."""

import argparse
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch


@contextmanager
def pretending(*names: str) -> Iterator[dict[str, Any]]:
    """Give classes (functions where the name starts with `_`) under dotted names, importable inside the block only."""
    made: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        for full in names:
            module, _, name = full.rpartition(".")
            bases = (dict,) if name == "AttributeDict" else ()
            thing: Any = (lambda: None) if name.startswith("_") else type(name, bases, {})
            thing.__module__, thing.__qualname__, thing.__name__ = module, name, name
            for part in (module.split(".")[0], module):
                if not getattr(sys.modules.get(part), "pretended", False):
                    fake = ModuleType(part)
                    fake.pretended = True  # type: ignore[attr-defined]
                    patch.setitem(sys.modules, part, fake)
            setattr(sys.modules[module], name, thing)
            made[name] = thing
        yield made


OLD_NAMES = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.utilities.argparse._gpus_arg_default",
)


@contextmanager
def lightning_content(state: dict[str, torch.Tensor]) -> Iterator[dict[str, Any]]:
    """What Lightning 1.0 to 1.2 kept beside a state, under the names of that time; to be saved inside the block."""
    with pretending(*OLD_NAMES) as old:
        settings = old["AttributeDict"](gpus=1, tpu_cores=old["_gpus_arg_default"])
        settings["arguments"] = argparse.Namespace(max_epochs=100, best=np.float64(0.5))
        score = {"monitor": "val_loss", "best_model_score": torch.tensor(0.1), "best_model_path": "epoch=9.ckpt"}
        weight = torch.nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
        (weight.sum() * 2).backward()
        optimizer.step()
        yield {
            "epoch": 99,
            "global_step": 1000,
            "pytorch-lightning_version": "1.0.4",
            "callbacks": {old["ModelCheckpoint"]: score},
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [],
            "hparams_name": "kwargs",
            "hparams_type": old["AttributeDict"],
            "hyper_parameters": settings,
            "state_dict": OrderedDict(state),
        }


def published_content(name: str, backbone: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a catalogue's file under their real names, for a backbone under torchvision's names."""
    body = {key: tensor for key, tensor in backbone.items() if not key.startswith("fc.")}
    extra = torch.zeros(2)

    def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {prefix + key: tensor for key, tensor in state.items()}

    swav = body | {"projection_head.0.weight": extra, "projection_head.3.bias": extra, "prototypes.weight": extra}
    simsiam = under("online_network.encoder.", body) | {"online_network.projector.model.0.weight": extra}
    never_trained = under("target_network.encoder.", {key: torch.full_like(t, 7) for key, t in body.items()})
    frl = under("module.base_net.", body) | {
        "module.projection_net.net.0.weight": extra,
        "module.prototypes.weight": extra,
    }
    # SimSiam's authors put the projector in the place of the head.
    simsiam_official = under("module.encoder.", body | {"fc.0.weight": extra, "fc.6.bias": extra})
    return {
        "swav-imagenet": under("model.", swav),
        "swav-imagenet-official": under("module.", swav),
        # bolts' SimCLR keeps the unused head of its ResNet.
        "simclr-imagenet": under("encoder.", backbone) | {"projection.model.0.weight": extra},
        "simclr-faces": under("encoder.", backbone) | {"projection.model.0.weight": extra},
        "simsiam-imagenet": simsiam_official | {"module.predictor.0.weight": extra},
        "vicreg-imagenet": body,
        "barlow-imagenet": body,
        "dino-imagenet": body,
        "faces-vggface": frl,
        "faces-vggface-1m": frl,
        "faces-flickr": frl,
        "simsiam-faces": never_trained | simsiam | {"predictor.model.0.weight": extra},
    }[name]


def save_as_published(name: str, backbone: dict[str, torch.Tensor], place: Path) -> None:
    """Write a catalogue's file in its real form: bare tensors, a training's checkpoint, or one of Lightning."""
    state = published_content(name, backbone)
    if name == "swav-imagenet-official":
        torch.save(OrderedDict(state), place, _use_new_zipfile_serialization=False)
    elif name in ("vicreg-imagenet", "barlow-imagenet", "dino-imagenet"):
        torch.save(OrderedDict(state), place)
    elif name == "simsiam-imagenet" or name.startswith("faces-"):
        momentum = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        torch.save({"epoch": 100, "arch": "resnet50", "state_dict": state, "optimizer": momentum}, place)
    else:
        with lightning_content(state) as content:
            torch.save(content, place)
