from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from fer.config.build import build
from fer.config.commands import COMMANDS, EvaluateConfig, fields_of
from fer.config.data import PrepareConfig
from fer.config.options import Scope, option
from fer.config.training import FinetuneConfig
from fer.errors import ConfigError, quoted

EVERY_COMMAND = pytest.mark.parametrize("cls", COMMANDS.values(), ids=COMMANDS)


def written(folder: Path, text: str) -> str:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(cls: type, given: dict[str, Any], file: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        build(cls, given, file=file)
    message = str(caught.value)
    assert "\n" not in message
    return message


@EVERY_COMMAND
def test_nothing_given_gives_the_defaults(cls: type) -> None:
    assert build(cls, {}) == cls()


def test_known_defaults() -> None:
    config = build(FinetuneConfig, {})
    assert (config.dataset, config.arch, config.image_size, config.lr) == ("drawn", "resnet50", 224, 3e-4)
    assert (config.class_weights, config.test_best, config.augment) == ((), False, True)


@EVERY_COMMAND
def test_every_default_is_a_value_one_may_give(cls: type) -> None:
    defaults = {item.name: item.default for item in fields(cls)}
    as_text = {key: ",".join(map(str, value)) if value == () else str(value) for key, value in defaults.items()}
    assert build(cls, as_text) == build(cls, defaults) == cls()


@EVERY_COMMAND
def test_every_field_has_one_line_of_help(cls: type) -> None:
    for item in fields(cls):
        assert item.metadata["help"].strip()
        assert "\n" not in item.metadata["help"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lr", "1e-3", 0.001),
        ("lr", "1", 1.0),
        ("epochs", "7", 7),
        ("test_best", "true", True),
        ("augment", "false", False),
        ("augment", "False", False),
        ("arch", "vit_b_16", "vit_b_16"),
        ("arch", "18", "18"),
        ("class_weights", "1,2,3,1e-1,5,6,7.5", (1.0, 2.0, 3.0, 0.1, 5.0, 6.0, 7.5)),
        ("class_weights", "1, 2", (1.0, 2.0)),
        ("class_weights", "", ()),
    ],
)
def test_text_of_every_type(key: str, text: str, value: Any) -> None:
    got = getattr(build(FinetuneConfig, {key: text}), key)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("lr: 1e-3", 0.001),
        ("lr: 1.0e-3", 0.001),
        ("lr: 1", 1.0),
        ("epochs: 7", 7),
        ("epochs: '7'", 7),
        ("test_best: true", True),
        ("augment: no", False),
        ("arch: vit_b_16", "vit_b_16"),
        ("class_weights: [1, 2.5, 1e-1]", (1.0, 2.5, 0.1)),
        ("class_weights: 1,2.5", (1.0, 2.5)),
    ],
)
def test_yaml_of_every_type(tmp_path: Path, line: str, value: Any) -> None:
    got = getattr(build(FinetuneConfig, {}, file=written(tmp_path, line)), line.split(":")[0])
    assert got == value
    assert type(got) is type(value)


def test_numbers_in_a_tuple_are_floats() -> None:
    weights = build(FinetuneConfig, {"class_weights": "1,2"}).class_weights
    assert [type(weight) for weight in weights] == [float, float]


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        ("epochs", "abc", "a whole number"),
        ("epochs", "1.5", "a whole number"),
        ("epochs", "", "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", None, "a whole number"),
        ("lr", "fast", "a number"),
        ("lr", "nan", "a number"),
        ("lr", "inf", "a number"),
        ("lr", 10**400, "a number"),
        ("lr", False, "a number"),
        ("lr", [0.1], "a number"),
        ("augment", "yes", "true or false"),
        ("augment", "1", "true or false"),
        ("augment", 1, "true or false"),
        ("augment", "", "true or false"),
        ("arch", 18, "text"),
        ("arch", None, "text"),
        ("class_weights", "1,two", "numbers joined by commas"),
        ("class_weights", 5, "numbers joined by commas"),
        ("class_weights", {1: 2}, "numbers joined by commas"),
        ("class_weights", [1, [2]], "numbers joined by commas"),
        ("class_weights", [True], "numbers joined by commas"),
    ],
)
def test_a_wrong_type_names_key_value_and_expectation(key: str, raw: Any, expected: str) -> None:
    assert refusal(FinetuneConfig, {key: raw}) == f"{key} must be {expected}, not {quoted(raw)}"


@pytest.mark.parametrize(
    ("given", "near"), [("zzz", "choose from"), ("epoch", "'epochs'"), ("imagesize", "'image_size'")]
)
def test_an_unknown_key_is_refused(given: str, near: str) -> None:
    message = refusal(FinetuneConfig, {given: "1"})
    assert repr(given) in message
    assert near in message


def test_an_unknown_key_of_a_file_names_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    file = written(tmp_path, "epochs: 3\nbatchsize: 8\n")
    message = refusal(FinetuneConfig, {}, file)
    assert all(part in message for part in ("'batchsize'", "'batch_size'", file))


def test_keys_of_another_command_are_unknown() -> None:
    build(FinetuneConfig, {"epochs": "3"})
    assert "'epochs'" in refusal(PrepareConfig, {"epochs": "3"})


