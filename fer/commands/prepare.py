"""`prepare`: downloads into the common tree, each set checked, listed and logged."""

from fer.config.data import PrepareConfig
from fer.pipeline.prepare import PrepareResult, prepare_sets


def run(config: PrepareConfig) -> PrepareResult:
    """Prepare the sets a configuration names; what was found in each is printed as it is done."""
    result = prepare_sets(config)
    print(result.where)
    return result
