from dataclasses import replace

import numpy as np
import pytest
import torch

from fer.objectives.simsiam import SimSiam, symmetric_loss
from tests.objectives.ranks import SMALL, Tiny, draw, project


def make(seed=0):
    torch.manual_seed(seed)
    return SimSiam(Tiny(), replace(SMALL, proj_hidden_dim=12), proj_dim=8, steps_per_epoch=1)


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_loss_equals_a_loop_of_cosines():
    generator = torch.Generator().manual_seed(0)
    p1, p2, z1, z2 = torch.randn(4, 9, 5, generator=generator)
    arrays = [rows.double().numpy() for rows in (p1, p2, z1, z2)]
    expected = -np.mean([cosine(a, d) / 2 + cosine(b, c) / 2 for a, b, c, d in zip(*arrays, strict=True)])
    assert float(symmetric_loss(p1, p2, z1, z2)) == pytest.approx(expected, rel=1e-5)
    assert float(symmetric_loss(p1, p2, p2, p1)) == pytest.approx(-1)
    assert float(symmetric_loss(p1, p2, -p2, -p1)) == pytest.approx(1)


def gradients(objective, loss):
    return torch.autograd.grad(loss, list(objective.parameters()), allow_unused=True)


def test_the_gradient_is_that_of_constant_targets():
    objective, views = make(), draw(0)
    found = gradients(objective, objective(views)[0])
    features = objective.network(torch.cat(views))
    projections = objective.projector(features)
    to_second, to_first = objective.predictor(projections).chunk(2)
    first, second = (torch.from_numpy(rows.detach().numpy().copy()) for rows in projections.chunk(2))
    constant = -(torch.cosine_similarity(to_second, second) + torch.cosine_similarity(to_first, first)).mean() / 2
    expected = gradients(objective, constant)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    projections = objective.projector(objective.network(torch.cat(views)))
    to_second, to_first = objective.predictor(projections).chunk(2)
    first, second = projections.chunk(2)
    flowing = -(torch.cosine_similarity(to_second, second) + torch.cosine_similarity(to_first, first)).mean() / 2
    without_stop = gradients(objective, flowing)
    assert not torch.allclose(found[0], without_stop[0], rtol=0.01)


def test_the_target_is_the_network_that_learns():
    objective, views = make(), draw(0)
    before = {name: value.clone() for name, value in objective.named_parameters()}
    targets = project(objective, views[0])
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.5)
    for step in range(3):
        loss, _ = objective(draw(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = {name for name, value in objective.named_parameters() if not torch.equal(value, before[name])}
    assert {name for name in before if name.endswith("weight")} <= moved
    assert not torch.allclose(project(objective, views[0]), targets, atol=1e-3)


def test_a_stored_objective_loads_into_a_fresh_one():
    objective, other = make(0), make(1)
    other.load_state_dict(objective.state_dict())
    assert other(draw(0))[0].item() == objective(draw(0))[0].item()


def test_both_views_pass_as_one_batch_and_the_projections_spread_is_logged():
    objective = make()
    loss, logs = objective(draw(0))
    assert objective.network.calls == [(12, 3, 8, 8)]
    assert -1 <= float(loss) <= 1
    projected = project(objective, torch.cat(draw(0))).detach()
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(12))
    deviation = projected.double().numpy().std(axis=0).mean() * np.sqrt(8)
    assert float(logs["projection_std"]) == pytest.approx(deviation, rel=1e-5)
    assert not logs["projection_std"].requires_grad


def test_the_loss_is_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        objective = make()
        assert objective(draw(0))[0].dtype == project(objective, draw(0)[0]).dtype == torch.float32
