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


def content_of_2021(name: str, backbone: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a catalogue's file under their real names, for a backbone under torchvision's names."""
    body = {key: tensor for key, tensor in backbone.items() if not key.startswith("fc.")}
    extra = torch.zeros(2)

    def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {prefix + key: tensor for key, tensor in state.items()}

    swav = body | {"projection_head.0.weight": extra, "projection_head.3.bias": extra, "prototypes.weight": extra}
    simsiam = under("online_network.encoder.", body) | {"online_network.projector.model.0.weight": extra}
    never_trained = under("target_network.encoder.", {key: torch.full_like(t, 7) for key, t in body.items()})
    return {
        "swav-imagenet": under("model.", swav),
        "swav-imagenet-official": under("module.", swav),
        # bolts' SimCLR keeps the unused head of its ResNet.
        "simclr-imagenet": under("encoder.", backbone) | {"projection.model.0.weight": extra},
        "simclr-faces": under("encoder.", backbone) | {"projection.model.0.weight": extra},
        "simsiam-faces": never_trained | simsiam | {"predictor.model.0.weight": extra},
    }[name]


def save_as_2021(name: str, backbone: dict[str, torch.Tensor], place: Path) -> None:
    """Write a catalogue's file in its real form: SwAV's authors plain, all others as Lightning checkpoints."""
    state = content_of_2021(name, backbone)
    if name == "swav-imagenet-official":
        torch.save(OrderedDict(state), place, _use_new_zipfile_serialization=False)
        return
    with lightning_content(state) as content:
        torch.save(content, place)
