"""Readers of options and of YAML files of options and experiments."""

import io
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fer.config.build import build
from fer.config.commands import COMMANDS
from fer.config.training import FinetuneConfig
from fer.experiments.files import Experiment, read_experiments
from fer.utils.yaml_files import read_yaml
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import TEXTS, altered, hostile_values, spoilt

WORDS = (
    b"&a [",
    b"*a",
    b"<<: *a\n",
    b"!!python/object/apply:os.system ['touch escape']\n",
    b"!!binary ",
    b"? ",
    b"--- ",
    b"...\n",
    b"{[{[{[{[",
    b"- - - - - - - - - - - - ",
    b"0x_",
    b"0b",
    b"1:60:60",
    b"2001-01-01T25:61:61Z",
    b"\t",
    b"%YAML 9.9\n",
    b"'\\0'",
    b'"\\ud800"',
    b'"\\U0010ffff"',
    b"epochs: ",
    b"epochs: 1\nepochs: 2\n",
    b".nan",
    b".inf",
)
EXPERIMENT: dict[str, Any] = {
    "pretrain": {"method": "simclr", "dataset": "drawn-raf", "epochs": 2, "lr": 0.1},
    "finetune": {"dataset": "drawn-raf+drawn-kdef", "epochs": 3, "lr": "1e-3", "class_weights": True},
    "evaluate": {"dataset": "drawn-kdef"},
}
SINGLE: dict[str, Any] = {
    "dataset": "raf",
    "init": ["scratch", "supervised-imagenet"],
    "epochs": 30,
    "arch": "resnet18",
}


def as_yaml(value: Any) -> bytes:
    text = io.StringIO()
    yaml.safe_dump(value, text, allow_unicode=False)
    return text.getvalue().encode("utf-8", "surrogatepass")


def files(*values: dict[str, Any]) -> SearchStrategy[bytes]:
    """Return YAML files of altered values and of spoilt bytes."""
    samples = [as_yaml(value) for value in values]
    changed = [altered(value).map(_as_yaml_or_text) for value in values]
    return st.one_of(spoilt(samples, WORDS), *changed)


def _as_yaml_or_text(value: Any) -> bytes:
    try:
        return as_yaml(value)
    except (ValueError, yaml.YAMLError):
        return repr(value).encode("utf-8", "surrogatepass")


def _write(content: bytes, folder: Path) -> str:
    path = folder / "file.yaml"
    path.write_bytes(content)
    return str(path)


def given_options() -> SearchStrategy[tuple[str, dict[str, Any]]]:
    """Return a command and options as its command line or a program gives them."""
    names = sorted({item for cls in COMMANDS.values() for item in cls.__dataclass_fields__})
    keys = st.one_of(st.sampled_from(names), st.sampled_from(names), st.sampled_from(TEXTS))
    words = st.one_of(
        st.sampled_from(TEXTS), st.sampled_from(("1", "0.5", "true", "1e-3", "1,2", "raf")), hostile_values()
    )
    return st.tuples(st.sampled_from(sorted(COMMANDS)), st.dictionaries(keys, words, max_size=4))


def read_options(value: tuple[str, dict[str, Any]], folder: Path) -> object:
    command, options = value
    options.pop("config", None)
    return build(COMMANDS[command], options)


def targets() -> list[Target[Any]]:
    """Return the readers of options."""
    flat = {"dataset": "drawn-raf", "epochs": 3, "lr": 0.001, "seed": 1, "class_weights": False}
    bomb = b"a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"
    return [
        Target(
            "YAML files",
            files(EXPERIMENT, SINGLE, flat),
            lambda content, folder: read_yaml(_write(content, folder)),
            dict,
            (as_yaml(flat), as_yaml(EXPERIMENT), b""),
            (bomb, b"[" * 50_000, b"a: 0x_", b"a: 1:" + b"60:" * 9000 + b"1"),
        ),
        Target(
            "YAML files of options",
            files(flat),
            lambda content, folder: build(FinetuneConfig, {}, file=_write(content, folder)),
            FinetuneConfig,
            (as_yaml({"epochs": 3, "lr": "1e-3"}),),
        ),
        Target(
            "YAML files of experiments",
            files(EXPERIMENT, SINGLE),
            lambda content, folder: experiments(content, folder),
            list,
            (as_yaml(SINGLE), as_yaml({"dataset": "raf"})),
        ),
        Target(
            "options of all commands",
            given_options(),
            read_options,
            tuple(COMMANDS.values()),
            (("finetune", {"epochs": "3"}), ("predict", {})),
        ),
    ]


def experiments(content: bytes, folder: Path) -> list[Experiment]:
    found = read_experiments(_write(content, folder))
    assert all(isinstance(experiment, Experiment) for experiment in found)
    return found
