import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from fer.cli import main
from fer.config.build import build
from fer.config.commands import COMMANDS, TRACKED_COMMANDS, EvaluateConfig
from fer.errors import DataError, Interrupted
from tests.paths import ROOT

ENTRY_POINTS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
HEAVY = ("torch", "torchvision", "lightning", "mlflow", "pl_bolts", "pandas", "matplotlib")
DECLARED = [(entry, key) for entry, point in ENTRY_POINTS.items() for key in point["parameters"]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    def run(*arguments: str) -> tuple[Any, str, str]:
        code: Any = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in of the command `evaluate` that keeps its configuration, or raises `fault`."""
    command = SimpleNamespace(config=None, fault=None)

    def run(config: EvaluateConfig) -> None:
        command.config = config
        if command.fault:
            raise command.fault

    command.run = run
    monkeypatch.setitem(sys.modules, "fer.commands.evaluate", command)
    return command


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_help_answers_in_half_a_second() -> None:
    seconds = []
    for _ in range(3):
        before = os.times()
        assert process("-m", "fer", "--help").returncode == 0
        after = os.times()
        # The processor's, because on a busy machine a process waits for others.
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert statistics.median(seconds) < 0.5


@pytest.mark.parametrize("arguments", [["--help"], ["finetune", "--help"], ["finetune", "--epochs", "x"]])
def test_help_and_refusals_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom fer.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = process("-c", code)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


def test_weights_are_listed_without_mlflow_and_leave_nothing(elsewhere: Path) -> None:
    code = (
        "import sys\nfrom fer.cli import main\n"
        "try:\n    main(['weights'])\nexcept SystemExit:\n    pass\n"
        "print('loaded:', [name for name in ('mlflow', 'pl_bolts', 'lightning') if name in sys.modules])"
    )
    done = process("-c", code)
    assert "simclr-faces" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr
    assert list(elsewhere.iterdir()) == []


def test_help_lists_every_command(program: Callable[..., Any]) -> None:
    code, out, err = program("--help")
    assert (code, err) == (0, "")
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_lists_every_option_with_its_default(command: str, program: Callable[..., Any]) -> None:
    code, out, _ = program(command, "--help")
    assert code == 0
    unwrapped = "".join(out.split())
    for item in fields(COMMANDS[command]):
        _, _, rest = unwrapped.partition(f"--{item.name}VALUE")
        shown = rest.split("--")[0]
        assert shown.startswith("".join(item.metadata["help"].split()))
        if item.default not in ("", ()):
            text = str(item.default)
            assert f"[default:{text.lower() if isinstance(item.default, bool) else text}]" in shown


def test_help_shows_choices_and_lower_case_booleans(program: Callable[..., Any]) -> None:
    flat = " ".join(program("finetune", "--help")[1].split())
    assert "(adamw | sgd)" in flat
    assert "[default: true]" in flat
    assert "True" not in flat


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["tain"], ["tain", "main"]),
        (["--dataset", "drawn", "prepare"], ["dataset", "command"]),
        (["-x"], ["x"]),
        (["finetune", "--epoch", "3"], ["'epoch'", "'epochs'"]),
        (["finetune", "--image-size", "3"], ["'image-size'", "'image_size'"]),
        (["finetune", "--epochs"], ["--epochs"]),
        (["finetune", "--epochs", "abc"], ["epochs", "a whole number", "'abc'"]),
        (["finetune", "--lr=-1"], ["lr", "at least 0"]),
        (["finetune", "--explain", "true"], ["'explain'"]),
        (["finetune", "--augment", "maybe"], ["augment", "true or false"]),
        (["finetune", "--optimizer", "adam"], ["optimizer", "'adamw'"]),
        (["finetune", "more"], ["more"]),
        (["weights", "--arch", "resnet18"], ["weights takes no options", "'arch'"]),
        (["evaluate", "--config", "nowhere.yaml"], ["nowhere.yaml", "no such file"]),
    ],
    ids=" ".join,
)
def test_a_fault_is_one_line_exit_code_2_and_leaves_nothing(
    arguments: list[str], parts: list[str], program: Callable[..., Any], elsewhere: Path
) -> None:
    code, out, err = program(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("fer: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts), err
    assert list(elsewhere.iterdir()) == []


def test_an_unknown_data_set_makes_no_run(elsewhere: Path) -> None:
    done = process("-m", "fer", "prepare", "--dataset", "rafd")
    assert done.returncode == 2
    assert done.stderr == "fer: unknown data set 'rafd': did you mean 'raf'?\n"
    assert not (elsewhere / "mlflow.db").exists()


def test_options_become_the_configuration(program: Callable[..., Any], evaluate: SimpleNamespace) -> None:
    assert program("evaluate", "--model", "a.ckpt", "--batch_size=16")[0] == 0
    assert evaluate.config == EvaluateConfig(model="a.ckpt", batch_size=16)


def test_file_and_line_join(program: Callable[..., Any], evaluate: SimpleNamespace, elsewhere: Path) -> None:
    (elsewhere / "some.yaml").write_text("batch_size: 16\ndevice: cpu\n")
    program("evaluate", "--config", "some.yaml", "--batch_size", "128")
    assert evaluate.config == EvaluateConfig(batch_size=128, device="cpu", config="some.yaml")


def test_under_mlflow_run_a_default_yields_to_the_file(
    program: Callable[..., Any], evaluate: SimpleNamespace, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    (elsewhere / "some.yaml").write_text("batch_size: 16\n")
    program("evaluate", "--config", "some.yaml", "--batch_size", "128", "--dataset", "prepared")
    assert evaluate.config.batch_size == 16


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (DataError("there are no images: run prepare"), 2, "fer: there are no images: run prepare\n"),
        (Interrupted(15), 143, "fer: stopped by signal 15\n"),
        (Interrupted(10), 138, "fer: stopped by signal 10\n"),
        (KeyboardInterrupt(), 130, "fer: stopped by signal 2\n"),
    ],
)
def test_a_commands_end_becomes_the_exit_code(
    program: Callable[..., Any], evaluate: SimpleNamespace, fault: BaseException, code: int, message: str
) -> None:
    evaluate.fault = fault
    got, out, err = program("evaluate")
    assert (got, out, err.lstrip("\n")) == (code, "", message)


def test_our_own_faults_keep_their_trace(program: Callable[..., Any], evaluate: SimpleNamespace) -> None:
    evaluate.fault = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        program("evaluate")


def test_no_declared_default_is_empty_or_stands_for_another_value() -> None:
    open_ended = {"", "auto", "prepared", "-1", "0"}
    exempt = ("predict", "framing")
    for entry, key in DECLARED:
        default = str(ENTRY_POINTS[entry]["parameters"][key]["default"])
        # An alias stands for another version tomorrow.
        meant = default not in open_ended and "@" not in default
        assert meant or key == "seed" or (entry, key) == exempt, (entry, key)


def test_entry_points_are_the_commands() -> None:
    assert set(ENTRY_POINTS) == set(TRACKED_COMMANDS)


@pytest.mark.parametrize(("entry", "key"), DECLARED, ids=lambda value: value)
def test_a_declared_parameter_has_the_configurations_default_and_is_passed_on(entry: str, key: str) -> None:
    declared = ENTRY_POINTS[entry]["parameters"][key]
    default = getattr(COMMANDS[entry](), key)
    assert getattr(build(COMMANDS[entry], {key: str(declared["default"])}), key) == default
    assert {"string": str, "int": int, "float": float}[declared["type"]] is type(default)
    assert f"--{key} {{{key}}}" in ENTRY_POINTS[entry]["command"]


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_an_entry_point_runs_its_command_with_declared_parameters_only(entry: str) -> None:
    words = ENTRY_POINTS[entry]["command"].split()
    assert words[:4] == ["python", "-m", "fer", entry]
    passed = [word.removeprefix("--") for word in words[4::2]]
    assert passed == [word.strip("{}") for word in words[5::2]] == list(ENTRY_POINTS[entry]["parameters"])
