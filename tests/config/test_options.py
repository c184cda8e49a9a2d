from dataclasses import replace

import pytest
from torch import nn

from fer.config import options
from fer.data.datasets.registry import DATASETS
from fer.models.export import ENDINGS
from fer.objectives.registry import METHODS
from fer.training.optimization import make_optimizer
from tests.training.test_optimization import PLAIN


def test_the_sets_of_the_help_are_those_of_the_registry() -> None:
    assert tuple(name for name, dataset in DATASETS.items() if not dataset.drawn) == options.DATASETS


def test_the_methods_are_those_of_the_registry() -> None:
    assert set(options.METHODS) == set(METHODS)
    assert {method.optimizer for method in METHODS.values()} <= set(options.OPTIMIZERS)


def test_the_formats_are_those_that_can_be_written() -> None:
    assert set(options.EXPORT_FORMATS) == set(ENDINGS)


@pytest.mark.parametrize("name", options.OPTIMIZERS)
def test_an_optimizer_is_the_one_that_is_named(name: str) -> None:
    made = make_optimizer(nn.Linear(2, 2), replace(PLAIN, optimizer=name))
    assert type(made).__name__.lower() == name


def test_a_classifier_is_trained_with_one_of_the_optimizers() -> None:
    assert set(options.SUPERVISED_OPTIMIZERS) <= set(options.OPTIMIZERS)
