"""`finetune`: train a classifier, choose its best epoch on validation, test it, log and register it."""

from typing import TYPE_CHECKING

from fer.config.training import FinetuneConfig
from fer.pipeline.finetune import finetune_classifier

# Comes with tests, registry and card, which wait until training is over.
if TYPE_CHECKING:
    from fer.pipeline.finalize import FinetuneResult


def run(config: FinetuneConfig) -> "FinetuneResult":
    """Fine-tune a classifier and print its test figures, its registered version and where to look at the run."""
    result = finetune_classifier(config)
    print(f"{result.summary()}\n{result.where}")
    return result
