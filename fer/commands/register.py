"""`register`: register the model of a run later, where the registry refused it when the run ended."""

from fer.config.models import RegisterConfig
from fer.errors import ConfigError
from fer.tracking import links, store
from fer.tracking.naming import RUN
from fer.tracking.registry import Registration, register_run


def run(config: RegisterConfig) -> Registration:
    """Register the model of the run that a configuration names.

    Raises:
        ConfigError: The address names no run, or the run was meant for no registered model.
        ModelError: There is no such run, or it has logged no model.
        RegistrationError: The registry refuses or does not answer.
    """
    # Not any address of a model: the name it was meant for, its score and protocol stand with its run.
    run_id = config.model.removeprefix(RUN)
    if not config.model.startswith(RUN) or not run_id.isalnum():
        raise ConfigError(f"model must be {RUN}<id> of a run of finetune, not {config.model!r}")
    address = store.connect()
    made = register_run(run_id, config.registered_name, config.promote)
    where = links.where(address, links.version_page(address, made.name, made.version))
    print(f"registered {made.name} {made.version}: {made.message}\n{where}")
    return made
