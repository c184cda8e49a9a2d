"""`experiment`: run an experiment of `experiments/`, or all of them, stage by stage."""

from fer.config.commands import ExperimentConfig
from fer.pipeline.experiment import ExperimentResult
from fer.pipeline.experiments import run_experiment


def run(config: ExperimentConfig) -> ExperimentResult:
    """Run an experiment and print where to look at it."""
    result = run_experiment(config)
    print(result.where)
    return result
