"""`register`: register the model of a run later, where the registry refused it when the run ended."""

import shlex

from fer.config.commands import RegisterConfig
from fer.errors import ConfigError, FerError
from fer.tracking.registering import UNREGISTERED, register_run
from fer.tracking.registry import Registration
from fer.tracking.runs import TrackedRun

RUN = "runs:/"


def run(config: RegisterConfig) -> Registration:
    """Register the model of the run that a configuration names.

    Raises:
        ConfigError: The address names no run, or the run was meant for no registered model.
        ModelError: There is no such run, or it has logged no model.
        RegistrationError: The registry refuses or does not answer.
    """
    run_id = config.model.removeprefix(RUN)
    if not config.model.startswith(RUN) or not run_id.isalnum():
        raise ConfigError(f"model must be {RUN}<id> of a run of finetune, not {config.model!r}")
    made = register_run(run_id, config.registered_name, config.promote)
    print(f"registered {made.name} {made.version}: {made.message}")
    return made


def register_at_end(run: TrackedRun, name: str, promote: bool) -> Registration | None:
    """Register the model of a run that is about to end; where that is refused, say how to do it later and go on.

    Args:
        run: The open run, which has logged its model.
        name: The registered model.
        promote: Whether to move the alias `champion` in any case.
    """
    try:
        return register_run(run.id, name, promote)
    except FerError as error:
        command = f"fer register --model {RUN}{run.id} --registered_name {shlex.quote(name)}"
        command += " --promote true" if promote else ""
        sentence = f"{error}; the model is kept with its run, and this registers it later: {command}"
    # Printed first: a server that has gone altogether cannot take the tag.
    print(sentence)
    run.tags({UNREGISTERED: sentence})
    return None
