"""`compare`: say which of several runs is better, as far as their stored predictions can tell."""

from fer.config.commands import CompareConfig
from fer.pipeline.compare import CompareResult, compare_runs


def run(config: CompareConfig) -> CompareResult:
    """Compare the runs a configuration names, and print the report and where it lies."""
    result = compare_runs(config)
    print(f"\n{result.text}\n\n{result.where}")
    return result
