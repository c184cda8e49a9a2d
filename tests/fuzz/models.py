"""Readers of models: specifications, weights of any origin, checkpoints, and pickles that try to run code."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from lightning.fabric import Fabric
from torch import nn

from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import load_classifier, load_encoder, save_classifier
from fer.models.initial_weights import InitialWeights, resolve_init
from fer.portable.predictions import PortableClassifier, UnusableModel
from fer.training.checkpoints import CHECKPOINT_FORMAT, TrainingState, rng_state
from fer.utils.distributed import Peers
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import altered, as_json, hostile_values, spoilt, spoilt_json
from tests.models.old_files import lightning_content

SPEC = ModelSpec("shufflenet_v2_x0_5", 32)
Pair = tuple[bytes, bytes]
"""The two files of a model: its specification and its weights."""


class Runs:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def payloads() -> list[object]:
    """Objects that would do something if code in a pickle were run."""
    return [
        Runs(os.system, "touch escape"),
        Runs(eval, "__import__('os').system('touch escape')"),
        Runs(exec, "open('/tmp/escape', 'w')"),
        Runs(subprocess.Popen, ["touch", "escape"]),
        Runs(open, "/tmp/escape", "w"),
        Runs(os.remove, "/tmp/escape"),
        Runs(getattr, {}, "__class__"),
        Runs(torch.load, "/tmp/escape"),
        Runs(torch.hub.load, "a/b", "c"),
        Runs(bytearray, 10**12),
        Runs(torch.zeros, 10**9),
    ]


def saved(content: object, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def zipped_pickle(data: bytes, compressed: bool = False, records: int = 1) -> bytes:
    """Return a file in the form of `torch.save` with any bytes as its pickle."""
    content = io.BytesIO()
    way = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w", way) as packed:
        packed.writestr("archive/data.pkl", data)
        packed.writestr("archive/version", "3\n")
        packed.writestr("archive/byteorder", "little")
        for number in range(records):
            packed.writestr(f"archive/data/{number}", bytes(2_000_000 if compressed else 64))
    return content.getvalue()


@cache
def sound_pair() -> Pair:
    """A classifier's specification and weights."""
    torch.manual_seed(0)
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"fer-fuzz-model-{os.getpid()}"
    save_classifier(Classifier(SPEC), folder)
    pair = (folder / "model.json").read_bytes(), (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    return pair


def headers() -> SearchStrategy[bytes]:
    """Return files of safetensors with any headers."""
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    header = altered({"a": entry, "b": {**entry, "data_offsets": [24, 48]}, "__metadata__": {"format": "pt"}}).map(
        as_json
    )
    sizes = st.one_of(st.none(), st.none(), st.sampled_from((0, 1, 2**31, 2**40, 2**63, 2**64 - 1)))

    def build(text: bytes, size: int | None) -> bytes:
        return struct.pack("<Q", len(text) if size is None else size) + text + bytes(48)

    return st.builds(build, header, sizes)


def pickles() -> SearchStrategy[bytes]:
    """Return pickles of objects that run code, and of anything else, at every protocol."""
    dangerous = [pickle.dumps(payload, protocol) for payload in payloads() for protocol in (0, 2, 4)]
    tame = [pickle.dumps({"state_dict": OrderedDict(a=1)}, 2), pickle.dumps([{"a": [1.5]}], 2)]
    whole = st.sampled_from(dangerous)
    words = (
        b"cos\nsystem\n",
        b"c__builtin__\neval\n",
        b"(S'touch escape'\ntR.",
        b"\x8a\xff",
        b"B\xff\xff\xff\x7f",
        b"\x95",
    )
    return st.one_of(whole, spoilt([*dangerous[:6], *tame], words))


def weight_files() -> SearchStrategy[bytes]:
    """Return files as others may hand them on as weights."""
    tensors = {"conv.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)}
    with lightning_content(tensors) as content:
        old_lightning = [saved(content), saved(content, old=True)]
    samples = [saved(tensors), saved(tensors, old=True), saved({"state_dict": tensors, "epoch": 3}), *old_lightning]
    dangerous = [saved({"model": payload}) for payload in payloads()[:5]]
    dangerous += [saved({"model": payload}, old=True) for payload in payloads()[:5]]
    content = st.dictionaries(
        st.sampled_from(("state_dict", "model", "spec", "a", "optimizer")), hostile_values(), max_size=4
    )
    return st.one_of(
        spoilt(samples),
        spoilt(dangerous),
        st.sampled_from(dangerous),
        st.builds(zipped_pickle, pickles(), st.booleans(), st.integers(0, 3)),
        pickles(),
        headers(),
        content.map(saved),
    )


def _pair_read(read: Callable[[Path], object]) -> Callable[[Pair, Path], object]:
    def run(value: Pair, folder: Path) -> object:
        place = folder / "model"
        place.mkdir(exist_ok=True)
        for name, content in zip(("model.json", "model.safetensors"), value, strict=True):
            (place / name).write_bytes(content)
        return read(place)

    return run


def pairs() -> SearchStrategy[Pair]:
    spec, weights = sound_pair()
    specs = spoilt_json(json.loads(spec), [b'"resnet18"', b'"vit_b_16"', b'"../x"'])
    return st.one_of(
        specs.map(lambda content: (content, weights)),
        specs.map(lambda content: (content, weights)),
        st.one_of(headers(), spoilt([weights[:3000]])).map(lambda content: (spec, content)),
    )


def _file_read(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def run(content: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(content)
        return read(path)

    return run


def specification(content: Any, folder: Path) -> ModelSpec:
    values = content if isinstance(content, dict) else {"arch": content}
    return ModelSpec.from_dict(values, "model.json")


def state() -> TrainingState:
    """What a small training holds that goes on from a checkpoint."""
    network = nn.Linear(3, 2)
    fabric = Fabric(accelerator="cpu", devices=1)
    optimizer = fabric.setup_optimizers(torch.optim.AdamW(network.parameters()))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return TrainingState(network, network, None, optimizer, scheduler, Peers(), {})


def resume(content: bytes, folder: Path) -> TrainingState:
    path = folder / "last.ckpt"
    path.write_bytes(content)
    training = state()
    training.load(path)
    return training


def checkpoint() -> dict[str, Any]:
    training = state()
    return {
        "format": CHECKPOINT_FORMAT,
        "progress": vars(training.progress),
        "model": training.network.state_dict(),
        "objective": training.objective.state_dict(),
        "average": None,
        "optimizer": training.optimizer.state_dict(),
        "scheduler": training.scheduler.state_dict(),
        "rng_state": [rng_state()],
    }


def targets() -> list[Target[Any]]:
    """Return the readers of models."""
    spec, _ = sound_pair()
    last = checkpoint()
    sound_weights = saved({"state_dict": {"fc.weight": torch.zeros(2, 2)}})
    weights = weight_files()
    changed = altered(last).map(saved)
    return [
        Target("model.json", altered(json.loads(spec)), specification, ModelSpec, (json.loads(spec),)),
        Target("models, specification and weights", pairs(), _pair_read(load_classifier), Classifier, (sound_pair(),)),
        Target("models, their features", pairs(), _pair_read(load_encoder), Encoder, (sound_pair(),)),
        Target(
            "served models",
            pairs(),
            _pair_read(PortableClassifier),
            PortableClassifier,
            (sound_pair(),),
            refusals=(UnusableModel,),
        ),
        Target(
            "weights of others, and pickles that run code",
            weights,
            _file_read("weights.ckpt", lambda path: resolve_init(str(path), "resnet18")),
            InitialWeights,
            (sound_weights,),
        ),
        Target(
            "weights of others, as safetensors",
            st.one_of(headers(), headers(), spoilt([sound_pair()[1][:2000]])),
            _file_read("weights.safetensors", lambda path: resolve_init(str(path), "resnet18")),
            InitialWeights,
            (sound_pair()[1],),
        ),
        Target(
            "checkpoints, tested",
            weights,
            _file_read("best.ckpt", load_classifier),
            Classifier,
            (saved({"spec": SPEC.to_dict(), "model": Classifier(SPEC).state_dict()}),),
        ),
        Target(
            "checkpoints, continued",
            st.one_of(changed, changed, spoilt([saved(last)]), weights),
            resume,
            TrainingState,
            (saved(last),),
        ),
    ]
