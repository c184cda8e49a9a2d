from dataclasses import replace

import pytest

from fer.config.training import PretrainConfig
from fer.errors import ConfigError
from fer.objectives.registry import METHODS
from tests.objectives.ranks import Tiny, draw, project

SMALL = PretrainConfig(
    proj_hidden_dim=8, num_prototypes=4, queue_size=12, queue_from_epoch=2, freeze_prototypes_epochs=3
)


@pytest.mark.parametrize(("name", "width"), [("simclr", 128), ("swav", 128), ("simsiam", 2048)])
def test_each_method_builds_an_objective_from_the_configuration(name, width):
    method = METHODS[name]
    views = draw(0, sizes=(8, 8, 6) if method.multi_crop else (8, 8))
    for proj_dim in (0, 5):
        network = Tiny()
        objective = method.build(network, replace(SMALL, method=name, proj_dim=proj_dim), steps_per_epoch=7)
        assert objective.network is network
        assert project(objective, views[0]).shape == (6, proj_dim or width)
        loss, logs = objective(views)
        loss.backward()
        assert loss.isfinite()
        assert all(value.ndim == 0 and not value.requires_grad for value in logs.values())
        assert any(parameter.grad.any() for parameter in network.parameters())


def test_epochs_of_the_configuration_become_steps():
    objective = METHODS["swav"].build(Tiny(), SMALL, steps_per_epoch=7)
    assert (objective.freeze_steps, objective.queue_from_step) == (21, 14)
    assert objective.queue.shape == (2, 12, 128)


@pytest.mark.parametrize(("name", "optimizer", "lr"), [("simclr", "lars", 0.3), ("swav", "lars", 0.6)])
def test_a_methods_own_rate_grows_with_the_batch_and_gives_way_to_an_option(name, optimizer, lr):
    method, config = METHODS[name], replace(SMALL, method=name)
    assert (method.optimizer_for(config), method.lr_for(config)) == (optimizer, lr)
    assert method.lr_for(replace(config, batch_size=512)) == pytest.approx(2 * lr)
    assert method.lr_for(replace(config, lr=0.01, batch_size=512)) == 0.01
    assert method.optimizer_for(replace(config, optimizer="adamw")) == "adamw"


def test_a_methods_own_rate_is_not_used_for_another_optimizer():
    config = replace(SMALL, method="simsiam", optimizer="adamw")
    with pytest.raises(ConfigError, match=r"^lr=0 means the rate of simsiam with sgd: give lr for optimizer=adamw$"):
        METHODS["simsiam"].lr_for(config)
    assert METHODS["simsiam"].lr_for(replace(config, optimizer="sgd")) == pytest.approx(0.05)
