"""`evaluate`: any model on any prepared sets."""

from fer.config.commands import EvaluateConfig
from fer.pipeline.evaluate import EvaluateResult, evaluate_model


def run(config: EvaluateConfig) -> EvaluateResult:
    """Test a model and print its figures and where to look at the run."""
    result = evaluate_model(config)
    print(f"{result.summary()}\n{result.where}")
    return result