@pytest.mark.parametrize(
    ("key", "inside", "outside", "limit"),
    [
        ("epochs", "1", "0", "at least 1"),
        ("batch_size", "2", "1", "at least 2"),
        ("image_size", "16", "15", "between 16 and 1024"),
        ("image_size", "1024", "1025", "between 16 and 1024"),
        ("flip", "1", "1.01", "between 0 and 1"),
        ("crop", "0.05", "0.04", "between 0.05 and 1"),
        ("lr", "0", "-1e-9", "at least 0"),
    ],
)
def test_limits_belong_to_the_range_and_nothing_beyond(key: str, inside: str, outside: str, limit: str) -> None:
    assert getattr(build(FinetuneConfig, {key: inside}), key) == float(inside)
    message = refusal(FinetuneConfig, {key: outside})
    assert all(part in message for part in (key, limit, outside))


def test_numbers_of_a_tuple_have_limits_too() -> None:
    @dataclass(frozen=True)
    class Sample:
        shares: tuple[float, ...] = option((), "shares", low=0, high=1)

    assert build(Sample, {"shares": "0,1"}).shares == (0, 1)
    assert "between 0 and 1" in refusal(Sample, {"shares": "0.5,2"})


@pytest.mark.parametrize("place", ["line", "file"])
def test_only_choices_are_taken(tmp_path: Path, place: str) -> None:
    assert build(FinetuneConfig, {"optimizer": "sgd"}).optimizer == "sgd"
    file = written(tmp_path, "optimizer: adam") if place == "file" else ""
    message = refusal(FinetuneConfig, {} if file else {"optimizer": "adam"}, file)
    assert "optimizer" in message
    assert "'adam'" in message
    assert "'adamw'" in message
    assert file in message


def test_a_missing_file_is_named() -> None:
    assert "there is no such file" in refusal(FinetuneConfig, {}, "nowhere.yaml")
    assert "'nowhere.yaml'" in refusal(FinetuneConfig, {}, "nowhere.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(FinetuneConfig, {}, str(tmp_path))


@pytest.mark.parametrize("text", ["lr: [1", "a\nb: [", "\tlr: 1", "- 1\n- 2", "just words", "1: 2", "3"])
def test_broken_yaml_is_one_sentence_naming_the_file(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert file in refusal(FinetuneConfig, {}, file)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00")
    assert str(path) in refusal(FinetuneConfig, {}, str(path))


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, "# nothing yet\n")
    assert build(EvaluateConfig, {}, file=file) == EvaluateConfig(config=file)


def test_a_file_cannot_name_another(tmp_path: Path) -> None:
    message = refusal(FinetuneConfig, {}, written(tmp_path, "config: other.yaml"))
    assert "config" in message
    assert "did you mean" not in message


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, "epochs: 9")
    assert build(FinetuneConfig, {}, file="~/some.yaml").epochs == 9


def test_given_values_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, "epochs: 3\nlr: 1e-2\n")
    config = build(FinetuneConfig, {"epochs": "5"}, file=file)
    assert (config.epochs, config.lr, config.batch_size, config.config) == (5, 0.01, 64, file)


def test_a_given_default_wins_when_a_person_typed_it(tmp_path: Path) -> None:
    file = written(tmp_path, "epochs: 3")
    assert build(FinetuneConfig, {"epochs": "30"}, file=file).epochs == 30


def test_a_launchers_default_yields_to_the_file_only(tmp_path: Path) -> None:
    file = written(tmp_path, "epochs: 3\nlr: 1e-2\n")
    given = {"epochs": "30", "lr": "0.5", "batch_size": "64", "seed": "0"}
    config = build(FinetuneConfig, given, file=file, yields_default=True)
    assert (config.epochs, config.lr, config.batch_size, config.seed) == (3, 0.5, 64, 0)


def test_a_launchers_value_is_checked_even_where_it_yields(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        build(FinetuneConfig, {"epochs": "x"}, file=written(tmp_path, "epochs: 3"), yields_default=True)


@EVERY_COMMAND
def test_a_configuration_cannot_be_changed(cls: type) -> None:
    config = build(cls, {})
    with pytest.raises(FrozenInstanceError):
        config.data_root = "elsewhere"


def test_an_option_has_the_same_scope_in_every_command() -> None:
    scopes: dict[str, set[Scope]] = {}
    for cls in COMMANDS.values():
        for item in fields(cls):
            scopes.setdefault(item.name, set()).add(item.metadata["scope"])
    assert {name: found for name, found in scopes.items() if len(found) > 1} == {}


def test_the_fields_of_a_scope() -> None:
    assert fields_of(Scope.MACHINE) == {
        "data_root", "output", "resume", "config", "checkpoint_minutes", "checkpoint_upload_gb", "tracking_patience",
        "offline",
    }  # fmt: skip
    assert fields_of(Scope.TESTED) == {"evaluate_on"}
    assert fields_of(Scope.NAME, Scope.SEED) == {"registered_name", "promote", "seed"}
    assert {"lr", "arch", "device", "contamination"} <= fields_of(Scope.RESULT)


def test_a_list_of_starting_weights_is_sent_to_experiment(tmp_path):
    file = tmp_path / "probe.yaml"
    file.write_text("init: [scratch, supervised-imagenet]\n")
    with pytest.raises(ConfigError) as refusal:
        build(FinetuneConfig, {}, file=str(file))
    sentence = f"lists 2 starting weights: give one, or run a file of finetune alone as an experiment, name={file}"
    assert str(refusal.value).endswith(sentence)
