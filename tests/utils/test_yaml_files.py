"""No YAML file hangs, fills the memory or ends in a trace: it is read, or refused in one short sentence."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fer.config.build import build
from fer.config.training import FinetuneConfig
from fer.errors import ConfigError
from fer.experiments.files import FOLDER, read_experiment
from fer.utils.yaml_files import MAX_BYTES, read_yaml

LONGEST = 500


def bomb(levels: int, width: int) -> str:
    """Nested aliases in some hundred bytes, which stand for `width ** levels` values."""
    lines = ["epochs:", "- &a0 [1, 1]"]
    lines += [f"- &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join(lines)


MALFORMED = {
    "nested aliases": bomb(9, 9),
    "more nested aliases": bomb(25, 2),
    "an anchor": "epochs: &a 3",
    "an anchored mapping": "&a epochs: 3",
    "an alias of nothing": "epochs: *a",
    "an alias as a key": "&a epochs: 3\n*a : 4",
    "an alias of itself": "epochs: &a [*a]",
    "a merge": "base: &b {epochs: 3}\n<<: *b",
    "a merge without alias": "<<: {epochs: 3}",
    "an integer tag": "epochs: !!int foo",
    "an integer tag of nothing": "epochs: !!int",
    "a float tag": "lr: !!float x",
    "a boolean tag": "augment: !!bool maybe",
    "a timestamp tag": "lr: !!timestamp foo",
    "a binary tag": "arch: !!binary '===='",
    "a set tag": "arch: !!set {a, b}",
    "an ordered tag": "arch: !!omap [a, b]",
    "a pairs tag": "arch: !!pairs [a, b]",
    "a text tag": "arch: !!str resnet18",
    "a mapping tag": "!!map {epochs: 3}",
    "Python's own tag": "arch: !!python/object/apply:os.system ['true']",
    "a local tag": "arch: !mine 3",
    "an empty tag": "arch: ! resnet18",
    "a named tag": "%TAG !e! tag:example.org,2000:\n---\narch: !e!foo bar",
    "a tag without handle": "arch: !e!foo bar",
    "a tag that never ends": "arch: !<" + "x" * 5000,
    "an impossible month": "epochs: 2026-13-45",
    "an impossible hour": "epochs: 2026-01-01 99:99:99",
    "a date": "epochs: 2026-11-05",
    "an integer of 5,000 digits": "epochs: " + "9" * 5000,
    "a hexadecimal integer of 5,000 digits": "epochs: 0x" + "f" * 5000,
    "an integer of 900 digits": "epochs: " + "9" * 900,
    "a hexadecimal integer of 900 digits": "epochs: 0x" + "f" * 900,
    "an integer of 64 bits": f"epochs: {2**64}",
    "a float of 5,000 digits": "lr: 0." + "9" * 5000,
    "a number of sixties": "epochs: " + "1:" * 400 + "1",
    "a float of sixties": "lr: " + "1:" * 400 + "1.5",
    "no binary digits": "epochs: 0b_",
    "no hexadecimal digits": "epochs: 0x_",
    "infinity": "lr: .inf",
    "not a number": "lr: .nan",
    "a huge exponent": "lr: 1.0e+999",
    "deep lists": "epochs: " + "[" * 5000,
    "deep closed lists": "epochs: " + "[" * 5000 + "]" * 5000,
    "deep mappings": "{a: " * 5000,
    "deep block lists": "epochs:\n " + "- " * 5000 + "1",
    "deep indentation": "\n".join(" " * depth + "a:" for depth in range(200)),
    "deep complex keys": "? " * 5000 + "a",
    "a list as a key": "[1, 2]: 3",
    "a mapping as a key": "{a: 1}: 3",
    "a complex key": "? {a: 1}\n: 3",
    "a number as a key": "3: 3",
    "nothing as a key": "~: 3",
    "truth as a key": "true: 3",
    "a doubled key": "epochs: 3\nepochs: 30",
    "a doubled key further down": "finetune: {epochs: 3, epochs: 30}",
    "a list": "- epochs",
    "a word": "epochs",
    "a long word": "x" * 40_000,
    "a long key": "x" * 5000 + ": 3",
    "a long unknown key": "x" * 900 + ": 3",
    "a long value": "epochs: " + "x" * 900,
    "a longer value": "epochs: " + "x" * 5000,
    "a longer text": "arch: " + "x" * 5000,
    "an escaped zero byte": 'data_root: "a\\0b"',
    "a list of many": "epochs: [" + "1, " * 5000 + "]",
    "numbers of which one is none": "class_weights: [" + "1, " * 5000 + "x]",
    "many stages": "".join(f"stage{number}: {{a: 1}}\n" for number in range(1000)),
    "many unknown keys": "".join(f"key{number}: 1\n" for number in range(1000)),
    "two documents": "epochs: 3\n---\nepochs: 4",
    "an open quote": "arch: 'resnet",
    "an open double quote": 'arch: "resnet',
    "an unknown escape": 'arch: "\\q"',
    "a half escape": 'arch: "\\x1"',
    "an impossible escape": 'arch: "\\UFFFFFFFF"',
    "half a pair of code units": 'arch: "\\ud800"',
    "an open list": "class_weights: [1, 2",
    "a closed list never opened": "class_weights: 1]",
    "an open mapping": "{epochs: 3",
    "a tabulator": "finetune:\n\tepochs: 3",
    "a wrong indentation": "finetune:\n   epochs: 3\n  lr: 1",
    "two values in a line": "epochs: 3: 4",
    "a percent sign": "%",
    "another version": "%YAML 9.9\n---\nepochs: 3",
    "a doubled directive": "%YAML 1.1\n%YAML 1.1\n---\nepochs: 3",
    "an at sign": "epochs: @3",
    "a back quote": "epochs: `3`",
    "a zero byte": "epochs: \0",
    "an escape sign": "epochs: \x1b[31m",
    "a folded text without end": "arch: >9999\n x",
    "a reserved indicator": "arch: |-+\n x",
    "a stage that is a number": "finetune: 0\npretrain: {epochs: 3}",
    "a stage that is a list": "finetune: [1]\npretrain: {epochs: 3}",
    "a stage of numbers": "finetune: {3: 4}",
    "too large a file": "# a comment\n" * 20_000,
}
BYTES = {
    "not UTF-8": b"epochs: 3\nname: \xff\xfe",
    "UTF-16": "epochs: 3".encode("utf-16"),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "zeros": bytes(50_000),
}


def readers(path: Path) -> list[Callable[[], object]]:
    return [lambda: build(FinetuneConfig, {}, file=str(path)), lambda: read_experiment(str(path))]


@pytest.mark.parametrize("content", [*MALFORMED.values(), *BYTES.values()], ids=[*MALFORMED, *BYTES])
def test_a_malformed_file_is_one_short_sentence_that_names_it(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in readers(path):
        with pytest.raises(ConfigError) as caught:
            read()
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert len(message.replace(str(path), "")) < LONGEST


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("lr: 1\nepochs: &a 3", " line 2 is not plain YAML: anchors and aliases (& and *) are not read, so write the"),
        ("lr: 1\nepochs: *a", " line 2 is not plain YAML: anchors and aliases (& and *) are not read, so write the"),
        ("lr: 1\nepochs: !!int 3", " line 2 is not plain YAML: tags (!) are not read, so write the value alone"),
        ("lr: 1\nepochs: 0x_", " is not plain YAML: invalid literal for int() with base 16"),
        ("lr: 1\n\nlr: 2", " line 3 is not plain YAML: the key 'lr' stands a second time"),
        ("lr: 1\nepochs: " + "[" * 11, " line 2 is not plain YAML: it is nested more than 10 deep"),
        ("lr: 1\narch: " + "x" * 1001, " line 2 is not plain YAML: a value is longer than 1000 characters"),
        ("lr: 1\narch: 'a", " line 2 is not plain YAML: found unexpected end of stream"),
        ("#\n" * 60_000, f" is larger than {MAX_BYTES} bytes: leave out what is not an option"),
    ],
)
def test_the_sentence_names_line_and_fault(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(str(tmp_path / "some.yaml"))
    assert str(caught.value).startswith(f"config '{tmp_path}/some.yaml'{sentence}")


def test_what_looks_like_a_date_stays_text(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text("name: 2026-11-05\nnote: =\n")
    assert read_yaml(str(tmp_path / "some.yaml")) == {"name": "2026-11-05", "note": "="}


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-of-this-name/some.yaml", "/dev/zero", "."])
def test_a_path_that_is_no_file_is_one_short_sentence(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(FinetuneConfig, {}, file=name)
    assert len(str(caught.value)) < LONGEST


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "some.yaml")
    with pytest.raises(ConfigError, match="is no regular file"):
        read_yaml(str(tmp_path / "some.yaml"))


SIGNS = [*"&*!%@`|>-?:,[]{}#'\"\\ \t\n\0~<=.0123456789eExXbf_+", "&a ", "*a", "!!int ", "<<: ", "- ", "? ", "\ud800"]
SIGNS += ["2026-13-45", ".inf", "0x_", "1:1:1", "true", "null", "[" * 50, "{a: " * 20, "9" * 50, "é", "\ufeff", "---\n"]


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(text) + 1)
        kind = rng.random()
        if kind < 0.6:
            text = text[:place] + rng.choice(SIGNS) + text[place:]
        elif kind < 0.8:
            text = text[:place] + text[place + rng.randint(1, 9) :]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:place] + text[min(place, other) : max(place, other)] + text[place:]
    return text


def test_whatever_a_file_holds_it_is_read_or_refused_in_one_short_sentence(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = [path.read_text() for path in sorted(FOLDER.glob("*.yaml"))] + [*MALFORMED.values()][:30]
    whole = [text for text in whole if len(text) < 3000]
    path, refused = tmp_path / "some.yaml", 0
    for _ in range(1500):
        path.write_bytes(mutated(rng.choice(whole), rng).encode("utf-8", "surrogatepass"))
        for read in readers(path):
            try:
                read()
            except ConfigError as error:
                refused += 1
                assert len(str(error).replace(str(path), "")) < LONGEST
    assert refused > 500
