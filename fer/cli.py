"""The command line, derived from the configurations; heavy imports wait for the command that needs them."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

import click

from fer.config.build import build
from fer.config.commands import COMMANDS, TRAINING_COMMANDS
from fer.errors import ConfigError, FerError, Interrupted, quoted, unknown_name
from fer.utils.processes import rank, world_size

POSITIONAL = {"first_word": "action", "second_word": "file"}
"""Where a command's action, and what it acts on, may stand without its option's name."""


def main(arguments: list[str] | None = None) -> None:
    """Run `fer <command> --option value ...` and exit.

    Exit codes: 0 done, 2 a fault in what the user gave (one sentence on stderr), 128 + n stopped by signal n.
    """
    try:
        # Not standalone: click would print faults in its own words and exit by itself.
        _program().main(arguments, prog_name="fer", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.NoSuchOption as error:
        _refuse(
            _unknown_option(
                error.option_name.lstrip("-"),
                error.ctx.command.name if error.ctx else None,
            )
        )
    except click.UsageError as error:
        _refuse(ConfigError(error.format_message()))
    except FerError as error:
        _refuse(error)
    except (Interrupted, KeyboardInterrupt, click.Abort) as error:
        signum = error.signum if isinstance(error, Interrupted) else 2
        print(f"fer: stopped by signal {signum}", file=sys.stderr)
        sys.exit(128 + signum)


def _unknown_option(name: str, command: str | None) -> ConfigError:
    if command not in COMMANDS:
        return ConfigError(f"option {quoted(name)} must follow a command: {', '.join(COMMANDS)}")
    names = [item.name for item in fields(COMMANDS[command])]
    if not names:
        return ConfigError(f"{command} takes no options: leave out {quoted(name)}")
    return ConfigError(unknown_name("option", name, names))


def _refuse(error: FerError) -> None:
    """Print the sentence, note it at the run that `mlflow run` has made, and exit with code 2."""
    print(f"fer: {error}", file=sys.stderr)
    if "MLFLOW_RUN_ID" in os.environ:
        from fer.tracking.endings import fail_launched_run

        # The run was made before our code started and no command has adopted it: it must not end unexplained.
        if rank() == 0:
            fail_launched_run(str(error))
    sys.exit(2)


def _program() -> click.Group:
    group = click.Group("fer", help="Run, record and compare facial-expression-recognition experiments.")
    for name, cls in COMMANDS.items():
        options = fields(cls)
        parameters: list[click.Parameter] = [_option(item) for item in options]
        if any(item.name == "action" for item in options):
            for word, option in POSITIONAL.items():
                argument = click.Argument([word], required=False, metavar=f"[{option.upper()}]")
                parameters.append(argument)
        command = click.Command(name, params=parameters, callback=_runner(name), help=cls.__doc__)
        group.add_command(command)
    return group


def _option(item: Field[Any]) -> click.Option:
    help_text = str(item.metadata["help"])
    choices = item.metadata["choices"]
    if choices:
        help_text += f" ({' | '.join(choices)})"
    if item.default not in ("", ()):
        default = str(item.default)
        # As it is typed: Python writes booleans with a capital.
        shown = default.lower() if isinstance(item.default, bool) else default
        help_text += f" [default: {shown}]"
    # Underscores, and a value for every boolean, because `mlflow run -P key=value` arrives as `--key value`. Text only:
    # types are checked by `build`, which also reads files.
    return click.Option(
        [f"--{item.name}", item.name],
        type=str,
        default=None,
        help=help_text,
        metavar="VALUE",
    )


def _runner(name: str) -> Callable[..., None]:
    def run(**options: str | None) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        for word, option in POSITIONAL.items():
            if word in given:
                given.setdefault(option, given.pop(word))
        file = given.pop("config", "")
        # The launcher passes the defaults of MLproject as if somebody had typed them.
        launched = "MLFLOW_RUN_ID" in os.environ
        config: Any = build(COMMANDS[name], given, file=file, yields_default=launched)
        # Each process would make a run of its own, and write the same files.
        if world_size() > 1 and name not in TRAINING_COMMANDS:
            raise ConfigError(f"{name} runs in one process: start it without torchrun")
        module = importlib.import_module(f"fer.commands.{name.replace('-', '_')}")
        module.run(config)

    return run
